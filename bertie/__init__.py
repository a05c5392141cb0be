"""bertie: a complete BERT system, from raw text to served models.

Every command is a function here (``bertie.pretrain(...)`` is ``bertie pretrain ...``), and ``bertie.load`` opens a
model. Names resolve on first use, so ``import bertie`` loads neither torch nor anything else that is heavy.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def load(path: Any, task: Any = None, **settings: Any) -> Any:
    """Open a model folder or hub id, ready to predict.

    Args:
        path: a local model folder, or a hub id such as ``bert-base-uncased``.
        task: what to do with it; inferred from the model's own settings when None.
        **settings: passed on to ``bertie.inference.predictor.load`` (device, batch size, ...).

    Returns:
        A ``bertie.inference.predictor.Predictor``.

    Raises:
        SettingsError: the task's name is unknown, or the path doesn't exist.
        DataError: the folder holds no model we can read.
    """
    return import_module("bertie.inference.predictor").load(path, task=task, **settings)


def encoder(path: Any) -> Any:
    """Open the encoder of a model folder or hub id, for a torch module of one's own.

    Args:
        path: a local model folder, or a hub id such as ``bert-base-uncased``.

    Returns:
        A ``torch.nn.Module``: ``encoder(input_ids, attention_mask=...)`` gives ``last_hidden_state`` and
        ``pooler_output``.

    Raises:
        SettingsError: the path doesn't exist.
        DataError: the folder holds no model we can read.
    """
    return import_module("bertie.inference.encoder").encoder(path)


def __getattr__(name: str) -> Any:
    """Resolve ``bertie.pretrain`` and its siblings to the commands of the same name."""
    # Not "from bertie import registry": for a submodule not yet loaded, that asks this very function first.
    registry = import_module("bertie.registry")
    if name.startswith("_") or name not in registry.choices("commands"):
        raise AttributeError(f"module 'bertie' has no attribute {name!r}")
    command = import_module("bertie.config").checked(getattr(registry.load("commands", name), name))
    return import_module("bertie.data.frames").taking_tables(command)


def __dir__() -> list[str]:
    """List the commands beside what is defined here."""
    return sorted({*globals(), *import_module("bertie.registry").choices("commands")})
