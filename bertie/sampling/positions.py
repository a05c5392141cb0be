"""Random first positions for training sequences that are shorter than those of a later stage.

A learned position that no sequence has reached is still random, and everything that depends on positions fails there.
So the sequences of short stages begin at random positions, and all positions of the longest stage are learned from the
first step on.

Shapes: B sequences.
"""

import numpy as np
from numpy.typing import NDArray

from bertie.sampling.random import Keys, integers, stream

_POSITIONS = 0x9057  # the purpose of these draws


def first_positions(keys: Keys, lengths: NDArray[np.int64], *, longest: int) -> NDArray[np.int64]:
    """Draw the first position of each sequence, so that it ends by position `longest` - 1: (B,).

    A uniform draw among the starts that fit would rarely reach the outermost positions: only one start covers
    position 0. So the draw lets each sequence slide from wholly before the first position to wholly behind the last,
    and clips its start to where it fits. Then at least length / (length + longest + 1) of the sequences cover each
    position.

    Args:
        keys: (B,) keys of the sequences, to draw from.
        lengths: (B,) tokens of each sequence.
        longest: number of positions to learn.
    """
    drawn = integers(stream(keys, _POSITIONS), -lengths, longest + 1)
    return np.clip(drawn, 0, np.maximum(longest - lengths, 0))
