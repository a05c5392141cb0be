"""Cross-entropy of rows of logits in C++, in place (`cross_entropy.cpp`). Its twin is in `nn/logits.py`."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bertie.ops.kernels.tensors import NAMES, address, call, serves


def takes(logits: Tensor, bias: Tensor) -> bool:
    """Return whether the kernel is available for these tensors."""
    return serves("cross_entropy", logits, bias) and bias.dtype == torch.float32 and logits.is_contiguous()


def consume(logits: Tensor, bias: Tensor, targets: Tensor, d_bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the losses of `logits` + `bias`, and overwrite the logits with their gradient.

    Args:
        logits: (rows, V).
        bias: (V,) in fp32.
        targets: (rows,), the right tokens.
        d_bias: (V,) in fp32; the gradient's column sums are added to it. None leaves the logits unchanged.

    Returns:
        The losses (rows,), and (rows,) 1 for each row with the highest logit at the target, 0 for the others.
    """
    losses, correct = torch.empty(2, len(logits), dtype=torch.float32)
    tensors = (logits, bias.contiguous(), targets.to(torch.int64).contiguous(), losses, correct, d_bias)
    shape = ctypes.c_int64(len(logits)), logits.shape[1], torch.get_num_threads()
    call("cross_entropy", f"cross_entropy_{NAMES[logits.dtype]}", *shape, *map(address, tensors))
    return losses, correct
