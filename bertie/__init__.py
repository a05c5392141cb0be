"""bertie: a complete BERT system, from raw text to served models.

Every command is a function here: ``bertie.pretrain(...)`` is ``bertie pretrain ...``. ``bertie.load`` opens a model.
``bertie.BertClassifier``, ``BertRegressor`` and ``BertEmbedder`` are estimators of scikit-learn.
Names resolve on first use, so ``import bertie`` loads neither torch nor any other large package. Type checkers read the
exact signatures in ``__init__.pyi``, which ``python docs/stub.py`` writes from the commands.
"""

import os
from typing import Any

from bertie.version import VERSION

__version__ = VERSION
_ITEMS = ("Answer", "Choice", "Question", "Text", "Words")
_ESTIMATORS = ("BertClassifier", "BertEmbedder", "BertRegressor")


def load(path: str | os.PathLike[str], task: Any = None, **settings: Any) -> Any:
    """Load a model for prediction.

    Args:
        path: a local model folder, an address such as ``s3://bucket/model``, or a hub id such as
            ``bert-base-uncased``.
        task: name of a task, or a ``bertie.Task``; read from the model's settings when None.
        **settings: passed to ``bertie.inference.predictor.load`` (device, batch size, ...).

    Returns:
        A ``bertie.inference.predictor.Predictor``.

    Raises:
        SettingsError: the task's name is unknown, or the path doesn't exist.
        DataError: the folder holds no model that bertie can read.
    """
    from bertie.inference.predictor import load as open_model
    from bertie.storage.inputs import local

    return open_model(local(path), task=task, **settings)


def encoder(path: str | os.PathLike[str]) -> Any:
    """Load the encoder of a model, to use it inside your own torch module.

    Args:
        path: a local model folder, an address such as ``s3://bucket/model``, or a hub id such as
            ``bert-base-uncased``.

    Returns:
        A ``torch.nn.Module``: ``encoder(input_ids, attention_mask=...)`` gives ``last_hidden_state`` and
        ``pooler_output``.

    Raises:
        SettingsError: the path doesn't exist.
        DataError: the folder holds no model that bertie can read.
    """
    from bertie.inference.encoder import encoder as open_encoder
    from bertie.storage.inputs import local

    return open_encoder(local(path))


def __getattr__(name: str) -> Any:
    """Resolve types such as ``bertie.Task`` and ``bertie.Text``, and ``bertie.pretrain`` and the other commands."""
    if name in _ITEMS:
        from bertie.items.choice import Choice
        from bertie.items.question import Answer, Question
        from bertie.items.text import Text
        from bertie.items.words import Words

        return {kind.__name__: kind for kind in (Answer, Choice, Question, Text, Words)}[name]
    if name == "Task":
        from bertie.tasks.task import Task

        return Task
    if name == "Prediction":
        from bertie.tasks._prediction import Prediction

        return Prediction
    if name == "Tracker":
        from bertie.trackers.tracker import Tracker

        return Tracker
    if name in _ESTIMATORS:
        from bertie import estimators

        return getattr(estimators, name)
    # Not "from bertie import ...": for a submodule that isn't loaded yet, that asks this very function first.
    from bertie.registry import choices

    if name.startswith("_") or name not in choices("commands"):
        raise AttributeError(f"module 'bertie' has no attribute {name!r}")
    from bertie.commands._python import python_function

    return python_function(name)


def __dir__() -> list[str]:
    """List the commands with the names that are defined here."""
    from bertie.registry import choices

    return sorted({*globals(), *_ITEMS, *_ESTIMATORS, "Prediction", "Task", "Tracker", *choices("commands")})
