"""Pass tensors to C++ by their addresses; a function's name ends with the type of its tensors."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bertie.ops.kernels.library import load

NAMES = {torch.float32: "float", torch.bfloat16: "bfloat"}


def address(values: Tensor | None) -> ctypes.c_void_p:
    """Return the address of a contiguous tensor; a null pointer for None."""
    return ctypes.c_void_p(None if values is None else values.data_ptr())


def serves(name: str, *tensors: Tensor) -> bool:
    """Return whether a library is available for these tensors: fp32 or bf16 on a CPU, outside `torch.compile`."""
    if any(part.device.type != "cpu" or part.dtype not in NAMES for part in tensors):
        return False
    return not torch.compiler.is_compiling() and load(name) is not None


def call(name: str, function: str, *arguments: object) -> None:
    """Call a function of a library, for which `serves` must be true."""
    library = load(name)
    assert library is not None
    getattr(library, function)(*arguments)
