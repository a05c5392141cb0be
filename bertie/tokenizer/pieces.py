"""Encoded texts, packed without padding: the output of a tokenizer.

Shapes: T tokens, B sequences.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Pieces:
    """B sequences with T tokens in total, including [CLS] and [SEP]."""

    tokens: NDArray[np.int64]
    """(T,) token ids."""
    segments: NDArray[np.int64]
    """(T,) 0 for the first text and its [SEP], 1 for the second."""
    offsets: NDArray[np.int32]
    """(B+1,) start of each sequence, and T."""
    truncated: NDArray[np.int64]
    """(B,) number of pieces that were cut off."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int32]:
        """(B,)."""
        return np.diff(self.offsets)
