"""Encoded texts standing one after another, without padding: what the tokenizer hands on.

Shapes: T tokens, B sequences.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Pieces:
    """B sequences of T piece ids in all, [CLS] and [SEP] in place."""

    tokens: NDArray[np.int64]
    """(T,) piece ids."""
    segments: NDArray[np.int64]
    """(T,) 0 for the first text and its [SEP], 1 for the second."""
    offsets: NDArray[np.int32]
    """(B+1,) where each sequence begins."""
    truncated: NDArray[np.int64]
    """(B,) pieces cut off."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int32]:
        """(B,)."""
        return np.diff(self.offsets)
