"""Warnings about a finished run, from its figures: pure functions that return sentences.

A run may finish and still be useless: its dev score fell from its best, it predicts one class for every item, or it saw
little of its data. Commands that train call `of_finetuning` or `of_pretraining` at the end. They show the sentences as
warnings, in the report and in run.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertie.training import plateau
from bertie.training.schedule import Stage
from bertie.training.settings import OptimizerSettings, TrainingSettings

Records = Sequence[Mapping[str, Any]]

_FALL = 0.01  # smaller differences of a score are noise on most dev sets
_RISE = 1.02
_FEW_ITEMS = 10  # with fewer, equal predictions may be chance
_NEARLY_ALL = 0.98
_ONE_CLASS = 0.9  # if more of the labels are the same, one prediction for all items is no surprise
_LITTLE = 0.1
_FEW_STEPS = 50
_FEW_OF_A_STAGE = 10


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How far a run got."""

    steps: int
    done: float
    """Passes over the training data."""
    data: str
    """The name of the data in a sentence: "the training table", "the corpus"."""


def of_finetuning(
    extent: Extent,
    records: Records,
    criterion: str,
    *,
    answers: Sequence[str | None],
    right: Sequence[str | None],
    settings: TrainingSettings,
    optimizer: OptimizerSettings,
) -> list[str]:
    """Return the warnings about a fine-tuning run.

    Args:
        extent: how far the run got.
        records: lines of metrics.jsonl.
        criterion: the score that models are compared by; higher is better.
        answers: the prediction for each dev item, as text; None for a prediction that isn't one text.
        right: the label of each dev item, in the same form.
        settings: how the run was evaluated.
        optimizer: how weights were updated.
    """
    warnings = [
        fallen(records, criterion, kept_best=settings.best),
        one_answer(answers, right),
        little_data(extent),
        *too_short(extent, records, settings, optimizer),
    ]
    return [warning for warning in warnings if warning]


def of_pretraining(
    extent: Extent,
    records: Records,
    *,
    stages: Sequence[Stage],
    settings: TrainingSettings,
    optimizer: OptimizerSettings,
    yardsticks: Mapping[str, float],
    recipe: plateau.Recipe,
    bought: Sequence[str] = (),
) -> list[str]:
    """Return the warnings about a pre-training run.

    Args:
        extent: how far the run got.
        records: lines of metrics.jsonl.
        stages: sequence lengths and their shares of the run.
        settings: how the run was evaluated.
        optimizer: how weights were updated.
        yardsticks: losses of the methods without a network; empty for a task without masks.
        recipe: the settings that decide how soon a run leaves the plateau.
        bought: warnings that the encoder is no better than the one that the run continued from.
    """
    warnings = [
        *plateau.remarks(records, yardsticks, recipe),
        *(bought or [risen(records)]),
        little_data(extent),
        *too_short(extent, records, settings, optimizer),
        *short_stages(extent, stages),
    ]
    return [warning for warning in warnings if warning]


def fallen(records: Records, criterion: str, *, kept_best: bool) -> str:
    """Warn that the dev score fell from its best, and say which weights were kept; "" if it did not fall."""
    scores = [(row["step"], row[criterion]) for row in _dev(records) if row["step"] > 0 and _is_number(row, criterion)]
    if len(scores) < 2:
        return ""
    best_step, best = max(scores, key=lambda both: (both[1], -both[0]))
    last_step, last = scores[-1]
    if best - last < _FALL:
        return ""
    kept = (
        f"the weights of step {best_step} were kept"
        if kept_best
        else "the last weights were kept; --training.best keeps the best ones, --training.patience ends earlier"
    )
    return f"{criterion} on dev fell from {best:.4f} at step {best_step} to {last:.4f} at step {last_step}: {kept}"


