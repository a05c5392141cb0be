"""Orthogonalized updates for matrices of blocks, AdamW for the rest, at one to six times AdamW's rate.

Jordan et al. 2024. The update of a matrix is its momentum with every singular value brought near 1, by five
Newton-Schulz steps. For an A x B matrix its RMS is 1 / sqrt(max(A, B)). Multiplied by 0.2 * sqrt(max(A, B)), it has
about the RMS of AdamW's update. So one learning rate and one decay serve both (Liu et al. 2025, "Muon is scalable for
LLM training", 2.2). Queries, keys and values are stacked in one tensor, and count as three matrices here.

Shapes: N matrices, A x B each, A <= B.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertie.optimizers._adam import Adam

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: small singular values grow fast, all end between 0.7 and 1.2
_STEPS = 5
RMS = 0.2
"""Root mean square of an update's elements before the rate, about that of AdamW's."""


@dataclass(frozen=True, eq=False)
class _Matrix:
    """One of the matrices that are stacked in a parameter: views into it, its momentum and its state."""

    weight: Tensor
    pushed: Tensor
    state: dict[str, Tensor]
    group: dict[str, Any]


class Muon(Adam):
    """Muon for groups with `matrices` above 0, AdamW for the others.

    Args:
        params: groups; `matrices` is the number of matrices that are stacked in each tensor of a group.
        beta1: decay of AdamW's mean of gradients.
        beta2: decay of AdamW's mean of their squares.
        epsilon: added to the root in AdamW's denominator.
        momentum: decay of the sum of gradients (Nesterov momentum).
    """

    peak = 4e-3  # the best of four on BERT-mini, docs/measured/studies.md
    peak_from_neighbours = 6e-3  # that start allows higher rates
    for_matrices = True

    def __init__(self, params: Any, *, beta1: float, beta2: float, epsilon: float, momentum: float) -> None:
        super().__init__(params, beta1=beta1, beta2=beta2, epsilon=epsilon)
        self._momentum = momentum

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient. Matrices of one shape are updated together, across groups."""
        shapes: dict[tuple[int, int], list[_Matrix]] = {}
        for group in self.param_groups:
            weights = [value for value in group["params"] if value.grad is not None]
            if weights and not group["matrices"]:
                self.update(weights, group)
                continue
            for value in weights:
                for matrix in self._accumulate(value, group):
                    shapes.setdefault((matrix.weight.shape[0], matrix.weight.shape[1]), []).append(matrix)
        for matrices in shapes.values():
            updates = orthogonal(torch.stack([matrix.pushed for matrix in matrices]))
            for matrix, update in zip(matrices, updates, strict=True):
                rate, decay = matrix.group["lr"], matrix.group["weight_decay"]
                matrix.weight.mul_(1 - rate * decay).add_(update, alpha=-rate * self.size(update, matrix.state))

    def first_state(self, value: Tensor) -> dict[str, Tensor]:
        """Return the state of stacked matrices before the first step; each tensor has their rows."""
        return {"momentum": torch.zeros_like(value)}

    def size(self, update: Tensor, state: dict[str, Tensor]) -> float:
        """Return the factor of a matrix's update, which this method may change in place, as its state."""
        del state
        return RMS * math.sqrt(max(update.shape))

    def _accumulate(self, value: Tensor, group: dict[str, Any]) -> list[_Matrix]:
        """Add the gradient to the momentum, and return the matrices of a parameter.

        Their momentum is pushed as if the same gradient came once more (Nesterov).
        """
        gradient = value.grad
        assert gradient is not None
        if not self.state[value]:
            self.state[value] = self.first_state(value)
        state, count = self.state[value], group["matrices"]
        state["momentum"].mul_(self._momentum).add_(gradient)
        pushed = gradient.add(state["momentum"], alpha=self._momentum)
        chunks = {key: each.chunk(count) for key, each in state.items()}
        parts = enumerate(zip(value.chunk(count), pushed.chunk(count), strict=True))
        return [_Matrix(*each, {key: chunks[key][place] for key in chunks}, group) for place, each in parts]


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


OPTIMIZER = Muon
