"""Adam and its variants: AdamW, the Adam of BERT's original code, StableAdamW and LAMB.

All use the direction m / (sqrt(v) + eps), with running means m of the gradients and v of their squares. Weight decay is
decoupled: w -= rate * (direction + decay * w). The variants differ in how far each tensor moves.

None of them is one of torch's own optimizers, which load torch's compiler even if it is not used. That costs two
seconds and a hundred megabytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Adam(torch.optim.Optimizer):
    """The base of all variants: the two running means of each weight, and a pass over the parameter groups.

    Args:
        params: groups, each with its own `weight_decay`, and with `adapted` true for matrices and tables.
        betas: decay of both means.
        eps: added to the root in the denominator.
    """

    corrected = True
    """Whether the means are corrected for their bias in the first steps."""

    counts_in: torch.dtype = torch.float64
    """The dtype of the step count."""

    def __init__(self, params: Any, *, betas: tuple[float, float], eps: float) -> None:
        super().__init__(params, {"lr": 0.0, "betas": betas, "eps": eps, "weight_decay": 0.0})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group by torch's method without its wrapper, which would load the compiler."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            weights = [value for value in group["params"] if value.grad is not None]
            if weights:
                self.update(weights, group)

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


class AdamW(Adam):
    """AdamW by torch's fused kernel, which clips gradients in the same pass (Loshchilov and Hutter 2019)."""

    counts_in = torch.float32  # required by the kernel

    divisor: float = 1.0
    """The next step divides its gradients by this."""

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


class BertAdam(Adam):
    """Adam with decoupled decay and no bias correction, as in BERT's original code."""

    corrected = False


class StableAdamW(Adam):
    """AdamW with smaller steps where gradients are larger than v predicts (Wortsman et al. 2023, algorithm 2).

    The rate of a tensor, decay included, is divided by max(1, RMS), with RMS = sqrt(mean(g^2 / max(v, eps^2))). So the
    global norm of the gradient needs no clipping. ModernBERT was trained with it.
    """

    def move(self, weights: list[Tensor], directions: list[Tensor], group: dict[str, Any]) -> None:
        """Add decay to the directions and update each tensor at its own rate."""
        torch._foreach_add_(directions, weights, alpha=group["weight_decay"])
        for value, direction in zip(weights, directions, strict=True):
            state, gradient = self.state[value], value.grad
            assert gradient is not None  # `step` leaves out weights without one
            square = (state["exp_avg_sq"] / (1 - group["betas"][1] ** state["step"])).clamp_(min=group["eps"] ** 2)
            rms = gradient.square().div_(square).mean().sqrt_()  # a scalar
            value.addcdiv_(direction, rms.clamp_(min=1.0), value=-group["lr"])


class Lamb(Adam):
    """Adam whose step in a matrix or table is as large as its weights, times the rate (You et al. 2020).

    With u = direction + decay * w: w -= rate * phi(|w|) / |u| * u. phi(|w|) is the norm |w|, at most `most`. The trust
    ratio phi(|w|) / |u| is 1 if |w| or |u| is 0. It is also 1 for biases and LayerNorms, as in the authors' code;
    algorithm 2 of the paper has no such exception.

    Args:
        params: groups.
        betas: decay of both means.
        eps: added to the root in the denominator.
        most: largest value of phi; 0 for no bound.
    """

    def __init__(self, params: Any, *, betas: tuple[float, float], eps: float, most: float = 0.0) -> None:
        super().__init__(params, betas=betas, eps=eps)
        self._most = most

    def move(self, weights: list[Tensor], directions: list[Tensor], group: dict[str, Any]) -> None:
        """Add decay to the directions and update each matrix and table by its trust ratio."""
        if not group["adapted"]:
            super().move(weights, directions, group)
            return
        torch._foreach_add_(directions, weights, alpha=group["weight_decay"])
        norms, lengths = torch._foreach_norm(weights), torch._foreach_norm(directions)
        for value, direction, norm, length in zip(weights, directions, norms, lengths, strict=True):
            phi = norm.clamp(max=self._most) if self._most > 0 else norm
            ratio = torch.where((norm > 0) & (length > 0), phi / length, 1.0)
            value.addcmul_(direction, ratio, value=-group["lr"])
