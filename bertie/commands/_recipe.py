"""What a pre-training run learns where that is left open: the objective and its mask rate; no command.

What a run chooses is written among its settings. A run that goes on, and further seeds of a run, keep it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress, registry
from bertie.commands._random import ModelSettings
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.tasks.task import Task

_FIRST_RATE, _LAST_RATE = 0.3, 0.15
"""Share of hidden tokens at the beginning and at the end of a run: ahead of both alone (docs/measured/studies.md)."""
_OF_MOST = "masked_lm"
_FLAGS = ("mask_rate", "max_masked")
"""Settings of tasks that are flags of pretrain."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a run learns."""

    task: str
    settings: dict[str, Any]
    """Further ones of the task."""
    model: ModelSettings
    """Of random weights; its size and its dropout may still be open."""
    objective: Task
    batch_tokens: int | None = None
    """None leaves it open."""


def complete(parameters: Mapping[str, Any], longest: int) -> Recipe:
    """Fill in what the parameters of pretrain leave open.

    Args:
        parameters: of the call; without `model.start` the weights don't begin as in the paper.
        longest: tokens of the longest sequence.

    Raises:
        SettingsError: a task that learns from no corpus, or settings that it doesn't have.
        DataError: the record of the run to go on with is damaged.
    """
    from bertie.training.runfolder import settings_of

    earlier = (settings_of(Path(parameters["out"])) if parameters["resume"] else None) or {}
    given = {**parameters, **as_began(parameters, earlier)} if earlier else dict(parameters)
    model, source = given["model"], given["from_"]
    task = given["task"] or (usual_task(model) if source is None else _as_stored(source))
    settings = dict(given["settings"] or {})
    flags = {name: given[name] for name in _FLAGS}
    is_open = flags["mask_rate"] is None and "mask_rate_end" not in settings
    if is_open and source is None and not earlier and model.start != "paper" and task == _OF_MOST:
        flags["mask_rate"], settings["mask_rate_end"] = _FIRST_RATE, _LAST_RATE
    objective = _objective(task, longest, flags, settings)
    return Recipe(task=task, settings=settings, model=model, objective=objective, batch_tokens=given["batch_tokens"])


def fitted(recipe: Recipe, parameters: Mapping[str, Any], corpus: Corpus, longest: int) -> Recipe:
    """Return the recipe, or that of masked words where nobody named the objective and the corpus has no pairs for it.

    Args:
        recipe: as `complete` made it.
        parameters: of pretrain.
        corpus: to learn from.
        longest: tokens of the longest sequence.
    """
    if parameters["task"] is not None or recipe.objective.corpus_plan() != "passages":
        return recipe
    import numpy as np

    sentences = np.diff(corpus.document_offsets)
    if corpus.num_documents > 1 and (sentences > 1).any():
        return recipe
    progress.note(
        f"the objective is {_OF_MOST}, because {recipe.task} needs several documents, some of them with two sentences: "
        "in .txt files an empty line parts documents"
    )
    return complete({**parameters, "task": _OF_MOST}, longest)


def as_began(parameters: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters of pretrain where what a run chose for itself stands in the places that are open.

    Args:
        parameters: of the call.
        settings: those that the run began with, by dotted key.
    """
    filled = {name: settings.get(name) for name in ("task", "mask_rate", "batch_tokens") if parameters[name] is None}
    model = parameters["model"]
    shape = {name: settings.get(f"model.{name}") for name in ("size", "dropout") if getattr(model, name) is None}
    own = {name.removeprefix("settings."): value for name, value in settings.items() if name.startswith("settings.")}
    return {**filled, "model": replace(model, **shape), "settings": {**own, **(parameters["settings"] or {})} or None}


def usual_task(model: ModelSettings) -> str:
    """Return what encoders of an architecture learn from text when nothing else is said."""
    from bertie.models.model import architecture

    usual: str = getattr(architecture(model.architecture).config, "OBJECTIVE", _OF_MOST)
    return usual


def _as_stored(source: str) -> str:
    """Return what a model has learned from text, or could: what its folder is for, or else what such encoders learn."""
    from bertie.formats.huggingface import objective, resolve

    found: str = objective(resolve(source))
    if found != _OF_MOST:
        progress.note(f"the objective is {found}, as {source} learned; --task takes another one")
    return found


def _objective(task: str, longest: int, flags: Mapping[str, Any], settings: Mapping[str, Any]) -> Task:
    """Make the task to learn from a corpus; what its own flags say can't be among its further settings."""
    from bertie.tasks.task import parse_settings, task_class

    kind = task_class(task)
    if not kind.plan:
        fitting = [name for name in registry.choices("tasks") if task_class(name).plan]
        raise SettingsError(
            f"--task {task} learns from labelled items, not from a corpus: that is finetune's; "
            f"pretrain takes {', '.join(fitting)}"
        )
    for name in ("max_length", *flags):
        if name in settings:
            flag = "--length" if name == "max_length" else f"--{name.replace('_', '-')}"
            raise SettingsError(f"--settings {name} is {flag} here; give that")
    given = {"max_length": longest, **{name: value for name, value in flags.items() if value is not None}, **settings}
    return kind(**parse_settings(kind, given))
