"""Measure a model: on labelled items by its task's score, on ready batches by its task's loss.

Streaming: predictions are kept, outputs and logits are not. How scores look is the affair of commands and reports.

Shapes: B sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from bertie import progress
from bertie.batch import Batch
from bertie.data.random import stream
from bertie.errors import DataError
from bertie.inference.forward import MAX_TOKENS, Part, forward, numbered
from bertie.metrics.classification import confusion
from bertie.tasks.task import Judgement, Keys, Loss, Task
from bertie.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Mistake:
    """An item that was answered wrongly, or not quite rightly."""

    number: int
    """Its place among the items, from 0."""
    item: Any
    prediction: Any
    gold: str
    """The right answer in words."""
    guess: str
    """The answer it got."""
    score: float
    """How sure the model was of its guess, 0 to 1."""
    credit: float = 0.0
    """What the guess was worth, below 1."""


@dataclass(frozen=True)
class Evaluation:
    """What a model reached on some items."""

    scores: dict[str, float]
    """The task's scores; the figures of its loss where it has none, and for items without labels."""
    loss: float | None
    """Mean loss; None where the items have no labels for it."""
    num_items: int
    num_cut: int = 0
    """Items that truncation made shorter."""
    predictions: list[Any] = field(default_factory=list)
    """One an item, in their order; empty for items without labels."""
    labels: tuple[str, ...] = ()
    """Names of the classes; empty for a task without."""
    confusion: list[list[int]] = field(default_factory=list)
    """Row = gold label, column = guess, in the order of `labels`."""
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    """Precision, recall, F1 and support of every label."""
    worst: list[Mistake] = field(default_factory=list)
    """Mistakes the model was surest of and that were most wrong, worst first."""
    certainty: list[tuple[float, float, int]] = field(default_factory=list)
    """Items by how sure the model was, in tenths: (mean score, mean credit, items), empty tenths left out."""


class _Tally:
    """Adds up losses and figures over batches; each is divided once, by its own count."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, float]] = {}
        self.weights: dict[str, float] = {}

    def add(self, loss: Loss) -> None:
        for name, term in loss.terms.items():
            self.weights[name] = term.weight
            self._add(f"{name}_loss", float(term.sum), term.count)
        for name, (value, count) in loss.figures.items():
            if (number := float(count)) > 0.0:  # a mean over nothing is no figure
                self._add(name, float(value), number)

    def _add(self, name: str, value: float, count: float) -> None:
        before = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (before[0] + value, before[1] + count)

    def means(self) -> dict[str, float]:
        """Return `loss`, `<term>_loss` where there are several terms, and the figures."""
        means = {name: value / (count or 1.0) for name, (value, count) in self.sums.items()}
        total = {"loss": sum(weight * means[f"{name}_loss"] for name, weight in self.weights.items())}
        if len(self.weights) == 1:
            del means[f"{next(iter(self.weights))}_loss"]
        return {**total, **means}


def evaluate_batches(
    model: nn.Module, task: Task, batches: Iterable[Batch], *, device: torch.device | None = None
) -> dict[str, float]:
    """Measure the loss on ready batches, such as those of a dev corpus.

    Args:
        model: put into evaluation mode and back.
        task: whose loss is measured.
        batches: with targets.
        device: where the batches go; where the model is when None.

    Returns:
        `loss`, `<term>_loss` each when there are several terms, and the task's figures, all as means over everything.

    Raises:
        DataError: no batches.
    """
    place = device or next(model.parameters()).device
    tally = _Tally()
    with resting(model), torch.inference_mode():
        for batch in batches:
            moved = batch.to(place)
            tally.add(task.loss(model(moved), moved))
    if not tally.weights:
        raise DataError("nothing to evaluate on: there is no batch")
    means = tally.means()
    return {**means, **task.derived(means)}


def evaluate(
    model: nn.Module,
    task: Task,
    items: Sequence[Any],
    tokenizer: Tokenizer,
    *,
    max_tokens: int = MAX_TOKENS,
    seed: int = 0,
    num_worst: int = 10,
    bar: progress.Bar | None = None,
) -> Evaluation:
    """Measure a model on items.

    Labelled items are predicted and scored. Items without labels serve the tasks that make their own: tokens are masked
    by streams of `seed` and the item's number, and the loss and its figures are the scores.

    Args:
        model: put into evaluation mode and back.
        task: what is measured.
        items: with labels, all of them, or without.
        tokenizer: of the model.
        max_tokens: tokens of a batch at most.
        seed: of the masks, where items have no labels.
        num_worst: mistakes to keep.
        bar: is advanced by the number of items done.

    Raises:
        DataError: no items, an item that can't be used, some with labels and some without, or none where the task
            needs them.
        SettingsError: a task that can't be measured.
    """
    labelled = _are_labelled(task, items)
    predictions: list[Any] = [None] * len(items) if labelled else []
    tally, num_cut = _Tally(), 0
    draw_keys = None if labelled else lambda numbers: _keys(seed, numbers)
    with resting(model):
        for first, part in _parts(model, task, items, tokenizer, max_tokens=max_tokens, draw_keys=draw_keys):
            with torch.inference_mode():
                _measure(task, part, tally, labelled=labelled)
                if labelled:
                    with numbered(part.numbers, part.items):
                        decoded = task.decode(part.outputs, part.batch, part.items, tokenizer)
                    for number, prediction in zip(part.numbers, decoded, strict=True):
                        predictions[number] = prediction
            if first and "sequence.cut" in part.batch.targets:
                num_cut += int((part.batch.targets["sequence.cut"] > 0).sum())
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
    """Say what a measurement would have found with other thresholds, where its predictions tell.

    Args:
        found: of the same items and the same model, under the task as it was.
        task: as it is now.
        items: what was measured.
        num_worst: mistakes to keep.

    Returns:
        What `evaluate` would return; None where the items must go through the model again.
    """
    predictions = task.revise(found.predictions)
    if predictions is None:
        return None
    judged = _judge(task, items, predictions, num_worst)
    return replace(found, scores=task.score(predictions, items), predictions=predictions, **judged)


def _parts(
    model: nn.Module,
    task: Task,
    items: Sequence[Any],
    tokenizer: Tokenizer,
    *,
    max_tokens: int,
    draw_keys: Callable[[range], Keys] | None,
) -> Iterator[tuple[bool, Part]]:
    """Run the items; where the task makes the targets and draws between objectives, all of them by each in turn.

    Yields:
        Whether these items come for the first time, and their part.
    """
    for number, aspect in enumerate((task,) if draw_keys is None else task.aspects()):
        for part in forward(model, aspect, items, tokenizer, max_tokens=max_tokens, draw_keys=draw_keys):
            yield number == 0, part


def _measure(task: Task, part: Part, tally: _Tally, *, labelled: bool) -> None:
    """Add a batch's loss; labelled items may lack what the loss needs, others may not."""
    try:
        tally.add(task.loss(part.outputs, part.batch))
    except KeyError as error:
        if not labelled:
            raise DataError(
                f"{task.name} is measured on items with labels, and these have none; name the column that holds them"
            ) from error


