"""How tensors are handed to C++: by their address, under a name for their type."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bertie.kernels.library import load

NAMES = {torch.float32: "float", torch.bfloat16: "bfloat"}


def address(values: Tensor | None) -> ctypes.c_void_p:
    """Return where a contiguous tensor lies; nothing for None."""
    return ctypes.c_void_p(None if values is None else values.data_ptr())


def serves(name: str, *tensors: Tensor) -> bool:
    """Tell whether a library is there and takes such tensors: floats or bfloats on a CPU, not while compiling."""
    if any(part.device.type != "cpu" or part.dtype not in NAMES for part in tensors):
        return False
    return not torch.compiler.is_compiling() and load(name) is not None


def call(name: str, function: str, *arguments: object) -> None:
    """Call a function of a library that `serves` said is there."""
    library = load(name)
    assert library is not None
    getattr(library, function)(*arguments)
