"""Muon: the matrices of the blocks by momentum made orthogonal, everything else by AdamW (Jordan et al. 2024).

The update of a matrix is its momentum with every singular value brought near 1, by five steps of Newton and Schulz.
Such an update of A x B has an RMS of 1 / sqrt(max(A, B)); multiplied with 0.2 * sqrt(max(A, B)) it has about that of
AdamW's, so that one learning rate and one decay serve both (Liu et al. 2025, "Muon is scalable for LLM training", 2.2).
Queries, keys and values stand in one tensor and are three matrices here.

Shapes: N matrices, A x B each, A <= B.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bertie.training.adam import Adam

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: fast at small singular values, ending between 0.7 and 1.2
_STEPS = 5
_RMS = 0.2


class Muon(Adam):
    """Momentum made orthogonal for groups with `matrices` above 0, AdamW for the others.

    Args:
        params: groups; `matrices` says how many stand one above the other in each of its tensors.
        betas: decay of both means, for AdamW.
        eps: added to AdamW's root.
        momentum: decay of the sum of gradients; the next one is looked ahead to (Nesterov).
    """

    def __init__(self, params: Any, *, betas: tuple[float, float], eps: float, momentum: float) -> None:
        super().__init__(params, betas=betas, eps=eps)
        self._momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient; matrices of one shape go together, whatever their group."""
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
        """Add the gradient to the momentum and return where it points after the next one like it."""
        gradient = value.grad
        assert gradient is not None
        state = self.state[value]
        if not state:
            state["momentum"] = torch.zeros_like(value)
        state["momentum"].mul_(self._momentum).add_(gradient)
        return gradient.add(state["momentum"], alpha=self._momentum)


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices (N, A, B) near 1, keeping their directions.

    Under autocast the products run in bf16, which the iteration is known to bear.
    """
    upright = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT if upright else matrices
    # no singular value is above 1 then; laid out anew, because products of views are slow
    found = (found / found.norm(dim=(1, 2), keepdim=True).clamp_(min=1e-7)).contiguous()
    first, second, third = _COEFFICIENTS
    for _ in range(_STEPS):
        gram = torch.bmm(found, found.mT)  # (N, A, A)
        factor = torch.bmm(gram, gram).mul_(third).add_(gram, alpha=second)
        found = torch.bmm(factor, found).add_(found, alpha=first)
    return (found.mT if upright else found).to(matrices.dtype)
