"""What a user should be told of a finished run, from its figures: pure functions, a sentence each.

A run may end well and be of no use: its dev score fell from its best, it says one class for everything, it saw little
of its data. Whoever finishes a run asks `of_finetuning` or `of_pretraining`, and shows what comes back as warnings, in
the report and in run.json.
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

_FALL = 0.01  # a hundredth of a score is noise on most dev tables
_RISE = 1.02
_FEW_ITEMS = 10  # say nothing of how they are spread
_NEARLY_ALL = 0.98
_ONE_CLASS = 0.9  # of the right answers: then one answer for all is no surprise
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
    """What the data is called: the training table, the corpus."""


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
    """Remark on a fine-tuning run.

    Args:
        extent: how far it went.
        records: lines of metrics.jsonl.
        criterion: the score that says how good the model is, the higher the better.
        answers: what the model said of each dev item, in a word; None where it is no word.
        right: what would have been right.
        settings: how it was evaluated.
        optimizer: how weights were updated.
    """
    found = [
        fallen(records, criterion, kept_best=settings.best),
        one_answer(answers, right),
        little_data(extent),
        *too_short(extent, records, settings, optimizer),
    ]
    return [said for said in found if said]


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
    """Remark on a pre-training run.

    Args:
        extent: how far it went.
        records: lines of metrics.jsonl.
        stages: lengths of sequences and their shares of the run.
        settings: how it was evaluated.
        optimizer: how weights were updated.
        yardsticks: what counting reaches; empty for a task without masks.
        recipe: what decides how soon such a run learns.
        bought: that the encoder is no better than the one it went on from.
    """
    found = [
        *plateau.remarks(records, yardsticks, recipe),
        *(bought or [risen(records)]),
        little_data(extent),
        *too_short(extent, records, settings, optimizer),
        *short_stages(extent, stages),
    ]
    return [said for said in found if said]


def fallen(records: Records, criterion: str, *, kept_best: bool) -> str:
    """Say that the dev score fell from its best, and which weights were kept; "" where it did not."""
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
    """Say that the dev loss of a pre-training ended above where it began, or above its lowest."""
    losses = [(row["step"], row["loss"]) for row in _dev(records) if _is_number(row, "loss")]
    if len(losses) < 2:
        return ""
    (first_step, first), (last_step, last) = losses[0], losses[-1]
    if first_step == 0 and last > first * _RISE:
        return (
            f"the loss on dev rose from {first:.3f} before the first step to {last:.3f} at the end: the encoder is "
            "worse than the one it began with; train longer, or at a lower --learning-rate"
        )
    low_step, low = min(losses, key=lambda both: both[1])
    if last > low * _RISE:
        return (
            f"the loss on dev was lowest at step {low_step} ({low:.3f}) and is {last:.3f} at step {last_step}: the "
            "last weights were kept; a shorter run or more text may do better"
        )
    return ""


def one_answer(answers: Sequence[str | None], right: Sequence[str | None]) -> str:
    """Say that the model answers all dev items alike, where the right answers differ."""
    said = Counter(answer for answer in answers if answer is not None)
    gold = Counter(answer for answer in right if answer is not None)
    if sum(said.values()) < max(_FEW_ITEMS, len(answers)) or not gold:
        return ""
    (common, count) = said.most_common(1)[0]
    share = gold[common] / sum(gold.values())
    if count < _NEARLY_ALL * len(answers) or share > _ONE_CLASS:
        return ""
    what = f"{common!r}" if common else "nothing"
    all_of = f"all {count:,}" if count == len(answers) else f"{count:,} of {len(answers):,}"
    return (
        f"the model says {what} for {all_of} dev items, and that is right for {share:.0%} of them: it has not "
        "learned to tell them apart yet; train longer, at another --learning-rate, or look at the labels"
    )


def little_data(extent: Extent) -> str:
    """Say that a run saw a small part of its data."""
    if extent.done >= _LITTLE:
        return ""
    return (
        f"the run saw {extent.done:.1%} of {extent.data} in {extent.steps:,} steps: give it a longer --budget, or more "
        "--steps or --epochs"
    )


def too_short(extent: Extent, records: Records, settings: TrainingSettings, optimizer: OptimizerSettings) -> list[str]:
    """Say which settings need more steps than the run had."""
    steps, found = extent.steps, []
    if steps < _FEW_STEPS:
        found.append(f"the run had {steps:,} updates in all: few for a model to learn from")
    if settings.evaluate_every is not None and settings.evaluate_every > steps:
        found.append(
            f"--training.evaluate-every {settings.evaluate_every:,} is more than the {steps:,} steps of the run: dev "
            "was measured at the end only"
        )
    measured = sum(row["step"] > 0 for row in _dev(records))
    if settings.patience is not None and measured <= settings.patience:
        found.append(
            f"--training.patience {settings.patience} could not end a run of {measured} evaluation"
            f"{'s' * (measured != 1)}; evaluate more often"
        )
    needed = round(1.0 / (1.0 - optimizer.ema)) if optimizer.ema > 0.0 else 0
    if needed > steps:
        found.append(
            f"--optimizer.ema {optimizer.ema} averages over {needed:,} steps and the run had {steps:,}: what was "
            "written is a mean over nearly all of them, the first ones too"
        )
    return found


def short_stages(extent: Extent, stages: Sequence[Stage]) -> list[str]:
    """Say which lengths of sequences had hardly any steps."""
    return [
        f"sequences of {stage.length} tokens had some {stage.share * extent.steps:.0f} steps: too few to learn "
        "from; train longer, or give --stages other shares"
        for stage in stages
        if len(stages) > 1 and stage.share * extent.steps < _FEW_OF_A_STAGE
    ]


def _dev(records: Records) -> list[Mapping[str, Any]]:
    return [row for row in records if row.get("kind") == "dev"]


def _is_number(row: Mapping[str, Any], name: str) -> bool:
    value = row.get(name)
    return isinstance(value, int | float) and value == value
