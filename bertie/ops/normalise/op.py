"""The end of a post-norm sub-layer: LayerNorm(x + dropout(sublayer(x))) ("Attention is all you need", 3.1 and 5.4).

On CPUs with a compiler it is one C++ kernel, otherwise torch's operations. Both draw the same dropout.

Shapes: T tokens, H hidden.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.normalise import kernel


class _AddNorm(torch.autograd.Function):
    """The kernel. Its backward pass computes the sum and the dropout draws again instead of keeping them."""

    @staticmethod
    def forward(
        ctx: Any, residual: Tensor, branch: Tensor, weight: Tensor, bias: Tensor, settings: kernel.Settings
    ) -> Tensor:
        ctx.save_for_backward(residual, branch, weight)
        ctx.settings = settings
        return kernel.forward(settings, residual, branch, weight, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return (*kernel.backward(ctx.settings, gradients[0], *ctx.saved_tensors), None)


def add_and_normalise(
    residual: Tensor, branch: Tensor, norm: nn.LayerNorm, dropout: Dropout, noise: Noise | None
) -> Tensor:
    """Return LayerNorm(residual + dropout(branch)), (T, H) each."""
    if norm.bias is None or not kernel.takes(residual, branch, norm.weight):
        normalised: Tensor = norm(residual + dropout(branch, noise))
        return normalised
    rate = dropout.rate if dropout.training else 0.0
    noise = (noise or Noise.draw()) if rate > 0.0 else None
    first, second = noise.at(dropout.site) if noise else (0, 0)
    begin = noise.place.tokens if noise else 0
    settings = kernel.settings(residual, rate=rate, first=first, second=second, begin=begin, epsilon=norm.eps)
    fused: Tensor = _AddNorm.apply(residual, branch, norm.weight, norm.bias, settings)  # type: ignore[no-untyped-call]
    return fused
