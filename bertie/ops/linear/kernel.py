"""x W^T + b in C++ (`linear.cpp`), for prediction only. Its twin in torch is in `ops/linear/op.py`.

Shapes: T rows, I inputs, O outputs.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bertie.ops.kernels import levels
from bertie.ops.kernels.tensors import NAMES, address, call, serves


class _Shape(ctypes.Structure):
    """`Shape` of linear.cpp, field by field."""

    _fields_ = (
        ("rows", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
        ("threads", ctypes.c_int32),
    )


def takes(values: Tensor, weight: Tensor) -> bool:
    """Return whether the kernel is available for these tensors and is the fastest product of them on this CPU."""
    if values.dtype != weight.dtype or weight.shape[1] == 0 or not serves("linear", values, weight):
        return False
    return weight.dtype == torch.float32 or not any(map(levels.capabilities().get, _PRODUCTS_OF_BF16))


_PRODUCTS_OF_BF16 = ("avx512_bf16", "amx_bf16")  # torch is faster with them


def forward(values: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map (..., I) to (..., O) in the dtype of `values`; products and sums are in fp32."""
    wide = values.float().contiguous()
    weight, bias = weight.detach().contiguous(), None if bias is None else bias.detach().float().contiguous()
    outputs, inputs = weight.shape
    output = torch.empty(*values.shape[:-1], outputs)
    shape = _Shape(wide.numel() // inputs, inputs, outputs, torch.get_num_threads())
    tensors = map(address, (wide, weight, bias, output))
    call("linear", f"linear_{NAMES[weight.dtype]}", ctypes.byref(shape), *tensors)
    return output.to(values.dtype)
