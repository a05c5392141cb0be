"""Encoder blocks for inference in C++ (`layer.cpp`). Their twin for floats is `nn/block.py`.

Shapes: T tokens, B sequences, H hidden, I intermediate; a linear layer has I inputs and O outputs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bertie.ops.attention import kernel as attention
from bertie.ops.kernels.library import load
from bertie.ops.kernels.tensors import NAMES, address, call

Element = Literal["float", "bfloat", "byte"]

_STEP = 64  # columns that are computed at a time; H and I must be multiples of it
_MIN_SCALE = 1e-30  # avoids a division by 0 for a row of zeros
_DTYPES: dict[Element, torch.dtype] = {"float": torch.float32, "bfloat": torch.bfloat16, "byte": torch.uint8}


class _Matrix(ctypes.Structure):
    """`Matrix` of matrices.h, field by field."""

    _fields_ = (
        ("packed", ctypes.c_void_p),
        ("sums", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("inputs", ctypes.c_int64),
        ("outputs", ctypes.c_int64),
    )


class _Layer(ctypes.Structure):
    """`Layer` of layer.cpp, field by field."""

    _fields_ = (
        *((name, _Matrix) for name in ("qkv", "output", "up", "down")),
        *((name, ctypes.c_void_p) for name in ("first_weight", "first_bias", "second_weight", "second_bias")),
        ("first_epsilon", ctypes.c_double),
        ("second_epsilon", ctypes.c_double),
        ("hidden", ctypes.c_int64),
        ("wide", ctypes.c_int64),
        ("relu", ctypes.c_int32),
    )


class _Call(ctypes.Structure):
    """`Call` of layer.cpp, field by field."""

    _fields_ = (
        ("layers", ctypes.c_void_p),
        ("count", ctypes.c_int64),
        ("attend", ctypes.c_void_p),
        ("layout", ctypes.c_void_p),
        ("rows", ctypes.c_int64),
        ("threads", ctypes.c_int32),
    )


@dataclass(frozen=True)
class Parts:
    """The parts of a block that the kernel needs."""

    linear: Sequence[nn.Linear]
    """The fused product of queries, keys and values; output of attention; up; down."""
    norms: Sequence[nn.LayerNorm]
    """LayerNorms after attention and after the feed-forward part."""
    activation: str
    num_heads: int
    """N."""


def serves(element: Element) -> bool:
    """Return whether the kernel is available and has products of this element type on this CPU."""
    library = load("layer")
    return library is not None and bool(getattr(library, f"layer_serves_{element}")())


def takes(parts: Parts, element: Element) -> bool:
    """Return whether the kernel is available for a block with these parts."""
    return (
        serves(element)
        and load("attention") is not None
        and parts.activation in ("gelu", "relu")
        and all(part.bias is not None for part in (*parts.linear, *parts.norms))
        and all(size % _STEP == 0 for part in parts.linear for size in part.weight.shape)
        and parts.linear[0].weight.device.type == "cpu"
    )


def in_bytes(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round a matrix (O, I) in fp32 to 8-bit integers (O, I); return them and the scale of each row (O,)."""
    scales = weight.abs().amax(1).clamp_min(_MIN_SCALE) / 127.0
    return (weight / scales[:, None]).round_().to(torch.int8), scales


@dataclass(frozen=True, eq=False)
class Packed:
    """A linear layer (O, I) in the memory layout of the kernel."""

    values: Tensor
    """O * I elements."""
    sums: Tensor | None
    """(O,) int32, -128 times the sum of each output's integers; for 8-bit integers only."""
    scales: Tensor | None
    """(O,) scale of each output's integers; for 8-bit integers only."""
    bias: Tensor
    """(O,) in fp32."""

    @classmethod
    def of(cls, linear: nn.Linear, element: Element) -> Packed:
        """Round the weights of a linear layer and bring them into the kernel's layout."""
        weight = linear.weight.detach().float()  # (O, I)
        sums = scales = None
        if element == "byte":
            rounded, scales = in_bytes(weight)
            sums = rounded.sum(1, dtype=torch.int32).mul_(-128)
            weight = rounded.view(torch.uint8)
        weight = weight.to(_DTYPES[element]).contiguous()
        values = torch.empty_like(weight)
        sizes = ctypes.c_int64(linear.in_features), ctypes.c_int64(linear.out_features)
        call("layer", f"layer_pack_{element}", address(weight), *sizes, address(values))
        return cls(values, sums, scales, linear.bias.detach().float().contiguous())

    def described(self) -> _Matrix:
        """Return the C++ description of this layer."""
        outputs, inputs = self.values.shape
        return _Matrix(*map(address, (self.values, self.sums, self.scales, self.bias)), inputs, outputs)


class Layers:
    """The kernel with the blocks of an encoder.

    Args:
        blocks: parts of each block; `takes` must be true for all, and all must have the same shapes. They are copied.
        element: element type of the products.
    """

    def __init__(self, blocks: Sequence[Parts], element: Element) -> None:
        self._element, self._num_heads = element, blocks[0].num_heads
        self._dtype = torch.float32 if element == "float" else torch.bfloat16
        self._memory: list[Any] = []  # keeps the tensors that the descriptions point to
        self._layers = (_Layer * len(blocks))(*(self._describe(parts) for parts in blocks))
        function = getattr(load("attention"), f"attention_{NAMES[self._dtype]}")
        self._attend = ctypes.cast(function, ctypes.c_void_p)

    def _describe(self, parts: Parts) -> _Layer:
        matrices = [Packed.of(part, self._element) for part in parts.linear]
        learned = [value for norm in parts.norms for value in (norm.weight, norm.bias)]
        norms = [value.detach().float().contiguous() for value in learned]
        self._memory += [matrices, norms]
        wide, hidden = matrices[2].values.shape
        return _Layer(
            *(matrix.described() for matrix in matrices),
            *map(address, norms),
            *(norm.eps for norm in parts.norms),
            hidden,
            wide,
            parts.activation == "relu",
        )

    def encode(self, hidden: Tensor, offsets: Tensor, *, causal: bool) -> Tensor:
        """Run all blocks on hidden vectors.

        Args:
            hidden: (T, H) in fp32.
            offsets: (B+1,), the start of each sequence and T.
            causal: whether tokens don't attend to later ones.

        Returns:
            (T, H) in fp32.
        """
        hidden, offsets = hidden.contiguous(), offsets.to(torch.int32).contiguous()
        rows, size = hidden.shape
        qkv = torch.empty(rows, 3 * size, dtype=self._dtype)
        seen = torch.empty(rows, size, dtype=self._dtype)
        output = torch.empty_like(hidden)
        query, key, value = qkv.view(rows, 3, self._num_heads, size // self._num_heads).unbind(1)
        settings = attention.Settings(causal, window=-1, dropout=0.0, first=0, second=0, words=0)
        layout = attention.describe((query, key, value), offsets, offsets, settings)
        described = _Call(
            ctypes.addressof(self._layers),
            len(self._layers),
            self._attend,
            ctypes.addressof(layout),
            rows,
            torch.get_num_threads(),
        )
        tensors = map(address, (hidden, qkv, seen, output))
        call("layer", f"layer_encode_{self._element}", ctypes.byref(described), *tensors)
        return output
