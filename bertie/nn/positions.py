"""Sinusoidal positions ("Attention is all you need", 3.5): nothing is learned, so any length has its vector.

Shapes: P positions, H hidden.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BASE = 10_000.0
"""Of the wavelengths: the slowest is nearly as many times longer than the quickest."""


def sinusoids(num_positions: int, hidden_size: int) -> Tensor:
    """Work out PE(p, 2i) = sin(p / 10000^(2i/H)) and PE(p, 2i+1) = cos of the same: (P, H) in fp32.

    Args:
        num_positions: P.
        hidden_size: H; an odd one has one sine more.
    """
    place = torch.arange(num_positions, dtype=torch.float64)[:, None]
    even = torch.arange(0, hidden_size, 2, dtype=torch.float64)[None, :]
    angles = place * torch.exp(-math.log(BASE) * even / hidden_size)  # (P, H/2)
    table = torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)  # (P, H or H+1)
    return table[:, :hidden_size].float()
