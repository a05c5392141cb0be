"""First weights that make an attention head attend to tokens like its own; the architecture does not change.

Queries and keys are one random projection of the hidden vector, so the score of two tokens is about the product of
their vectors. Positions are subtracted from it, so that a token doesn't attend to itself. Such a head finds the words
that two texts share. Without one, a small encoder hardly learns to compare texts (docs/measured/plateau.md).

Shapes: H hidden, D head size, P pairs of columns that hold positions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bertie.nn.block import SelfAttention
from bertie.nn.initialize import truncated_normal

HEADS = 2
"""Number of heads of each block above those that attend to neighbours; at most half of the heads."""
_STRENGTH = 3.0  # variance of the projected vectors: the score of two equal vectors is about this times sqrt(D)
_APART = 18.0  # by how much the positions lower a token's score of itself
_DAMPED = 0.3  # factor of the random weights where positions are subtracted


def attend_to_similar(
    attention: SelfAttention, head: int, sines: Tensor, cosines: Tensor, amplitude: float, generator: torch.Generator
) -> None:
    """Make a head attend to similar tokens.

    Args:
        attention: changed in place.
        head: number of the head.
        sines: (P,) columns of the hidden vectors that hold sines of the position.
        cosines: (P,) columns that hold the cosines.
        amplitude: largest value of the sines and cosines.
        generator: draws the projection.
    """
    hidden = attention.output.weight.shape[0]
    size = hidden // attention.num_heads
    count = min(size // 4, len(sines))
    if count == 0:
        return
    kept = torch.arange(count) * len(sines) // count
    rows = truncated_normal((size - 2 * count, hidden), math.sqrt(_STRENGTH / hidden), generator)
    rows[:, torch.cat([sines, cosines])] = 0.0
    query, key = (attention.qkv.weight[part * hidden + head * size :][:size] for part in (0, 1))
    for weight in (query, key):
        weight *= _DAMPED
        weight[2 * count :] = rows
    gain = math.sqrt(_APART * math.sqrt(size) / count) / amplitude
    index = torch.arange(count)
    for base, columns in ((0, sines[kept]), (count, cosines[kept])):
        query[base + index, columns] -= gain
        key[base + index, columns] += gain
