"""GELU in C++ (`gelu.cpp`), forward and backward. Its twin is torch's GELU."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bertie.ops.kernels.tensors import NAMES, address, call, serves


def takes(values: Tensor) -> bool:
    """Return whether the kernel is available for these values."""
    return serves("gelu", values) and values.is_contiguous()


def forward(values: Tensor) -> Tensor:
    """Return x Phi(x) of every value."""
    output = torch.empty_like(values)
    _call("gelu", values, output)
    return output


def backward(gradient: Tensor, values: Tensor) -> Tensor:
    """Return gradient * (Phi(x) + x phi(x))."""
    output = torch.empty_like(values)
    _call("gelu_backward", gradient.contiguous(), values, output)
    return output


def _call(name: str, *tensors: Tensor) -> None:
    count, threads = ctypes.c_int64(tensors[0].numel()), torch.get_num_threads()
    call("gelu", f"{name}_{NAMES[tensors[0].dtype]}", count, threads, *map(address, tensors))
