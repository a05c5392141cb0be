"""Adam with decoupled weight decay.

Loshchilov and Hutter 2019. The step is torch's fused kernel, which clips gradients in the same pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bertie.optimizers._adam import Adam


class AdamW(Adam):
    """AdamW: w -= rate * (direction + decay * w)."""

    peak = 1e-3  # the best of three on BERT-mini, docs/measured/studies.md
    counts_in = torch.float32  # required by the kernel

    divisor: float = 1.0
    """The next step divides its gradients by this."""

    def divide(self, gradients: Sequence[Tensor], divisor: float) -> None:
        """Leave the division to the next step."""
        self.divisor = divisor

    def update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Update the weights of a group that have gradients."""
        means, squares, steps = self.means(weights)
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            weights,
            [value.grad for value in weights if value.grad is not None],
            means,
            squares,
            [],
            steps,
            lr=group["lr"],
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
            grad_scale=torch.tensor(self.divisor, device=weights[0].device) if self.divisor != 1.0 else None,
        )


OPTIMIZER = AdamW
