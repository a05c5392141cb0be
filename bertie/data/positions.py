"""Where training sequences begin while they are shorter than those of a later stage.

A learned position that no sequence has reached is random, and what goes by positions fails there. So the sequences of
short stages begin at random positions, and all positions of the longest stage are learned from the first step on.

Shapes: B sequences.
"""

import numpy as np
from numpy.typing import NDArray

from bertie.data.random import Keys, integers, stream

_POSITIONS = 0x9057  # what these draws are for


def first_positions(keys: Keys, lengths: NDArray[np.int64], *, longest: int) -> NDArray[np.int64]:
    """Draw where each sequence begins: (B,), so that it ends by position `longest` - 1.

    A begin drawn evenly among those that fit would reach the outermost positions hardly ever: position 0 by a single
    begin. So each sequence is drawn as one that slides from wholly before the first position to wholly behind the last,
    and is pushed back to where it fits. Every position is then reached at least as often as by a share of
    length / (length + longest) of the sequences.

    Args:
        keys: (B,) streams to draw from, the sequences' own.
        lengths: (B,) tokens of each sequence.
        longest: positions to be learned.
    """
    drawn = integers(stream(keys, _POSITIONS), -lengths, longest + 1)
    return np.clip(drawn, 0, np.maximum(longest - lengths, 0))
