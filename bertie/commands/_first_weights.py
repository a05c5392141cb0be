"""The start of a pre-training run, its first weights, optimizer and peak learning rate."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bertie import registry
from bertie.commands._new_model import ModelSettings, RandomStart
from bertie.training.settings import OptimizerSettings

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.starts.start import StartReport
    from bertie.tasks.task import Task, TaskModel
    from bertie.training.runfolder import RunFolder

    Guesses = list[list[tuple[str, float]]]

_MEASURED_WIDTH = 256  # the widest of the models that `peak_from_neighbours` was measured on
_START_KEY, _GUESSES_KEY = "begun", "first_guesses"  # keys in the run's record


def with_start(model: ModelSettings, out: Path, *, resume: bool) -> ModelSettings:
    """Return the model with its start: the given one, that of the resumed run, or the default of pre-training.

    Raises:
        SettingsError: there is no start of that name.
        DataError: the record of the run in `out` is damaged.
    """
    from bertie.starts.start import DEFAULT
    from bertie.training.runfolder import settings_of

    if model.start is not None:
        registry.load("starts", model.start)
        return model
    earlier_settings = settings_of(out) if resume else None
    if earlier_settings is None:
        return replace(model, start=DEFAULT)
    return replace(model, start=earlier_settings.get("model.start"))  # runs older than this setting have none


def with_optimizer(
    optimizer: OptimizerSettings, source: str | None, task: Task, out: Path, *, resume: bool
) -> OptimizerSettings:
    """Replace the optimizer auto: by Muon for random weights that learn to predict tokens, otherwise by AdamW.

    Muon's rates are too high for trained weights, and for the large gradients of replaced tokens. A resumed run keeps
    its optimizer.

    Args:
        optimizer: the given settings.
        source: the model to continue from; None for random weights.
        task: the objective.
        out: the run folder.
        resume: whether the run is resumed.
    """
    from bertie.training.runfolder import settings_of

    earlier_settings = settings_of(out) if resume else None
    earlier_name = (earlier_settings or {}).get("optimizer.name")
    if optimizer.name == "auto" and earlier_name is not None:
        return replace(optimizer, name=earlier_name)
    guesses = task.fills_masks or task.left_to_right
    return optimizer.chosen("muon" if source is None and guesses else "adamw")


def peak_of(optimizer: OptimizerSettings, start: str | RandomStart, given: float | None) -> float:
    """Return the peak of the learning rate: the given one, or the default for the optimizer and the start.

    Muon's steps add up over the width of a matrix, so models wider than the measured ones get a lower rate.
    """
    from bertie.optimizers.optimizer import optimizer_class

    if given is not None:
        return given
    kind = optimizer_class(optimizer.name)
    if kind.peak_from_neighbours is None or isinstance(start, str) or start.settings.start != "neighbours":
        return kind.peak
    width = getattr(start.shape, "hidden_size", _MEASURED_WIDTH)
    return round(kind.peak_from_neighbours * min(1.0, math.sqrt(_MEASURED_WIDTH / width)), 5)


def set_first_weights(
    start: str | RandomStart,
    network: TaskModel,
    bundle: Bundle,
    corpus: Corpus,
    folder: RunFolder,
    *,
    seed: int,
) -> StartReport | None:
    """Set the first weights of a run, unless it continues from a checkpoint, and return the record of that start.

    Args:
        start: random weights, or the source of a trained model, whose weights are kept.
        network: the network to train.
        bundle: the model in it.
        corpus: the training corpus.
        folder: the run folder.
        seed: the run's seed.
    """
    from bertie.starts.start import StartReport
    from bertie.training import checkpoint

    if isinstance(start, str) or start.settings.start is None:
        return None
    name = start.settings.start
    if checkpoint.exists(folder.checkpoints):
        return StartReport(**(folder.kept(_START_KEY) or {"name": name}))
    begun: StartReport = registry.load("starts", name).begin(network, bundle.task, corpus, bundle.tokenizer, seed=seed)
    folder.keep(_START_KEY, vars(begun))
    return begun


def first_guesses(folder: RunFolder, guesses: Guesses, begun: StartReport | None) -> Guesses:
    """Return the model's predictions before the first step: the current ones, or those recorded when the run started.

    Args:
        folder: the run folder.
        guesses: the predictions of the model as it is now.
        begun: the record of the start; None if every process can create the same first weights again.
    """
    if begun is None:
        return guesses
    if (earlier := folder.kept(_GUESSES_KEY)) is None:
        folder.keep(_GUESSES_KEY, guesses)
        return guesses
    return [[(piece, share) for piece, share in row] for row in earlier]
