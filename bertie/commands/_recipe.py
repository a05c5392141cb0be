"""Choose the objective and the mask rate of a pre-training run, if they are not given.

The choices are written to the run's settings. A resumed run and the runs of further seeds keep them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress, registry
from bertie.commands._new_model import ModelSettings
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.tasks.task import Task

_FIRST_RATE, _LAST_RATE = 0.3, 0.15
"""Mask rate at the start and at the end of a run: better than a constant rate of either (docs/measured/studies.md)."""
_DEFAULT_TASK = "masked_lm"
_FLAGS = ("mask_rate", "max_masked")
"""Settings of the task that are flags of pretrain."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The objective of a run and its settings."""

    task: str
    settings: dict[str, Any]
    """Further settings of the task."""
    model: ModelSettings
    """The model for random weights; its size and dropout may still be None."""
    objective: Task
    batch_tokens: int | None = None
    """Tokens of a batch; None if not chosen yet."""


def choose_recipe(parameters: Mapping[str, Any], longest: int) -> Recipe:
    """Choose the parameters of pretrain that are not given.

    Args:
        parameters: the call's parameters; with `model.start` paper, the mask rate is the task's default.
        longest: tokens of the longest sequence.

    Raises:
        SettingsError: the task doesn't learn from a corpus, or has no such settings.
        DataError: the record of the resumed run is damaged.
    """
    from bertie.training.runfolder import settings_of

    earlier = (settings_of(Path(parameters["out"])) if parameters["resume"] else None) or {}
    merged = {**parameters, **earlier_choices(parameters, earlier)} if earlier else dict(parameters)
    model, source = merged["model"], merged["from_"]
    task = merged["task"] or (usual_task(model) if source is None else _stored_task(source))
    settings = dict(merged["settings"] or {})
    flags = {name: merged[name] for name in _FLAGS}
    choose_rate = flags["mask_rate"] is None and "mask_rate_end" not in settings
    if choose_rate and source is None and not earlier and model.start != "paper" and task == _DEFAULT_TASK:
        flags["mask_rate"], settings["mask_rate_end"] = _FIRST_RATE, _LAST_RATE
    objective = _objective(task, longest, flags, settings)
    return Recipe(task=task, settings=settings, model=model, objective=objective, batch_tokens=merged["batch_tokens"])


def fit_to_corpus(recipe: Recipe, parameters: Mapping[str, Any], corpus: Corpus, longest: int) -> Recipe:
    """Return a recipe that fits the corpus: masked LM if the default objective needs pairs that the corpus lacks.

    Args:
        recipe: the recipe of `choose_recipe`.
        parameters: the parameters of pretrain; a given task is kept.
        corpus: the training corpus.
        longest: tokens of the longest sequence.
    """
    if parameters["task"] is not None or recipe.objective.corpus_plan() != "passages":
        return recipe
    import numpy as np

    sentences = np.diff(corpus.document_offsets)
    if corpus.num_documents > 1 and (sentences > 1).any():
        return recipe
    progress.note(
        f"the objective is {_DEFAULT_TASK}, because {recipe.task} needs several documents, some with two or more "
        "sentences; in .txt files an empty line separates documents"
    )
    return choose_recipe({**parameters, "task": _DEFAULT_TASK}, longest)


def earlier_choices(parameters: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of pretrain that an earlier run chose and this call leaves open.

    Args:
        parameters: the call's parameters.
        settings: the earlier run's settings, by dotted key.
    """
    choices = {name: settings.get(name) for name in ("task", "mask_rate", "batch_tokens") if parameters[name] is None}
    model = parameters["model"]
    shape = {name: settings.get(f"model.{name}") for name in ("size", "dropout") if getattr(model, name) is None}
    task_settings = {
        name.removeprefix("settings."): value for name, value in settings.items() if name.startswith("settings.")
    }
    return {
        **choices,
        "model": replace(model, **shape),
        "settings": {**task_settings, **(parameters["settings"] or {})} or None,
    }


def usual_task(model: ModelSettings) -> str:
    """Return the default objective of an architecture."""
    from bertie.models.model import architecture

    task: str = getattr(architecture(model.architecture).config, "OBJECTIVE", _DEFAULT_TASK)
    return task


def _stored_task(source: str) -> str:
    """Return the objective of a stored model: that of its folder, or else the default of its architecture."""
    from bertie.formats.huggingface import objective, resolve

    task: str = objective(resolve(source))
    if task != _DEFAULT_TASK:
        progress.note(f"the objective is {task}, that of {source}; choose another one with --task")
    return task


def _objective(task: str, longest: int, flags: Mapping[str, Any], settings: Mapping[str, Any]) -> Task:
    """Return the task with its settings; settings that have their own flags are refused in `settings`."""
    from bertie.tasks._lookup import task_class
    from bertie.tasks.task import parse_settings

    task_type = task_class(task)
    if not task_type.plan:
        fitting = [name for name in registry.choices("tasks") if task_class(name).plan]
        raise SettingsError(
            f"--task {task} learns from labelled items, not from a corpus; use bertie finetune, "
            f"or one of pretrain's tasks: {', '.join(fitting)}"
        )
    for name in ("max_length", *flags):
        if name in settings:
            flag = "--length" if name == "max_length" else f"--{name.replace('_', '-')}"
            raise SettingsError(f"--settings {name} has a flag of its own; use {flag}")
    task_settings = {
        "max_length": longest,
        **{name: value for name, value in flags.items() if value is not None},
        **settings,
    }
    return task_type(**parse_settings(task_type, task_settings))
