"""LayerNorm(residual + dropout(branch)) in C++ (`normalise.cpp`). Its twin is in `ops/normalise/op.py`.

Shapes: T rows, H their size.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bertie.ops.kernels.tensors import NAMES, address, call, serves

_STEP = 32  # H must be a multiple of it: a word has two draws, and the widest processors take sixteen words at a time
_PAIRS = {(torch.float32, torch.float32), (torch.float32, torch.bfloat16), (torch.bfloat16, torch.bfloat16)}


class Settings(ctypes.Structure):
    """`Settings` of normalise.cpp, field by field."""

    _fields_ = (
        ("rows", ctypes.c_int64),
        ("size", ctypes.c_int64),
        ("begin", ctypes.c_int64),
        ("first", ctypes.c_uint32),
        ("second", ctypes.c_uint32),
        ("rate", ctypes.c_double),
        ("epsilon", ctypes.c_double),
        ("threads", ctypes.c_int32),
    )


def takes(residual: Tensor, branch: Tensor, weight: Tensor) -> bool:
    """Return whether the kernel is available for these tensors."""
    return (
        serves("normalise", residual, branch, weight)
        and (residual.dtype, branch.dtype) in _PAIRS
        and weight.dtype == torch.float32
        and residual.shape == branch.shape
        and residual.shape[1] % _STEP == 0
    )


def settings(residual: Tensor, *, rate: float, first: int, second: int, epsilon: float, begin: int = 0) -> Settings:
    """Return the settings of a call.

    `first` and `second` are the key words of dropout, signed; `begin` is the number of the step's rows before these.
    """
    words = first & 0xFFFFFFFF, second & 0xFFFFFFFF
    return Settings(*residual.shape, begin, *words, rate, epsilon, torch.get_num_threads())


def forward(settings: Settings, residual: Tensor, branch: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the normalised sum (T, H), in the dtype of `residual`."""
    residual, branch = residual.contiguous(), branch.contiguous()
    output = torch.empty_like(residual)
    _call("normalise", settings, residual, branch, (residual, branch, weight, bias, output))
    return output


def backward(
    settings: Settings, gradient: Tensor, residual: Tensor, branch: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of residual, branch, weight and bias; `gradient` (T, H) is that of the output."""
    residual, branch = residual.contiguous(), branch.contiguous()
    results = torch.empty_like(residual), torch.empty_like(branch), torch.empty_like(weight), torch.empty_like(weight)
    tensors = (gradient.to(residual.dtype).contiguous(), residual, branch, weight, *results)
    _call("normalise_backward", settings, residual, branch, tensors)
    return results


def _call(name: str, settings: Settings, residual: Tensor, branch: Tensor, tensors: tuple[Tensor, ...]) -> None:
    function = f"{name}_{NAMES[residual.dtype]}_{NAMES[branch.dtype]}"
    call("normalise", function, ctypes.byref(settings), *map(address, tensors))
