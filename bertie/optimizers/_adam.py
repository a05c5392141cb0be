"""Two running means of each weight, the base of Adam and its variants.

All use the direction m / (sqrt(v) + eps), with running means m of the gradients and v of their squares. Weight decay is
decoupled: w -= rate * (direction + decay * w). The variants differ in how far each tensor moves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bertie.optimizers.optimizer import Optimizer


class Adam(Optimizer):
    """The base of all variants.

    Args:
        params: groups.
        beta1: decay of the mean of gradients.
        beta2: decay of the mean of their squares.
        epsilon: added to the root in the denominator.
    """

    corrected = True
    """Whether the means are corrected for their bias in the first steps."""

    counts_in: torch.dtype = torch.float64
    """The dtype of the step count."""

    def __init__(self, params: Any, *, beta1: float, beta2: float, epsilon: float) -> None:
        super().__init__(params, betas=(beta1, beta2), eps=epsilon)

    def update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Update the weights of a group that have gradients."""
        self.move(weights, self.direct(weights, group), group)

    def means(self, weights: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the means of gradients and of squares, and the step counts if `corrected`; all begin at 0."""
        for value in weights:
            if not self.state[value]:
                self.state[value] = {"exp_avg": torch.zeros_like(value), "exp_avg_sq": torch.zeros_like(value)}
                if self.corrected:
                    self.state[value]["step"] = torch.zeros((), dtype=self.counts_in, device=value.device)
        states = [self.state[value] for value in weights]
        steps = [state["step"] for state in states] if self.corrected else []
        return [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states], steps

    def direct(self, weights: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Add the gradients to the means and return the direction of each weight, without decay."""
        (beta1, beta2), gradients = group["betas"], [value.grad for value in weights if value.grad is not None]
        means, squares, steps = self.means(weights)
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        roots = torch._foreach_sqrt(squares)
        if not self.corrected:
            torch._foreach_add_(roots, group["eps"])
            return list(torch._foreach_div(means, roots))
        torch._foreach_add_(steps, 1)
        torch._foreach_div_(roots, [(1 - beta2**step).sqrt_() for step in steps])
        torch._foreach_add_(roots, group["eps"])
        torch._foreach_mul_(roots, [1 - beta1**step for step in steps])
        return list(torch._foreach_div(means, roots))

    def move(self, weights: list[Tensor], directions: list[Tensor], group: dict[str, Any]) -> None:
        """Add decay to the directions and update the weights; changes the tensors of both lists."""
        torch._foreach_add_(directions, weights, alpha=group["weight_decay"])
        torch._foreach_add_(weights, directions, alpha=-group["lr"])
