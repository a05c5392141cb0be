"""Choose the learning rate, batch size and epochs of a fine-tuning run by the rules of `bertie.training.fitting`."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.tasks.task import Task
    from bertie.training.fitting import EncoderFacts, Fit, TaskProfile, UserSettings
    from bertie.training.schedule import RunLength

_CHOICES = ("learning_rate", "batch_size", "epochs")


def horizon_of(bundle: Bundle, num_items: int, parameters: dict[str, Any]) -> tuple[RunLength, int, Fit]:
    """Choose the settings that aren't given, and return the run's length.

    Args:
        bundle: the model with its new head.
        num_items: number of training items.
        parameters: the parameters of finetune.

    Returns:
        The horizon, the steps of an epoch, and the chosen settings.

    Raises:
        SettingsError: an invalid batch size, length or time, or several of --steps, --epochs and --budget.
        DataError: the resumed run has a damaged run.json.
    """
    from bertie.training.duration import parse_duration
    from bertie.training.schedule import RunLength

    batch_size, epochs, steps, budget = (parameters[name] for name in ("batch_size", "epochs", "steps", "budget"))
    if batch_size is not None and batch_size < 1:
        raise SettingsError(f"--batch-size must be at least 1; got {batch_size}")
    if epochs is not None and (steps is not None or budget is not None):
        raise SettingsError("give one of --steps, --epochs or --budget, not several")
    if epochs is not None and epochs < 1:
        raise SettingsError(f"--epochs must be at least 1; got {epochs}")
    seconds = None if budget is None else parse_duration(budget)
    if steps is not None or budget is not None:
        RunLength(steps, None, seconds)  # raises if they are invalid
    fit = _fitted(bundle, num_items, parameters)
    epoch_steps = -(-num_items // fit.batch_size)
    return RunLength(steps if fit.epochs is None else fit.epochs * epoch_steps, None, seconds), epoch_steps, fit


def origin(bundle: Bundle) -> dict[str, Any]:
    """Return what a fine-tuned model records of its pre-training: the number of tokens."""
    return {name: bundle.extra[name] for name in ("tokens",) if name in bundle.extra}


def _fitted(bundle: Bundle, num_items: int, parameters: dict[str, Any]) -> Fit:
    """Choose the learning rate, the batch size and the epochs that aren't given, and write a note about it.

    A resumed run keeps its earlier choices.

    Args:
        bundle: the model with its new head.
        num_items: number of training items.
        parameters: the parameters of finetune.

    Raises:
        DataError: the resumed run has a damaged run.json.
    """
    from bertie.training.fitting import UserSettings, fit, inspect

    given = UserSettings(
        **{name: parameters[name] for name in (*_CHOICES, "steps")}, budget=parameters["budget"] is not None
    )
    lesson = _lesson(bundle, num_items, parameters)
    encoder = inspect(bundle.model, tokens=bundle.extra.get("tokens"))
    if not isinstance(parameters["model"], str):
        encoder = replace(encoder, trained=False)  # some starts set biases, which would look trained
    earlier = _earlier_settings(Path(parameters["out"])) if parameters["resume"] else None
    if earlier is not None:
        return fit(encoder, lesson, _with_earlier(given, earlier))
    chosen = fit(encoder, lesson, given)
    if line := _choice_note(chosen, given, encoder, lesson):
        progress.note(line)
    return chosen


def _lesson(bundle: Bundle, num_items: int, parameters: dict[str, Any]) -> TaskProfile:
    """Return the properties of the task and the run that the rules depend on."""
    from bertie.training.fitting import TaskProfile

    task = bundle.task
    return TaskProfile(
        num_items=num_items,
        tags=task.labels_words,
        generates_text=task.generates_text,
        large_batch=task.compares_items or not task.needs_labels,
        lora=parameters["lora"].rank > 0,
        head_only=parameters["freeze"] == -1,
        optimizer=parameters["optimizer"].name,
    )


def _earlier_settings(out: Path) -> dict[str, Any] | None:
    """Return the settings of the run to resume; None if there is none."""
    from bertie.training.record import read

    file = out / "run.json"
    return dict(read(file)["settings"]) if file.exists() else None


def _with_earlier(given: UserSettings, earlier: dict[str, Any]) -> UserSettings:
    """Add the choices of the resumed run to the given values."""
    timed = given.steps is not None or given.budget
    kept = {
        field.name: earlier[field.name]
        for field in fields(given)
        if field.name in _CHOICES and getattr(given, field.name) is None and field.name in earlier
    }
    if timed:
        kept.pop("epochs", None)
    return replace(given, **kept)


def _choice_note(chosen: Fit, given: UserSettings, encoder: EncoderFacts, lesson: TaskProfile) -> str:
    """Return a note with the choices and their reasons; empty if all values were given."""
    from bertie.training.fitting import rate_in_words

    texts = {
        "learning_rate": f"learning rate {rate_in_words(chosen.learning_rate)}",
        "batch_size": f"batch {chosen.batch_size}",
        "epochs": f"{chosen.epochs} epochs",
    }
    chosen_texts = [
        texts[name] for name in _CHOICES if getattr(given, name) is None and getattr(chosen, name) is not None
    ]
    if not chosen_texts:
        return ""
    return f"{', '.join(chosen_texts)}: {lesson.num_items:,} examples, {encoder}"


def corpus_horizon(
    corpus: Corpus,
    objective: Task,
    steps: int | None,
    tokens: int | None,
    epochs: int | None,
    budget: str | None,
    *,
    seed: int,
    length: int,
    size: int,
) -> RunLength:
    """Return the run's length from the one setting given; epochs are converted to steps."""
    from bertie.sampling.sampler import Sampler
    from bertie.training.duration import parse_duration
    from bertie.training.schedule import RunLength

    if epochs is not None:
        sampler = Sampler(corpus, seed=seed, length=length, batch_tokens=size, plan=objective.corpus_plan())
        steps = sum(sampler.num_batches(epoch) for epoch in range(epochs))
    return RunLength(steps, tokens, None if budget is None else parse_duration(budget))
