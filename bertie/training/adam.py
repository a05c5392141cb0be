"""Optimizers that go along Adam's direction: fused, as the paper ran it, with clipped steps, by the size of a tensor.

A step is m / (sqrt(v) + eps) with the means m of the gradients and v of their squares, and decay beside it, decoupled:
w -= rate * (direction + decay * w). What differs is by how much each tensor of weights moves.

None of them is one of torch's own: those load torch's compiler, two seconds and a hundred megabytes, whether it is used
or not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Adam(torch.optim.Optimizer):
    """What all of them share: the two means of every weight, and a pass over the groups.

    Args:
        params: groups, each with its own `weight_decay`, and `adapted` true for matrices and tables.
        betas: decay of both means.
        eps: added to the root.
    """

    corrected = True
    """Whether the means are divided by what they lack while they have seen few steps."""

    counts_in: torch.dtype = torch.float64
    """Of the number of steps."""

    def __init__(self, params: Any, *, betas: tuple[float, float], eps: float) -> None:
        super().__init__(params, {"lr": 0.0, "betas": betas, "eps": eps, "weight_decay": 0.0})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, by what torch does within its wrapper, which would load the compiler."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            weights = [value for value in group["params"] if value.grad is not None]
            if weights:
                self.update(weights, group)

    def update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Update weights that have gradients."""
        self.move(weights, self.direct(weights, group), group)

    def means(self, weights: list[Tensor]) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Return the means of gradients and of squares, and the numbers of steps where they are counted."""
        for value in weights:
            if not self.state[value]:
                self.state[value] = {"exp_avg": torch.zeros_like(value), "exp_avg_sq": torch.zeros_like(value)}
                if self.corrected:
                    self.state[value]["step"] = torch.zeros((), dtype=self.counts_in, device=value.device)
        states = [self.state[value] for value in weights]
        steps = [state["step"] for state in states] if self.corrected else []
        return [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states], steps

    def direct(self, weights: list[Tensor], group: dict[str, Any]) -> list[Tensor]:
        """Take the gradients into the means and return the direction of each weight, decay not yet in it."""
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
        """Add decay to the directions and go along them; changes both lists' tensors."""
        torch._foreach_add_(directions, weights, alpha=group["weight_decay"])
        torch._foreach_add_(weights, directions, alpha=-group["lr"])


class AdamW(Adam):
    """AdamW in torch's one pass over the memory, which clips the gradients on its way (Loshchilov and Hutter 2019)."""

    counts_in = torch.float32  # which the pass asks for

    divisor: float = 1.0
    """What the gradients of the next step are divided by."""

    def update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Update weights that have gradients."""
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


class BertAdam(Adam):
    """Adam with decoupled decay and no bias correction, as in BERT's original code."""

    corrected = False


class StableAdamW(Adam):
    """AdamW with smaller steps where gradients are larger than v has seen (Wortsman et al. 2023, algorithm 2).

    The rate of a tensor, decay included, is divided by max(1, RMS), RMS = sqrt(mean(g^2 / max(v, eps^2))), so that no
    global norm of the gradient needs clipping; ModernBERT was trained with it.
    """

    def move(self, weights: list[Tensor], directions: list[Tensor], group: dict[str, Any]) -> None:
        """Go along the directions, tensor by tensor with a rate of its own."""
        torch._foreach_add_(directions, weights, alpha=group["weight_decay"])
        for value, direction in zip(weights, directions, strict=True):
            state, gradient = self.state[value], value.grad
            assert gradient is not None  # `step` chose the weights by it
            square = (state["exp_avg_sq"] / (1 - group["betas"][1] ** state["step"])).clamp_(min=group["eps"] ** 2)
            surprise = gradient.square().div_(square).mean().sqrt_()  # RMS, a scalar
            value.addcdiv_(direction, surprise.clamp_(min=1.0), value=-group["lr"])


class Lamb(Adam):
    """Adam whose step has, in every matrix and table, the size of the weights times the rate (You et al. 2020).

    With u = direction + decay * w: w -= rate * phi(|w|) / |u| * u, the ratio being 1 where a norm is 0. phi is the norm
    itself, or the norm cut at `most`. Biases and LayerNorms have the ratio 1, as in the authors' code; the paper's
    algorithm 2 makes no such difference.

    Args:
        params: groups.
        betas: decay of both means.
        eps: added to the root.
        most: largest norm of weights that counts; 0 for no bound.
    """

    def __init__(self, params: Any, *, betas: tuple[float, float], eps: float, most: float = 0.0) -> None:
        super().__init__(params, betas=betas, eps=eps)
        self._most = most

    def move(self, weights: list[Tensor], directions: list[Tensor], group: dict[str, Any]) -> None:
        """Go along the directions by the trust ratio of each tensor."""
        if not group["adapted"]:
            super().move(weights, directions, group)
            return
        torch._foreach_add_(directions, weights, alpha=group["weight_decay"])
        sizes, lengths = torch._foreach_norm(weights), torch._foreach_norm(directions)
        for value, direction, size, length in zip(weights, directions, sizes, lengths, strict=True):
            reach = size.clamp(max=self._most) if self._most > 0 else size
            ratio = torch.where((size > 0) & (length > 0), reach / length, 1.0)
            value.addcmul_(direction, ratio, value=-group["lr"])
