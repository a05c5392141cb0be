"""The loss of a batch: terms that are divided by their counts over a whole step, and figures to report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Term:
    """One part of a loss, before division by its count."""

    weight: float
    """Factor of the mean in the total loss."""
    sum: Tensor
    """Scalar sum over `count` items or tokens, with gradients."""
    count: float
    """Number of items or tokens in the sum."""


@dataclass(frozen=True, eq=False)
class Loss:
    """Named terms of a loss, and further figures to report.

    Each term is divided once, by its count over all micro-batches (and processes) of a step. A mean of the
    micro-batches' means would give a short micro-batch as much weight as a long one.
    """

    terms: dict[str, Term]
    figures: dict[str, tuple[Tensor, float | Tensor]] = field(default_factory=dict)
    """name: (sum, count), such as the number of correct predictions. A count computed on the device is a tensor."""

    def total(self, counts: Mapping[str, float]) -> Tensor:
        """Add the terms, each divided by its global count. A count of 0 is replaced by 1, as its sum is 0 too."""
        parts = [term.weight * term.sum / max(counts[name], 1.0) for name, term in self.terms.items()]
        return sum(parts[1:], start=parts[0])
