"""x W^T + b, as `nn.Linear` has it, and on a CPU in the order that is faster for few rows.

Shapes: T rows, I inputs, O outputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FEW_ROWS = 128
_LARGE = 1 << 16  # weights; below, the time of a product goes elsewhere


def linear(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map (T, I) to (T, O).

    Where a CPU uses a model, few rows (a short request, beams) are multiplied as W x^T: the matrix is then read where
    it lies, at two to three times the speed for up to 8 rows, while x W^T makes the library copy all of it first. To a
    single row it has a way of its own, by one thread and at half the speed; two rows that are alike avoid it.
    """
    if not _are_few(values, weight):
        return F.linear(values, weight, bias)
    count = values.shape[0]
    values = values.repeat(2, 1) if count == 1 else values
    product = torch.mm(weight, values.t()) if bias is None else torch.addmm(bias[:, None], weight, values.t())  # (O, T)
    return product[:, :count].t().contiguous()


def _are_few(values: Tensor, weight: Tensor) -> bool:
    least = 1 if weight.numel() > _LARGE else 2
    if values.dim() != 2 or not least <= values.shape[0] <= _FEW_ROWS or values.dtype != torch.float32:
        return False
    return values.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


class Linear(nn.Linear):
    """`nn.Linear` by `linear`."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - its name in torch
        """Map (T, I) to (T, O)."""
        return linear(input, self.weight, self.bias)
