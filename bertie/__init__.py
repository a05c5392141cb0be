"""bertie: a complete BERT system, from raw text to served models.

Every command is a function here (``bertie.pretrain(...)`` is ``bertie pretrain ...``), and ``bertie.load`` opens a
model. Commands are imported on first use, so ``import bertie`` loads neither torch nor any other heavy package.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def load(path: Any, task: Any = None, **settings: Any) -> Any:
    """Load a model for prediction.

    Args:
        path: a local model folder, or a hub id such as ``bert-base-uncased``.
        task: the task's name; read from the model's settings when None.
        **settings: passed to ``bertie.inference.predictor.load`` (device, batch size, ...).

    Returns:
        A ``bertie.inference.predictor.Predictor``.

    Raises:
        SettingsError: the task's name is unknown, or the path doesn't exist.
        DataError: the folder holds no model that bertie can read.
    """
    return import_module("bertie.inference.predictor").load(path, task=task, **settings)


def encoder(path: Any) -> Any:
    """Load the encoder of a model, to use it inside your own torch module.

    Args:
        path: a local model folder, or a hub id such as ``bert-base-uncased``.

    Returns:
        A ``torch.nn.Module``: ``encoder(input_ids, attention_mask=...)`` gives ``last_hidden_state`` and
        ``pooler_output``.

    Raises:
        SettingsError: the path doesn't exist.
        DataError: the folder holds no model that bertie can read.
    """
    return import_module("bertie.inference.encoder").encoder(path)


def __getattr__(name: str) -> Any:
    """Return the command of this name, such as ``bertie.pretrain``."""
    # Not "from bertie import registry": while that submodule isn't loaded, the statement calls this function.
    registry = import_module("bertie.registry")
    if name.startswith("_") or name not in registry.choices("commands"):
        raise AttributeError(f"module 'bertie' has no attribute {name!r}")
    command = import_module("bertie.config").checked(getattr(registry.load("commands", name), name))
    return import_module("bertie.data.frames").taking_tables(command)


def __dir__() -> list[str]:
    """List the names defined here and all commands."""
    return sorted({*globals(), *import_module("bertie.registry").choices("commands")})