def risen(records: Records) -> str:
    """Warn that the dev loss of pre-training ended above its first or its lowest value; "" if it did not."""
    losses = [(row["step"], row["loss"]) for row in _dev(records) if _is_number(row, "loss")]
    if len(losses) < 2:
        return ""
    (first_step, first), (last_step, last) = losses[0], losses[-1]
    if first_step == 0 and last > first * _RISE:
        return (
            f"the dev loss rose from {first:.3f} before the first step to {last:.3f} at the end: the encoder is "
            "worse than the one it began with; train longer, or at a lower --learning-rate"
        )
    low_step, low = min(losses, key=lambda both: both[1])
    if last > low * _RISE:
        return (
            f"the dev loss was lowest at step {low_step} ({low:.3f}) and is {last:.3f} at step {last_step}: the last "
            "weights were kept; a shorter run or more text may do better"
        )
    return ""


def one_answer(answers: Sequence[str | None], right: Sequence[str | None]) -> str:
    """Warn that the predictions for all dev items are the same, though the labels differ; "" if they are not."""
    predicted = Counter(answer for answer in answers if answer is not None)
    gold = Counter(answer for answer in right if answer is not None)
    if sum(predicted.values()) < max(_FEW_ITEMS, len(answers)) or not gold:
        return ""
    (common, count) = predicted.most_common(1)[0]
    share = gold[common] / sum(gold.values())
    if count < _NEARLY_ALL * len(answers) or share > _ONE_CLASS:
        return ""
    prediction = f"{common!r}" if common else "nothing"
    all_of = f"all {count:,}" if count == len(answers) else f"{count:,} of {len(answers):,}"
    return (
        f"the model predicts {prediction} for {all_of} dev items, and that is right for {share:.0%} of them: it has "
        "not learned to distinguish them yet; train longer, try another --learning-rate, or check the labels"
    )


def little_data(extent: Extent) -> str:
    """Warn that a run saw a small part of its data; "" if it saw more."""
    if extent.done >= _LITTLE:
        return ""
    return (
        f"the run saw {extent.done:.1%} of {extent.data} in {extent.steps:,} steps: give it a longer --budget, or more "
        "--steps or --epochs"
    )


def too_short(extent: Extent, records: Records, settings: TrainingSettings, optimizer: OptimizerSettings) -> list[str]:
    """Warn of a short run, and of settings that need more steps than it had."""
    steps, warnings = extent.steps, []
    if steps < _FEW_STEPS:
        warnings.append(f"the run had {steps:,} updates in all: few for a model to learn from")
    if settings.evaluate_every is not None and settings.evaluate_every > steps:
        warnings.append(
            f"--training.evaluate-every {settings.evaluate_every:,} is more than the {steps:,} steps of the run: the "
            "dev set was measured only at the end"
        )
    measured = sum(row["step"] > 0 for row in _dev(records))
    if settings.patience is not None and measured <= settings.patience:
        warnings.append(
            f"--training.patience {settings.patience} could not end a run of {measured} evaluation"
            f"{'s' * (measured != 1)}; evaluate more often"
        )
    needed = round(1.0 / (1.0 - optimizer.ema)) if optimizer.ema > 0.0 else 0
    if needed > steps:
        warnings.append(
            f"--optimizer.ema {optimizer.ema} averages over {needed:,} steps and the run had {steps:,}: the saved "
            "weights are a mean over nearly all of them, including the first"
        )
    return warnings


def short_stages(extent: Extent, stages: Sequence[Stage]) -> list[str]:
    """Warn of sequence lengths that had hardly any steps."""
    return [
        f"sequences of {stage.length} tokens had about {stage.share * extent.steps:.0f} steps: too few to learn "
        "from; train longer, or give --stages other shares"
        for stage in stages
        if len(stages) > 1 and stage.share * extent.steps < _FEW_OF_A_STAGE
    ]


def _dev(records: Records) -> list[Mapping[str, Any]]:
    return [row for row in records if row.get("kind") == "dev"]


def _is_number(row: Mapping[str, Any], name: str) -> bool:
    value = row.get(name)
    return isinstance(value, int | float) and value == value
