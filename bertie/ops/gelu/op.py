"""Exact GELU, x Phi(x) (Hendrycks and Gimpel 2016): a C++ kernel on CPUs that have a compiler, torch elsewhere."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.ops.gelu import kernel


class _Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return kernel.forward(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return kernel.backward(gradients[0], values)


def gelu(values: Tensor) -> Tensor:
    """Apply GELU to values of any shape."""
    if not kernel.takes(values):
        return F.gelu(values)
    activated: Tensor = _Gelu.apply(values)  # type: ignore[no-untyped-call]
    return activated
