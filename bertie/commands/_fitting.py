"""What a fine-tuning run chooses for itself, and what it says of it; the rules are in `bertie.training.fitting`."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from bertie.formats.format import Bundle
    from bertie.training.fitting import Encoder, Fit, Given, Lesson
    from bertie.training.schedule import Horizon

_CHOSEN = ("learning_rate", "batch_size", "epochs")


def horizon_of(bundle: Bundle, num_items: int, parameters: dict[str, Any]) -> tuple[Horizon, int, Fit]:
    """Choose what isn't given, and turn the ways to say how long into a horizon.

    Args:
        bundle: the model with its new head.
        num_items: examples to learn from.
        parameters: of the command.

    Returns:
        The horizon, the steps of an epoch, and the numbers of the run.

    Raises:
        SettingsError: a batch, a length or a time that is none, or several ways to say how long.
        DataError: the run to go on with has a damaged run.json.
    """
    from bertie.training.schedule import Horizon, parse_duration

    batch_size, epochs, steps, budget = (parameters[name] for name in ("batch_size", "epochs", "steps", "budget"))
    if batch_size is not None and batch_size < 1:
        raise SettingsError(f"--batch-size must be at least 1; got {batch_size}")
    if epochs is not None and (steps is not None or budget is not None):
        raise SettingsError("give one of --steps, --epochs or --budget, not several")
    if epochs is not None and epochs < 1:
        raise SettingsError(f"--epochs must be at least 1; got {epochs}")
    seconds = None if budget is None else parse_duration(budget)
    if steps is not None or budget is not None:
        Horizon(steps, None, seconds)  # refuses what is none
    fit = _fitted(bundle, num_items, parameters)
    epoch_steps = -(-num_items // fit.batch_size)
    return Horizon(steps if fit.epochs is None else fit.epochs * epoch_steps, None, seconds), epoch_steps, fit


def origin(bundle: Bundle) -> dict[str, Any]:
    """Return what a model keeps of its pre-training: how many tokens that had."""
    return {name: bundle.extra[name] for name in ("tokens",) if name in bundle.extra}


def _fitted(bundle: Bundle, num_items: int, parameters: dict[str, Any]) -> Fit:
    """Choose the learning rate, the batch and the epochs that weren't given, and say so in one line.

    A resumed run keeps the numbers it began with, whatever would be chosen today.

    Args:
        bundle: the model with its new head.
        num_items: examples to learn from.
        parameters: of the command.

    Raises:
        DataError: the run to go on with has a damaged run.json.
    """
    from bertie.training.fitting import Given, fit, inspect

    given = Given(**{name: parameters[name] for name in (*_CHOSEN, "steps")}, budget=parameters["budget"] is not None)
    lesson = _lesson(bundle, num_items, parameters)
    encoder = inspect(bundle.model, tokens=bundle.extra.get("tokens"))
    if not isinstance(parameters["model"], str):
        encoder = replace(encoder, trained=False)  # some beginnings put something into biases
    began = _began(Path(parameters["out"])) if parameters["resume"] else None
    if began is not None:
        return fit(encoder, lesson, _gone_on(given, began))
    chosen = fit(encoder, lesson, given)
    if line := _told(chosen, given, encoder, lesson):
        progress.note(line)
    return chosen


def _lesson(bundle: Bundle, num_items: int, parameters: dict[str, Any]) -> Lesson:
    """Say what is learned, in the terms of the rules."""
    from bertie.tasks.tagging import Tagging
    from bertie.training.fitting import Lesson

    task = bundle.task
    return Lesson(
        num_items=num_items,
        tags=isinstance(task, Tagging),
        writes=task.writes,
        large_batch=task.whole_batch or not task.needs_labels,
        lora=parameters["lora"].rank > 0,
        head_only=parameters["freeze"] == -1,
        optimizer=parameters["optimizer"].name,
    )


def _began(out: Path) -> dict[str, Any] | None:
    """Return the settings that a run began with; None where there is no run to go on with."""
    from bertie.training.record import read

    file = out / "run.json"
    return dict(read(file)["settings"]) if file.exists() else None


def _gone_on(given: Given, began: dict[str, Any]) -> Given:
    """Add the numbers a run began with to what is given."""
    timed = given.steps is not None or given.budget
    kept = {
        field.name: began[field.name]
        for field in fields(given)
        if field.name in _CHOSEN and getattr(given, field.name) is None and field.name in began
    }
    if timed:
        kept.pop("epochs", None)
    return replace(given, **kept)


def _told(chosen: Fit, given: Given, encoder: Encoder, lesson: Lesson) -> str:
    """Say what was chosen and why; empty where all was given."""
    from bertie.training.fitting import rate_in_words

    words = {
        "learning_rate": f"learning rate {rate_in_words(chosen.learning_rate)}",
        "batch_size": f"batch {chosen.batch_size}",
        "epochs": f"{chosen.epochs} epochs",
    }
    open_ones = [words[name] for name in _CHOSEN if getattr(given, name) is None and getattr(chosen, name) is not None]
    if not open_ones:
        return ""
    return f"{', '.join(open_ones)}: {lesson.num_items:,} examples, {encoder}"
