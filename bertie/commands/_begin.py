"""How a pre-training run begins: its weights, its optimizer, and what a run that goes on keeps; no command."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bertie import registry
from bertie.commands._random import ModelSettings, RandomStart
from bertie.training.settings import PEAK_FROM_NEIGHBOURS, PEAKS, OptimizerSettings

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.starts.start import Begun
    from bertie.tasks.task import Task, TaskModel
    from bertie.training.runfolder import RunFolder

    Guesses = list[list[tuple[str, float]]]

_MEASURED_WIDTH = 256  # the widest of the models that PEAK_FROM_NEIGHBOURS was measured on
_BEGUN, _GUESSES = "begun", "first_guesses"  # what a run's record calls them


def with_start(model: ModelSettings, out: Path, *, resume: bool) -> ModelSettings:
    """Say where the weights of a run begin: as given, as the run in `out` began, or as pre-training does by default.

    Raises:
        SettingsError: there is no start of that name.
        DataError: the record of the run in `out` is damaged.
    """
    from bertie.starts.start import DEFAULT
    from bertie.training.runfolder import settings_of

    if model.start is not None:
        registry.load("starts", model.start)
        return model
    earlier = settings_of(out) if resume else None
    if earlier is None:
        return replace(model, start=DEFAULT)
    return replace(model, start=earlier.get("model.start"))  # a run from before there was a choice has none


def with_optimizer(
    optimizer: OptimizerSettings, source: str | None, task: Task, out: Path, *, resume: bool
) -> OptimizerSettings:
    """Choose the optimizer where none is named: Muon for random weights that learn to guess tokens, AdamW otherwise.

    Muon's rates are too high for weights that know something already, and for the large gradients of replaced tokens.
    A run that goes on keeps the one it began with.

    Args:
        optimizer: as given.
        source: the model to go on from; None for random weights.
        task: what is learned.
        out: of the run.
        resume: whether it goes on.
    """
    from bertie.training.runfolder import settings_of

    earlier = settings_of(out) if resume else None
    began = (earlier or {}).get("optimizer.name")
    if optimizer.name == "auto" and began is not None:
        return replace(optimizer, name=began)
    guesses = task.fills_masks or task.left_to_right
    return optimizer.chosen("muon" if source is None and guesses else "adamw")


def peak_of(optimizer: OptimizerSettings, start: str | RandomStart, given: float | None) -> float:
    """Return the peak of the learning rate: as given, or what suits the optimizer and where the weights begin.

    Muon's steps add up over the width of a matrix, so that models wider than those it was measured on get less.
    """
    if given is not None:
        return given
    if optimizer.name != "muon" or isinstance(start, str) or start.settings.start != "neighbours":
        return PEAKS[optimizer.name]
    width = getattr(start.shape, "hidden_size", _MEASURED_WIDTH)
    return round(PEAK_FROM_NEIGHBOURS * min(1.0, math.sqrt(_MEASURED_WIDTH / width)), 5)


def begin(
    start: str | RandomStart,
    network: TaskModel,
    bundle: Bundle,
    corpus: Corpus,
    folder: RunFolder,
    *,
    seed: int,
) -> Begun | None:
    """Let the weights of a run begin, unless it goes on from a checkpoint; return what was done then or earlier.

    Args:
        start: random weights, or a model that has its own.
        network: what learns.
        bundle: the model in it.
        corpus: what it learns from.
        folder: of the run.
        seed: of the run.
    """
    from bertie.starts.start import Begun
    from bertie.training import checkpoint

    if isinstance(start, str) or start.settings.start is None:
        return None
    name = start.settings.start
    if checkpoint.exists(folder.checkpoints):
        return Begun(**(folder.kept(_BEGUN) or {"name": name}))
    begun: Begun = registry.load("starts", name).begin(network, bundle.task, corpus, bundle.tokenizer, seed=seed)
    folder.keep(_BEGUN, vars(begun))
    return begun


def remembered(folder: RunFolder, guesses: Guesses, begun: Begun | None) -> Guesses:
    """Return what the model guessed before its first step: now, or when the run began whose weights are loaded later.

    Args:
        folder: of the run.
        guesses: of the model as it is now.
        begun: how its weights began; None for weights that any process makes again.
    """
    if begun is None:
        return guesses
    if (earlier := folder.kept(_GUESSES)) is None:
        folder.keep(_GUESSES, guesses)
        return guesses
    return [[(piece, share) for piece, share in row] for row in earlier]
