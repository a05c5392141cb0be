"""Prove that an exported model gives the answers of the original: differences of outputs, scores before and after.

`parity.py` compares hidden vectors; this file compares what the heads return, and what a dev set says about it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bertie import progress
from bertie.backends.backend import LIMITS
from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.inference.evaluate import evaluate
from bertie.inference.forward import forward
from bertie.nn.logits import Logits
from bertie.sampling.random import stream
from bertie.tasks.task import TaskModel

_SLOT_STEP = 5  # one token in so many is compared where a head predicts chosen tokens
_NUM_ITEMS = 256  # of a dev set, for the differences; the scores are of all items
_MAX_TOKENS = 4096


@dataclass(frozen=True)
class Difference:
    """The agreement of two networks' outputs."""

    num_sequences: int
    largest: float
    """Largest difference of a number in the outputs."""
    scaled: float
    """The same in units of the outputs' root mean square where that is above 1, as in a regression on large numbers."""

    def check(self) -> None:
        """Check that the outputs are those of fp32, but for rounding.

        Raises:
            SettingsError: they differ more than `LIMITS["exact"]`.
        """
        if not self.scaled <= LIMITS["exact"]:
            raise SettingsError(
                f"the outputs differ from the model's by {self.largest:.1e}, which is not within the limit of "
                f"--precision exact, {LIMITS['exact']:g}"
            )


@dataclass(frozen=True)
class Scores:
    """A task's scores before and after the export."""

    name: str
    """The score that models are compared by."""
    before: dict[str, float]
    after: dict[str, float]
    num_items: int

    @property
    def drop(self) -> float:
        """Return how much the score fell, in points (hundredths); below 0 if it rose."""
        return 100.0 * (self.before[self.name] - self.after[self.name])

    def check(self, max_drop: float) -> None:
        """Check that the score didn't fall too much.

        Raises:
            SettingsError: it fell by more than `max_drop` points, or isn't a finite number.
        """
        if not self.drop <= max_drop:
            raise SettingsError(
                f"{self.name} on --dev fell from {self.before[self.name]:.4f} to {self.after[self.name]:.4f}, by "
                f"{self.drop:.2f} points, and --max-drop allows {max_drop:g}; use --precision exact, or allow more"
            )


def text_batches(bundle: Bundle, texts: Sequence[str]) -> Iterator[Batch]:
    """Yield batches of texts, and of pairs of neighbouring texts if the model can tell them apart."""
    length = min(bundle.config.max_positions, 512)
    rounds: list[list[str] | None] = [None]
    if getattr(bundle.config, "num_segments", 2) != 1:
        rounds.append([*texts[1:], texts[0]])
    for pairs in rounds:
        pieces = bundle.tokenizer.pack(list(texts), pairs, max_length=length, truncation="truncate")
        starts = np.repeat(pieces.offsets[:-1], np.diff(pieces.offsets))
        slots = np.flatnonzero((np.arange(len(pieces.tokens)) - starts) % _SLOT_STEP == 1)
        targets = {"slot.position": slots}
        yield from Batch.pack(pieces.tokens, pieces.segments, pieces.offsets, targets=targets).split(_MAX_TOKENS)


def item_batches(bundle: Bundle, items: Sequence[Any]) -> Iterator[Batch]:
    """Yield batches of the first items of a dev set, encoded as for a prediction."""
    first = list(islice(items, _NUM_ITEMS))
    keys = None
    if not all(map(bundle.task.has_gold, first)) and bundle.task.fills_masks:
        keys = lambda numbers: stream(0, np.asarray(numbers, np.uint64))  # noqa: E731 - the argument of one call
    for part in forward(bundle.model, bundle.task, first, bundle.tokenizer, max_tokens=_MAX_TOKENS, draw_keys=keys):
        yield part.batch


def compare_outputs(bundle: Bundle, network: TaskModel, batches: Iterable[Batch]) -> Difference:
    """Compare the outputs of two networks; for a network whose head stays in torch, the hidden vectors.

    Args:
        bundle: in fp32.
        network: the exported model.
        batches: of any sequences.
    """
    largest = scaled = 0.0
    count = 0
    sides = (bundle.model, network) if network.in_one else (bundle.model.encoder, network.encoder)
    with torch.inference_mode():
        for batch in batches:
            count += len(batch)
            exact, other = (list(_tensors(side(batch))) for side in sides)
            for first, second in zip(exact, other, strict=False):
                if second.numel():
                    values = first.double()
                    difference = float((values - second.double()).abs().max())
                    largest = max(largest, difference)
                    scaled = max(scaled, difference / max(1.0, float(values.square().mean().sqrt())))
    return Difference(count, largest, scaled)


def _tensors(outputs: Any) -> Iterator[Tensor]:
    """Yield the tensors of a head's outputs."""
    if isinstance(outputs, Logits):
        yield outputs.materialise()
    elif isinstance(outputs, tuple):
        for part in outputs:
            yield from _tensors(part)
    elif isinstance(outputs, Tensor):
        yield outputs


def compare_scores(bundle: Bundle, network: TaskModel, items: Sequence[Any], file: Path) -> Scores:
    """Evaluate a model before and after the export.

    Raises:
        DataError: the items have no score that the models could be compared by.
        SettingsError: the task can't be evaluated.
    """
    found = []
    for title, model in (("Before the export", bundle.model), ("After the export", network)):
        with progress.bar(title, total=len(items), unit="texts") as bar:
            evaluation = evaluate(model, bundle.task, items, bundle.tokenizer, num_worst=0, bar=bar)
        found.append(evaluation.scores)
    names = [bundle.task.criterion, *(name for name in found[0] if name.endswith("accuracy"))]
    name = next((name for name in names if math.isfinite(found[0].get(name, math.nan))), None)
    if name is None:
        raise DataError(f"{file}: no score of {bundle.task.name} can be measured on these rows; leave --dev out")
    return Scores(name, found[0], found[1], len(items))
