"""Packed attention as one registered torch operator, which `torch.compile` leaves alone.

It runs the C++ kernel where that is available, otherwise groups of sequences of similar length (`grouped_attention`).
The backward pass computes the attention weights again instead of keeping them. Both paths draw the same dropout: the
draw of a weight depends on its query's row, its head and its key's position, not on how the work is divided.

Shapes: T query tokens, K key tokens, N heads, D head size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bertie.ops.attention import grouped as groups
from bertie.ops.attention import kernel

# Schemas instead of the decorator `custom_op`, which loads the whole compiler at the first call and takes two seconds.
_ARGUMENTS = (
    "Tensor query, Tensor key, Tensor value, Tensor query_offsets, Tensor key_offsets, "
    "bool causal, int window, float dropout, int first, int second, int begin, int longest"
)
torch.library.define("bertie::packed_attention", f"({_ARGUMENTS}) -> Tensor")
torch.library.define("bertie::packed_attention_backward", f"(Tensor gradient, {_ARGUMENTS}) -> Tensor[]")


def settings_of(
    key_offsets: Tensor,
    causal: bool,
    window: int,
    dropout: float,
    first: int,
    second: int,
    begin: int,
    longest: int,
) -> kernel.Settings:
    """Return the settings of both passes; dropout needs the number of hash words a query, one for two keys.

    `begin` and `longest` are the place of the micro-batch in its step (`ops/dropout`).
    """
    words = ((longest or int(key_offsets.diff().max())) + 1) // 2 if dropout > 0.0 else 0
    return kernel.Settings(causal, window, dropout, first, second, words, begin)


@torch.library.impl("bertie::packed_attention", "CompositeExplicitAutograd")
def _forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_offsets: Tensor,
    key_offsets: Tensor,
    causal: bool,
    window: int,
    dropout: float,
    first: int,
    second: int,
    begin: int,
    longest: int,
) -> Tensor:
    """Attend as `attention.attend`; `window` -1 means none, `first` and `second` are the key words of dropout."""
    settings = settings_of(key_offsets, causal, window, dropout, first, second, begin, longest)
    path = kernel.forward if kernel.takes(query) else groups.forward
    return path(query, key, value, query_offsets, key_offsets, settings)


@torch.library.register_fake("bertie::packed_attention")  # type: ignore[untyped-decorator]
def _(query: Tensor, *_: object) -> Tensor:
    return torch.empty_like(query, memory_format=torch.contiguous_format)


@torch.library.impl("bertie::packed_attention_backward", "CompositeExplicitAutograd")
def _backward(
    gradient: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_offsets: Tensor,
    key_offsets: Tensor,
    causal: bool,
    window: int,
    dropout: float,
    first: int,
    second: int,
    begin: int,
    longest: int,
) -> list[Tensor]:
    """Return the gradients of query, key and value."""
    settings = settings_of(key_offsets, causal, window, dropout, first, second, begin, longest)
    path = kernel.backward if kernel.takes(query) else groups.backward
    return path(gradient, query, key, value, query_offsets, key_offsets, settings)


@torch.library.register_fake("bertie::packed_attention_backward")  # type: ignore[untyped-decorator]
def _(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *_: object) -> list[Tensor]:
    return [torch.empty_like(part, memory_format=torch.contiguous_format) for part in (query, key, value)]


def _setup(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[object, ...], output: object) -> None:
    ctx.save_for_backward(*inputs[:5])  # type: ignore[arg-type]
    ctx.settings = inputs[5:]  # type: ignore[attr-defined]


def _differentiate(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
    differentiate = torch.ops.bertie.packed_attention_backward.default
    results = differentiate(gradient.contiguous(), *ctx.saved_tensors, *ctx.settings)  # type: ignore[attr-defined]
    return (*results, *([None] * 9))


torch.library.register_autograd("bertie::packed_attention", _differentiate, setup_context=_setup)
packed_attention = torch.ops.bertie.packed_attention.default
