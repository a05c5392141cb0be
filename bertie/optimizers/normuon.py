"""Muon whose updates have rows of one size, at Muon's rates.

Muon's updates have singular values near 1, but their rows differ in size, so some neurons learn faster than others.
Here each row is divided by the root of a running mean of its squares (Li et al. 2025, "NorMuon"). The whole is then
brought to an RMS of 0.2, about that of Muon's update, which also cancels the bias of the mean in the first steps. The
state is Muon's and one number a row. As in the paper's settings, one decay serves momentum and squares.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bertie.optimizers.muon import RMS, Muon

_TINY = 1e-8  # added to a row's size and to the norm, which are 0 where all gradients were


class NorMuon(Muon):
    """Muon whose updates have rows of one size.

    Args:
        params: groups.
        beta1: decay of AdamW's mean of gradients.
        beta2: decay of AdamW's mean of their squares.
        epsilon: added to the root in AdamW's denominator.
        momentum: decay of the sum of gradients, and of the mean of each row's squares.
    """

    peak = 4e-3  # Muon's; not measured
    peak_from_neighbours = 6e-3  # the best of three on two layers, docs/measured/studies.md

    def first_state(self, value: Tensor) -> dict[str, Tensor]:
        """Return the state of stacked matrices before the first step; each tensor has their rows."""
        return {**super().first_state(value), "row_squares": torch.zeros_like(value[:, :1])}

    def size(self, update: Tensor, state: dict[str, Tensor]) -> float:
        """Bring the rows of an update to one size, and the whole to its RMS; the factor that is left is 1."""
        squares = state["row_squares"]
        squares.lerp_(update.square().mean(1, keepdim=True), 1 - self._momentum)
        update.div_(squares.sqrt().add_(_TINY))
        update.mul_(RMS * math.sqrt(update.numel()) / update.norm().add_(_TINY))
        return 1.0


OPTIMIZER = NorMuon
