"""Muon: orthogonalized momentum for the matrices of blocks, AdamW for all other weights (Jordan et al. 2024).

The update of a matrix is its momentum with every singular value brought near 1, by five Newton-Schulz steps. For an
A x B matrix its RMS is 1 / sqrt(max(A, B)). Multiplied by 0.2 * sqrt(max(A, B)), it has about the RMS of AdamW's
update. So one learning rate and one decay serve both (Liu et al. 2025, "Muon is scalable for LLM training", 2.2).
Queries, keys and values are stacked in one tensor, and count as three matrices here.

Shapes: N matrices, A x B each, A <= B.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bertie.training.adam import Adam

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: small singular values grow fast, all end between 0.7 and 1.2
_STEPS = 5
_RMS = 0.2


class Muon(Adam):
    """Muon for groups with `matrices` above 0, AdamW for the others.

    Args:
        params: groups; `matrices` is the number of matrices that are stacked in each tensor of a group.
        betas: decay of AdamW's two means.
        eps: added to the root in AdamW's denominator.
        momentum: decay of the sum of gradients (Nesterov momentum).
    """

    def __init__(self, params: Any, *, betas: tuple[float, float], eps: float, momentum: float) -> None:
        super().__init__(params, betas=betas, eps=eps)
        self._momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient. Matrices of one shape are updated together, across groups."""
        shapes: dict[tuple[int, int], list[tuple[Tensor, Tensor, dict[str, Any]]]] = {}
        for group in self.param_groups:
            weights = [value for value in group["params"] if value.grad is not None]
            if weights and not group["matrices"]:
                self.update(weights, group)
                continue
            for value in weights:
                parts = zip(
                    value.chunk(group["matrices"]), self._accumulate(value).chunk(group["matrices"]), strict=True
                )
                for part, pushed in parts:
                    shapes.setdefault((part.shape[0], part.shape[1]), []).append((part, pushed, group))
        for shape, members in shapes.items():
            size = _RMS * math.sqrt(max(shape))
            for (part, _, group), update in zip(
                members, orthogonal(torch.stack([pushed for _, pushed, _ in members])), strict=True
            ):
                part.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-group["lr"] * size)

    def _accumulate(self, value: Tensor) -> Tensor:
        """Add the gradient to the momentum, and return the momentum as if the same gradient came once more."""
        gradient = value.grad
        assert gradient is not None
        state = self.state[value]
        if not state:
            state["momentum"] = torch.zeros_like(value)
        state["momentum"].mul_(self._momentum).add_(gradient)
        return gradient.add(state["momentum"], alpha=self._momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices (N, A, B) near 1 and keep their singular vectors.

    Under autocast the products run in bf16, which is precise enough for this iteration.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    result = matrices.mT if tall else matrices
    # Afterwards no singular value is above 1. Contiguous, because products of views are slow.
    result = (result / result.norm(dim=(1, 2), keepdim=True).clamp_(min=1e-7)).contiguous()
    first, second, third = _COEFFICIENTS
    for _ in range(_STEPS):
        gram = torch.bmm(result, result.mT)  # (N, A, A)
        factor = torch.bmm(gram, gram).mul_(third).add_(gram, alpha=second)
        result = torch.bmm(factor, result).add_(result, alpha=first)
    return (result.mT if tall else result).to(matrices.dtype)
