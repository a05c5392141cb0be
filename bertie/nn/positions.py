"""Sinusoidal positions ("Attention is all you need", 3.5). They are not learned, so they exist for any length.

Shapes: P positions, H hidden.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BASE = 10_000.0
"""Base of the wavelengths: the longest is nearly this many times as long as the shortest."""


def sinusoids(num_positions: int, hidden_size: int) -> Tensor:
    """Return PE(p, 2i) = sin(p / 10000^(2i/H)) and PE(p, 2i+1) = cos(p / 10000^(2i/H)): (P, H) in fp32.

    Args:
        num_positions: P.
        hidden_size: H; an odd H has one sine more than cosines.
    """
    position = torch.arange(num_positions, dtype=torch.float64)[:, None]
    even = torch.arange(0, hidden_size, 2, dtype=torch.float64)[None, :]
    angles = position * torch.exp(-math.log(BASE) * even / hidden_size)  # (P, H/2)
    table = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)  # (P, H or H+1)
    return table[:, :hidden_size].float()
