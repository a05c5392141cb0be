"""Steps in proportion to each tensor's weights, for large batches and rates about ten times AdamW's.

You et al. 2020. With u = direction + decay * w: w -= rate * phi(|w|) / |u| * u. phi(|w|) is the norm |w|, at most
`largest_norm`. The trust ratio phi(|w|) / |u| is 1 if |w| or |u| is 0. It is also 1 for biases and LayerNorms, as in
the authors' code; algorithm 2 of the paper has no such exception.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bertie.optimizers._adam import Adam


class Lamb(Adam):
    """Adam whose step in a matrix or table is as large as its weights, times the rate.

    Args:
        params: groups.
        beta1: decay of the mean of gradients.
        beta2: decay of the mean of their squares.
        epsilon: added to the root in the denominator.
        largest_norm: largest value of phi; 0 for no bound.
    """

    peak = 1e-2  # the best of three on BERT-mini, docs/measured/studies.md

    def __init__(self, params: Any, *, beta1: float, beta2: float, epsilon: float, largest_norm: float) -> None:
        super().__init__(params, beta1=beta1, beta2=beta2, epsilon=epsilon)
        self._largest_norm = largest_norm

    def move(self, weights: list[Tensor], directions: list[Tensor], group: dict[str, Any]) -> None:
        """Add decay to the directions and update each matrix and table by its trust ratio."""
        if not group["adapted"]:
            super().move(weights, directions, group)
            return
        torch._foreach_add_(directions, weights, alpha=group["weight_decay"])
        norms, lengths = torch._foreach_norm(weights), torch._foreach_norm(directions)
        for value, direction, norm, length in zip(weights, directions, norms, lengths, strict=True):
            phi = norm.clamp(max=self._largest_norm) if self._largest_norm > 0 else norm
            ratio = torch.where((norm > 0) & (length > 0), phi / length, 1.0)
            value.addcmul_(direction, ratio, value=-group["lr"])


OPTIMIZER = Lamb
