"""The predictions of `embedding`: the vector of a text, and the similarity of a pair.

Shapes: H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bertie.tasks._lines import heading, number_table, vector_line
from bertie.tasks._prediction import Prediction


@dataclass(frozen=True, eq=False)
class Vector(Prediction):
    """The vector of one text."""

    vector: NDArray[np.float32]
    """(H,), of length 1 unless the task says otherwise."""

    def lines(self, item: Any, width: int) -> list[str]:
        """Return the item, and the first numbers of the vector."""
        return [heading(item), vector_line("vector", self.vector)]


@dataclass(frozen=True, eq=False)
class Similarity(Prediction):
    """The similarity of the two texts of a pair."""

    similarity: float
    """Cosine of the angle between their vectors, -1 to 1."""
    value: float | None
    """The similarity on the scale of the training labels; None for a model that learned without labels."""
    vectors: NDArray[np.float32] = field(repr=False)
    """(2, H) both vectors, for comparison with other texts."""

    @classmethod
    def table(cls, items: Sequence[Any], predictions: Sequence[Self], width: int) -> list[str]:
        """Return one row for each pair: similarity, both texts."""
        return number_table(items, [one.similarity for one in predictions], width)
