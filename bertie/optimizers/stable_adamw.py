"""AdamW with smaller steps where gradients jump, to be used with clip_norm 0.

Wortsman et al. 2023, algorithm 2. The rate of a tensor, decay included, is divided by max(1, RMS), with
RMS = sqrt(mean(g^2 / max(v, eps^2))). So the global norm of the gradient needs no clipping. ModernBERT was trained
with it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bertie.optimizers._adam import Adam


class StableAdamW(Adam):
    """AdamW with smaller steps where gradients are larger than v predicts."""

    peak = 1e-3  # AdamW's; not measured

    def move(self, weights: list[Tensor], directions: list[Tensor], group: dict[str, Any]) -> None:
        """Add decay to the directions and update each tensor at its own rate."""
        torch._foreach_add_(directions, weights, alpha=group["weight_decay"])
        for value, direction in zip(weights, directions, strict=True):
            state, gradient = self.state[value], value.grad
            assert gradient is not None  # `step` leaves out weights without one
            square = (state["exp_avg_sq"] / (1 - group["betas"][1] ** state["step"])).clamp_(min=group["eps"] ** 2)
            rms = gradient.square().div_(square).mean().sqrt_()  # a scalar
            value.addcdiv_(direction, rms.clamp_(min=1.0), value=-group["lr"])


OPTIMIZER = StableAdamW
