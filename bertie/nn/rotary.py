"""Rotary positions (Su et al. 2021): queries and keys are turned by angles that grow with their place.

Coordinate i and i + D/2 of a head form a pair, turned by position / base^(2i/D). The product of a turned query and a
turned key depends on the distance of their places alone.

Shapes: T tokens, N heads, D head size.
"""

from __future__ import annotations

import torch
from torch import Tensor

Turn = tuple[Tensor, Tensor]
"""Cosines and sines of every token's angles, (T, 1, D/2) each, in fp32."""


def angles(positions: Tensor, size: int, base: float) -> Turn:
    """Work out the turns of tokens.

    Args:
        positions: (T,) places within their sequences.
        size: D, even.
        base: theta; the larger, the slower the last pair turns.
    """
    powers = torch.arange(0, size, 2, dtype=torch.float32, device=positions.device) / size  # (D/2,)
    turned = positions.float()[:, None, None] * (1.0 / base**powers)  # (T, 1, D/2)
    return turned.cos(), turned.sin()


def rotate(values: Tensor, turn: Turn) -> Tensor:
    """Turn queries or keys (T, N, D), in fp32 whatever their dtype."""
    cosine, sine = turn
    first, second = values.float().chunk(2, dim=-1)  # (T, N, D/2)
    turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
    return turned.to(values.dtype)