def _keys(seed: int, numbers: range) -> Keys:
    return stream(seed, np.asarray(numbers, dtype=np.uint64))


def _are_labelled(task: Task, items: Sequence[Any]) -> bool:
    """Tell whether all items have labels (or what else the task scores by), or none."""
    if not len(items):
        raise DataError("nothing to evaluate on: there is no item")
    bare = [number for number, item in enumerate(items) if not task.has_gold(item)]
    if bare and len(bare) < len(items):
        raise DataError(f"text {bare[0] + 1} has no label, others have; label all of them or none")
    return not bare


def _judge(task: Task, items: Sequence[Any], predictions: Sequence[Any], num_worst: int) -> dict[str, Any]:
    """Work out per-class scores, the worst mistakes, calibration, and the confusion of a task that gives one label."""
    judgements = [task.judge(*both) for both in zip(predictions, items, strict=True)]
    found = [(number, judged) for number, judged in enumerate(judgements) if judged is not None]
    worst = sorted(((number, judged) for number, judged in found if judged.credit < 1.0), key=_badness)[:num_worst]
    classes = task.per_class(predictions, items)
    one_label = set(classes) >= {text for _, judged in found for text in (judged.gold, judged.guess)}
    gold, guesses = [judged.gold for _, judged in found], [judged.guess for _, judged in found]
    return {
        "labels": tuple(classes),
        "per_class": classes,
        "confusion": confusion(gold, guesses, tuple(classes)).tolist() if classes and one_label else [],
        "worst": [
            Mistake(number, items[number], predictions[number], judged.gold, judged.guess, judged.score, judged.credit)
            for number, judged in worst
        ],
        "certainty": _by_certainty([judged for _, judged in found]),
    }


def _badness(numbered: tuple[int, Judgement]) -> float:
    return -numbered[1].score * (1.0 - numbered[1].credit)


def _by_certainty(judgements: Sequence[Judgement]) -> list[tuple[float, float, int]]:
    tenths: dict[int, list[Judgement]] = {}
    for judged in judgements:
        tenths.setdefault(min(9, int(judged.score * 10)), []).append(judged)
    return [
        (sum(one.score for one in group) / len(group), sum(one.credit for one in group) / len(group), len(group))
        for _, group in sorted(tenths.items())
    ]


@contextmanager
def resting(model: nn.Module) -> Iterator[None]:
    """Switch dropout off for a while."""
    before = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(before)
