"""Evaluate a model: on labelled items by its task's score, on batches by its task's loss.

Predictions are kept; outputs and logits are not, so that memory stays small. Commands and reports format the scores.

Shapes: B sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from bertie import progress
from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.inference.forward import MAX_TOKENS, Part, forward, numbered
from bertie.inference.network import device_of, has_torch, in_torch, without_gradients
from bertie.inference.network import resting as resting
from bertie.metrics.classification import confusion
from bertie.sampling.random import stream
from bertie.tasks.task import Judgement, Keys, Loss, Task
from bertie.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Mistake:
    """An item whose prediction is wrong or partly wrong."""

    number: int
    """Index among the items, from 0."""
    item: Any
    prediction: Any
    gold: str
    """The label as text."""
    guess: str
    """The prediction as text."""
    confidence: float | None
    """The probability that the model gives its prediction; None for predicted numbers."""
    credit: float = 0.0
    """How right the prediction is, from 0 to below 1."""


@dataclass(frozen=True)
class Evaluation:
    """The results of a model on some items."""

    scores: dict[str, float]
    """The task's scores. For a task without scores, or items without labels, the figures of the loss."""
    loss: float | None
    """Mean loss; None if the items' labels don't allow one."""
    num_items: int
    num_cut: int = 0
    """Number of items that were truncated."""
    predictions: list[Any] = field(default_factory=list)
    """One prediction for each item, in the same order. Empty for items without labels."""
    labels: tuple[str, ...] = ()
    """Names of the classes; empty for a task without classes."""
    confusion: list[list[int]] = field(default_factory=list)
    """Counts by label (row) and prediction (column), in the order of `labels`."""
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    """Precision, recall, F1 and support of each label."""
    worst: list[Mistake] = field(default_factory=list)
    """Mistakes with high confidence and low credit, or the largest errors of predicted numbers; worst first."""
    calibration: list[tuple[float, float, int]] = field(default_factory=list)
    """(mean confidence, mean credit, number of items) for each tenth of confidence that has items."""


