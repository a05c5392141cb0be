"""x W^T + b as in `nn.Linear`, with a product of its own for prediction on a CPU.

Shapes: T rows, I inputs, O outputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.ops.linear import kernel

_FEW_ROWS = 128
_LARGE = 1 << 16  # weights; in smaller products most of the time is overhead


def linear(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map (..., I) to (..., O).

    Prediction on a CPU uses the C++ kernel: the outputs of a row then have the same bits for any other rows and any
    number of threads. bf16 uses it only on processors without products of bf16, where torch has no fast ones either.

    Without the kernel, few rows (a short request, beams) are multiplied as W x^T. The library then reads the matrix
    in place, two to three times as fast for up to 8 rows. For x W^T it copies the whole matrix first. For a single row
    it has another method, with one thread and half the speed; a second copy of the row avoids it.
    """
    if torch.is_grad_enabled() or values.device.type != "cpu":
        return F.linear(values, weight, bias)
    if kernel.takes(values, weight):
        return kernel.forward(values, weight, bias)
    if not _are_few(values, weight):
        return F.linear(values, weight, bias)
    count = values.shape[0]
    values = values.repeat(2, 1) if count == 1 else values
    product = torch.mm(weight, values.t()) if bias is None else torch.addmm(bias[:, None], weight, values.t())  # (O, T)
    return product[:, :count].t().contiguous()


def _are_few(values: Tensor, weight: Tensor) -> bool:
    min_rows = 1 if weight.numel() > _LARGE else 2
    if values.dim() != 2 or not min_rows <= values.shape[0] <= _FEW_ROWS or values.dtype != torch.float32:
        return False
    return not torch.compiler.is_compiling()


class Linear(nn.Linear):
    """`nn.Linear` computed by `linear`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Map (..., I) to (..., O)."""
        return linear(input, self.weight, self.bias)
