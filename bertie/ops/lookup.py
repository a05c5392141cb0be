"""Look up rows of a table, with a backward pass that is deterministic and in full precision.

The one that a compiler generates adds in an order that changes from run to run, and a half-precision sum over a
thousand occurrences of "the" loses most of them.

Shapes: T tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Schemas instead of the decorator `custom_op`, which loads the whole compiler at the first call and takes two seconds.
torch.library.define("bertie::lookup", "(Tensor weight, Tensor indices) -> Tensor")
torch.library.define("bertie::lookup_backward", "(Tensor gradient, Tensor indices, int num_rows) -> Tensor")


@torch.library.impl("bertie::lookup", "CompositeExplicitAutograd")
def _lookup(weight: Tensor, indices: Tensor) -> Tensor:
    """Return the rows of weight (V, H) at indices (T,): (T, H)."""
    return weight.index_select(0, indices)


@torch.library.register_fake("bertie::lookup")  # type: ignore[untyped-decorator]
def _(weight: Tensor, indices: Tensor) -> Tensor:
    return weight.new_empty(indices.shape[0], weight.shape[1])


@torch.library.impl("bertie::lookup_backward", "CompositeExplicitAutograd")
def _lookup_backward(gradient: Tensor, indices: Tensor, num_rows: int) -> Tensor:
    """Sum the gradients (T, H) of equal indices into (V, H), always in the same order."""
    return torch.ops.aten.embedding_dense_backward(gradient.contiguous(), indices, num_rows, -1, False)  # type: ignore[no-any-return]


@torch.library.register_fake("bertie::lookup_backward")  # type: ignore[untyped-decorator]
def _(gradient: Tensor, indices: Tensor, num_rows: int) -> Tensor:
    return gradient.new_empty(num_rows, gradient.shape[1])


def _setup(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.num_rows = inputs[0].shape[0]  # type: ignore[attr-defined]


def _differentiate(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
    (indices,) = ctx.saved_tensors  # type: ignore[attr-defined]
    return torch.ops.bertie.lookup_backward.default(gradient, indices, ctx.num_rows), None  # type: ignore[attr-defined]


torch.library.register_autograd("bertie::lookup", _differentiate, setup_context=_setup)
lookup = torch.ops.bertie.lookup.default
