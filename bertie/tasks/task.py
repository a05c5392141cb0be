"""The contract of `tasks/`: encode, head, loss, decode, score.

Pre-training, fine-tuning, evaluation, prediction and serving differ only in which of the five verbs they use. A task is
a frozen dataclass whose fields are its settings; the file named as the task holds a class `TASK` points to. The road is
the same for learning and for use up to the head's outputs: then `loss` to the left, `decode` to the right.

Shapes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.data.table import Text as Text
from bertie.errors import DataError, SettingsError
from bertie.nn.dropout import Noise
from bertie.tokenizer.tokenizer import Tokenizer

Keys = NDArray[np.uint64]
Truncation = Literal["error", "truncate"]


@dataclass(frozen=True, eq=False)
class Term:
    """One part of a loss, not yet divided."""

    weight: float
    """What the mean is multiplied with in the total."""
    sum: Tensor
    """Scalar, summed over `count` things, carrying gradients."""
    count: float
    """How many things were summed."""


@dataclass(frozen=True, eq=False)
class Loss:
    """Named terms, and figures to report beside them.

    Every term is divided once, by its own count over all micro-batches (and processes) of a step; averaging averages
    would weigh a short micro-batch as much as a long one.
    """

    terms: dict[str, Term]
    figures: dict[str, tuple[Tensor, float]] = field(default_factory=dict)
    """name: (sum, count), such as the number of right guesses."""

    def total(self, counts: Mapping[str, float]) -> Tensor:
        """Add the terms, each divided by its global count (0 counts as 1: its sum is 0 too)."""
        parts = [term.weight * term.sum / max(counts[name], 1.0) for name, term in self.terms.items()]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


class Task(Protocol):
    """What every task defines. Settings are its dataclass fields."""

    name: ClassVar[str]
    """The file's name, the word a user types."""
    architecture: ClassVar[str]
    """Name of the class that loads it in transformers, with {} for the encoder's ("{}ForMaskedLM")."""

    def encode(self, items: Any, tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Turn items into a batch; `keys` (B,) are the streams corruption is drawn from, None for none."""

    def head(self, encoder: Any) -> nn.Module:
        """Make the module from (hidden (T, H), batch, noise) to outputs, from the encoder's own stems."""

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count what each term of the loss sums over; known before any forward pass."""

    def loss(self, outputs: Any, batch: Batch) -> Loss:
        """Compare outputs with the batch's targets."""

    def decode(self, outputs: Any, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Any]:
        """Turn outputs into one prediction an item; `batch.rows` says whose sequence is whose."""

    def score(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, float]:
        """Compare predictions with the items' gold answers."""


class TaskModel(nn.Module):
    """An encoder under a task's head: the whole network.

    Args:
        encoder: a module of `models/`.
        head: what the task's `head(encoder)` made.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, batch: Batch, noise: Noise | None = None) -> Any:
        """Run encoder and head; `noise` as in the encoder."""
        if self.training and noise is None:
            noise = Noise.draw()
        return self.head(self.encoder(batch, noise), batch, noise)


def check_length(max_length: int) -> None:
    """Refuse a length that leaves no room for a pair of texts.

    Raises:
        SettingsError: it is too short.
    """
    if max_length < 5:
        raise SettingsError(f"max_length must be at least 5, for [CLS] a [SEP] b [SEP]; got {max_length}")


def texts(items: Sequence[Any]) -> tuple[list[str], list[str | None] | None]:
    """Split items (strings, pairs of strings or `Text`) into first and second texts; None where there is no second.

    Raises:
        DataError: something else.
    """
    for number, item in enumerate(items, 1):
        if not isinstance(item, str | Text) and not (isinstance(item, tuple) and len(item) == 2):
            raise DataError(f"text {number} is {reprlib.repr(item)}; give a string, a tuple of two strings, or a Text")
    whole = [item if isinstance(item, Text) else Text(item) if isinstance(item, str) else Text(*item) for item in items]
    second = [item.pair for item in whole]
    return [item.text for item in whole], second if any(pair is not None for pair in second) else None