class _Tally:
    """Sums of losses and figures over batches. Each sum is divided once, by its own count."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, float]] = {}
        self.weights: dict[str, float] = {}

    def add(self, loss: Loss) -> None:
        for name, term in loss.terms.items():
            self.weights[name] = term.weight
            self._add(f"{name}_loss", float(term.sum), term.count)
        for name, (value, count) in loss.figures.items():
            if (number := float(count)) > 0.0:  # without a count there is no mean
                self._add(name, float(value), number)

    def _add(self, name: str, value: float, count: float) -> None:
        before = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (before[0] + value, before[1] + count)

    def means(self) -> dict[str, float]:
        """Return `loss`, a `<term>_loss` for each of several terms, and the figures."""
        means = {name: value / (count or 1.0) for name, (value, count) in self.sums.items()}
        total = {"loss": sum(weight * means[f"{name}_loss"] for name, weight in self.weights.items())}
        if len(self.weights) == 1:
            del means[f"{next(iter(self.weights))}_loss"]
        return {**total, **means}


def evaluate_batches(
    model: nn.Module, task: Task, batches: Iterable[Batch], *, device: torch.device | None = None
) -> dict[str, float]:
    """Measure the loss on batches, such as those of a dev corpus.

    Args:
        model: put into evaluation mode, and back afterwards.
        task: its loss is measured.
        batches: with targets.
        device: device for the batches. None: the model's device.

    Returns:
        `loss`, a `<term>_loss` for each of several terms, and the task's figures. All are means over all batches.

    Raises:
        DataError: there are no batches.
    """
    target = device or device_of(model)
    tally = _Tally()
    with resting(model), without_gradients(model):
        for batch in batches:
            moved = batch.to(target)
            tally.add(task.loss(model(moved), moved))
    if not tally.weights:
        raise DataError("there are no batches to evaluate on")
    means = tally.means()
    return {**means, **task.derived(means)}


def evaluate(
    model: Any,
    task: Task,
    items: Sequence[Any],
    tokenizer: Tokenizer,
    *,
    max_tokens: int = MAX_TOKENS,
    seed: int = 0,
    num_worst: int = 10,
    bar: progress.Bar | None = None,
) -> Evaluation:
    """Evaluate a model on items.

    Labelled items are predicted and scored. Items without labels are for tasks that make their own targets: tokens are
    masked by random streams of `seed` and the item's number, and the scores are the figures of the loss.

    Args:
        model: a network, which is put into evaluation mode and back afterwards, or the graph of an exported model.
        task: of the model.
        items: all with labels, or all without.
        tokenizer: of the model.
        max_tokens: maximum number of tokens in a batch.
        seed: of the masks, for items without labels.
        num_worst: number of mistakes to keep.
        bar: advanced by the number of items done.

    Raises:
        DataError: there are no items; an item can't be used; only some items have labels; or none has and the task
            needs labels.
        SettingsError: the task can't be evaluated, or its figures are those of a loss and torch isn't installed.
    """
    labelled = _are_labelled(task, items)
    predictions: list[Any] = [None] * len(items) if labelled else []
    tally, num_cut = _Tally(), 0
    draw_keys = None if labelled else lambda numbers: _keys(seed, numbers)
    with resting(model):
        for first, part in _parts(model, task, items, tokenizer, max_tokens=max_tokens, draw_keys=draw_keys):
            with without_gradients(model):
                _measure(task, part, tally, labelled=labelled)
                if labelled:
                    with numbered(part.numbers, part.items):
                        decoded = task.decode(part.outputs, part.batch, part.items, tokenizer)
                    for number, prediction in zip(part.numbers, decoded, strict=True):
                        predictions[number] = prediction
            if first and "sequence.cut" in part.batch.arrays.targets:
                num_cut += int((part.batch.arrays.targets["sequence.cut"] > 0).sum())
            if first and bar is not None:
                bar.advance(len(part.items))
    figures = tally.means() if tally.weights else {}
    figures |= task.derived(figures) if figures else {}
    loss = figures.pop("loss", None)
    if not labelled:
        return Evaluation(figures, loss, len(items), num_cut)
    scores = task.score(predictions, items) or figures
    judged = _judge(task, items, predictions, num_worst)
    return Evaluation(scores, loss, len(items), num_cut, predictions, **judged)


def rejudge(found: Evaluation, task: Task, items: Sequence[Any], *, num_worst: int = 10) -> Evaluation | None:
    """Update an evaluation to a task's new thresholds, without running the model again.

    Args:
        found: of the same items and the same model, under the old thresholds.
        task: with the new thresholds.
        items: the evaluated items.
        num_worst: number of mistakes to keep.

    Returns:
        The result that `evaluate` would return. None if the items must go through the model again.
    """
    predictions = task.redecode(found.predictions)
    if predictions is None:
        return None
    judged = _judge(task, items, predictions, num_worst)
    return replace(found, scores=task.score(predictions, items), predictions=predictions, **judged)


def _parts(
    model: Any,
    task: Task,
    items: Sequence[Any],
    tokenizer: Tokenizer,
    *,
    max_tokens: int,
    draw_keys: Callable[[range], Keys] | None,
) -> Iterator[tuple[bool, Part]]:
    """Run the items. Without labels, run all items once for each of the task's objectives.

    Yields:
        Whether the objective is the first one, and a part of the items.
    """
    for number, aspect in enumerate((task,) if draw_keys is None else task.objectives()):
        for part in forward(model, aspect, items, tokenizer, max_tokens=max_tokens, draw_keys=draw_keys):
            yield number == 0, part


def _measure(task: Task, part: Part, tally: _Tally, *, labelled: bool) -> None:
    """Add a batch's loss. Labelled items may lack targets that it needs, and are then left out; others may not.

    A loss needs torch. Without it, labelled items are only scored.
    """
    if not has_torch():
        if labelled:
            return
        raise SettingsError(
            f"evaluating {task.name} without labels measures its loss, which needs torch: pip install 'bertie[torch]'"
        )
    outputs = in_torch(part.outputs, task)
    try:
        tally.add(task.loss(outputs, part.batch))
    except KeyError as error:
        if not labelled:
            raise DataError(
                f"evaluating {task.name} needs items with labels, and these have none; name the column that holds them"
            ) from error


def _keys(seed: int, numbers: range) -> Keys:
    return stream(seed, np.asarray(numbers, dtype=np.uint64))


def _are_labelled(task: Task, items: Sequence[Any]) -> bool:
    """Tell whether all items have labels (or other targets that the task is scored by), or none has."""
    if not len(items):
        raise DataError("there are no items to evaluate on")
    unlabelled = [number for number, item in enumerate(items) if not task.has_gold(item)]
    if unlabelled and len(unlabelled) < len(items):
        raise DataError(f"text {unlabelled[0] + 1} has no label, but others have; label all of them or none")
    return not unlabelled


def _judge(task: Task, items: Sequence[Any], predictions: Sequence[Any], num_worst: int) -> dict[str, Any]:
    """Compute per-class scores, the worst mistakes, calibration, and the confusion of a task with single labels."""
    judgements = [task.judge(*both) for both in zip(predictions, items, strict=True)]
    entries = [(number, judged) for number, judged in enumerate(judgements) if judged is not None]
    worst = sorted(((number, judged) for number, judged in entries if judged.credit < 1.0), key=_badness)[:num_worst]
    classes = task.per_class(predictions, items)
    one_label = set(classes) >= {text for _, judged in entries for text in (judged.gold, judged.guess)}
    gold, guesses = [judged.gold for _, judged in entries], [judged.guess for _, judged in entries]
    return {
        "labels": tuple(classes),
        "per_class": classes,
        "confusion": confusion(gold, guesses, tuple(classes)).tolist() if classes and one_label else [],
        "worst": [
            Mistake(
                number, items[number], predictions[number], judged.gold, judged.guess, judged.confidence, judged.credit
            )
            for number, judged in worst
        ],
        "calibration": _calibration([judged for _, judged in entries]),
    }


def _badness(entry: tuple[int, Judgement]) -> float:
    judged = entry[1]
    return -(1.0 if judged.confidence is None else judged.confidence) * (1.0 - judged.credit)


def _calibration(judgements: Sequence[Judgement]) -> list[tuple[float, float, int]]:
    tenths: dict[int, list[tuple[float, float]]] = {}  # (confidence, credit)
    for judged in judgements:
        if judged.confidence is not None:
            tenths.setdefault(min(9, int(judged.confidence * 10)), []).append((judged.confidence, judged.credit))
    return [
        (sum(one for one, _ in group) / len(group), sum(credit for _, credit in group) / len(group), len(group))
        for _, group in sorted(tenths.items())
    ]
