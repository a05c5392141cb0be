"""Packed attention in C++ (`attention.cpp`), including dropout. Its twin in torch is `ops/attention/grouped.py`.

Shapes: T query tokens, K key tokens, B sequences, N heads, D head size.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from bertie.ops.kernels.tensors import NAMES, address, call, serves


class Layout(ctypes.Structure):
    """`Layout` of attention.cpp, field by field."""

    _fields_ = (
        ("query_offsets", ctypes.c_void_p),
        ("key_offsets", ctypes.c_void_p),
        ("query_row", ctypes.c_int64),
        ("key_row", ctypes.c_int64),
        ("value_row", ctypes.c_int64),
        ("queries", ctypes.c_int64),
        ("keys", ctypes.c_int64),
        ("num_sequences", ctypes.c_int32),
        ("heads", ctypes.c_int32),
        ("size", ctypes.c_int32),
        ("causal", ctypes.c_int32),
        ("window", ctypes.c_int32),
        ("words", ctypes.c_int32),
        ("first", ctypes.c_uint32),
        ("second", ctypes.c_uint32),
        ("begin", ctypes.c_uint32),
        ("rate", ctypes.c_double),
        ("threads", ctypes.c_int32),
    )


@dataclass(frozen=True)
class Settings:
    """The settings of a call, without its tensors."""

    causal: bool
    window: int
    """-1 for none."""
    dropout: float
    first: int
    """First key word of dropout, signed."""
    second: int
    """Second key word of dropout, signed."""
    words: int
    """Hash words for the keys of one query."""
    begin: int = 0
    """Queries of the step before these, for dropout."""


def takes(query: Tensor) -> bool:
    """Return whether the kernel is available for these tensors."""
    return serves("attention", query)


def forward(
    query: Tensor, key: Tensor, value: Tensor, query_offsets: Tensor, key_offsets: Tensor, settings: Settings
) -> Tensor:
    """Attend: query (T, N, D), key and value (K, N, D) -> (T, N, D)."""
    query, key, value = (_by_token(part) for part in (query, key, value))
    output = query.new_empty(query.shape)
    _call("attention", (query, key, value), (query, key, value, output), query_offsets, key_offsets, settings)
    return output


def backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_offsets: Tensor,
    key_offsets: Tensor,
    settings: Settings,
) -> list[Tensor]:
    """Return the gradients of query, key and value; `gradient` (T, N, D) is that of the output."""
    query, key, value = (_by_token(part) for part in (query, key, value))
    results = [part.new_empty(part.shape) for part in (query, key, value)]
    tensors = (gradient.contiguous(), query, key, value, *results)
    _call("attention_backward", (query, key, value), tensors, query_offsets, key_offsets, settings)
    return results


def _by_token(values: Tensor) -> Tensor:
    """Return values in which each token's heads are contiguous; tokens may have any stride."""
    return values if values.stride()[1:] == (values.shape[2], 1) else values.contiguous()


def _call(
    name: str,
    inputs: tuple[Tensor, Tensor, Tensor],
    tensors: tuple[Tensor, ...],
    query_offsets: Tensor,
    key_offsets: Tensor,
    settings: Settings,
) -> None:
    query_offsets, key_offsets = (part.to(torch.int32).contiguous() for part in (query_offsets, key_offsets))
    layout = describe(inputs, query_offsets, key_offsets, settings)
    call("attention", f"{name}_{NAMES[inputs[0].dtype]}", ctypes.byref(layout), *map(address, tensors))


def describe(
    inputs: tuple[Tensor, Tensor, Tensor], query_offsets: Tensor, key_offsets: Tensor, settings: Settings
) -> Layout:
    """Describe a call for C++. The offsets, contiguous int32, must outlive the result."""
    return Layout(
        query_offsets.data_ptr(),
        key_offsets.data_ptr(),
        *(part.stride(0) for part in inputs),
        *(len(part) for part in inputs[:2]),
        len(query_offsets) - 1,
        *inputs[0].shape[1:],
        settings.causal,
        settings.window,
        settings.words,
        settings.first & 0xFFFFFFFF,
        settings.second & 0xFFFFFFFF,
        settings.begin & 0xFFFFFFFF,
        settings.dropout,
        torch.get_num_threads(),
    )
