"""Cross-entropy of hidden vectors over a vocabulary, without a table of T x V logits.

At most 2048 rows are multiplied at a time and overwritten with their gradient. On CPUs with a compiler a C++ kernel
does the second part, elsewhere torch.

Shapes: M rows (chosen tokens), H hidden, V vocabulary.
"""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from bertie.ops.cross_entropy import kernel
from bertie.ops.rounding import pad_rows

_MAX_ROWS = 2048  # rows multiplied at a time: bounds the buffer at 2048 x V


def cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sum the cross-entropy of hidden @ weight.T + bias against `targets` (M,).

    Args:
        hidden: (M, H).
        weight: (V, H), in the dtype of `hidden`.
        bias: (V,).
        targets: the right tokens.

    Returns:
        The sum, a scalar in fp32 with gradients; the losses of the rows (M,), without gradients; and (M,) 1 for each
        row with the highest logit at the target, 0 for the others.
    """
    losses: tuple[Tensor, Tensor, Tensor]
    losses = _CrossEntropy.apply(hidden, weight, bias, targets)  # type: ignore[no-untyped-call]
    return losses


_local = threading.local()


def _buffer(num_rows: int, weight: Tensor) -> Tensor:
    """Return scratch space for (num_rows, V) values, which belongs to this thread.

    On a CPU it costs several times less to write to memory that is already mapped than to a new tensor. GPUs have their
    own memory pool.
    """
    if weight.is_cuda:
        return weight.new_empty(num_rows, weight.shape[0])
    needed = num_rows * weight.shape[0]
    scratch: Tensor | None = getattr(_local, "scratch", None)
    if scratch is None or scratch.dtype != weight.dtype or scratch.shape[0] < needed:
        with torch.inference_mode(False):  # training reuses it, also when an evaluation has made it
            scratch = _local.scratch = torch.empty(needed, dtype=weight.dtype)
    return scratch[:needed].view(num_rows, weight.shape[0])


class _CrossEntropy(torch.autograd.Function):
    """Loss and gradients in one pass: the gradient of a row of logits, softmax - onehot, is used at once and dropped.

    The matrix products run in the dtype of `hidden`, the softmax in fp32.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        total = hidden.new_zeros((), dtype=torch.float32)
        losses, right = (hidden.new_empty(len(targets), dtype=torch.float32) for _ in range(2))
        needs_gradient = any(ctx.needs_input_grad)  # type: ignore[attr-defined]
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight) if needs_gradient else weight
        d_bias = torch.zeros_like(bias, dtype=torch.float32)
        for start in range(0, len(targets), _MAX_ROWS):
            chosen = targets[start : start + _MAX_ROWS]
            rows = pad_rows(hidden[start : start + _MAX_ROWS], step=64)
            logits = torch.mm(rows, weight.t(), out=_buffer(len(rows), weight))
            row_losses, hits = consume(logits[: len(chosen)], bias, chosen, d_bias if needs_gradient else None)
            losses[start : start + _MAX_ROWS], right[start : start + _MAX_ROWS] = row_losses, hits
            total += row_losses.sum()
            if needs_gradient:
                logits[len(chosen) :].zero_()
                d_hidden[start : start + _MAX_ROWS] = torch.mm(logits, weight)[: len(chosen)]
                d_weight.addmm_(logits.t(), rows)
        if needs_gradient:
            ctx.save_for_backward(d_hidden, d_weight, d_bias)
        ctx.mark_non_differentiable(losses, right)
        return total, losses, right

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors  # type: ignore[attr-defined]
        scale = gradients[0]
        return d_hidden * scale.to(d_hidden.dtype), d_weight * scale.to(d_weight.dtype), d_bias * scale, None


def consume(logits: Tensor, bias: Tensor, targets: Tensor, d_bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the losses of `logits` (rows, V), and 1 for each row with the highest logit at the target, else 0.

    With `d_bias`, overwrite the logits with their gradient and add the gradient's column sums to `d_bias`.
    """
    if kernel.takes(logits, bias):
        return kernel.consume(logits, bias, targets, d_bias)
    results = []
    step = max(1, (1 << 19) // logits.shape[1])  # half a million fp32 values stay in the cache
    for rows, chosen in zip(torch.split(logits, step), torch.split(targets, step), strict=True):
        exact = rows.float().add_(bias)
        best, guess = exact.max(1, keepdim=True)
        right = exact.gather(1, chosen[:, None])
        exact.sub_(best).exp_()
        sums = exact.sum(1, keepdim=True)
        results.append(torch.cat([sums.log() + best - right, (guess == chosen[:, None]).float()], 1))
        if d_bias is not None:
            exact.div_(sums)
            exact.scatter_add_(1, chosen[:, None], exact.new_full((len(chosen), 1), -1.0))
            d_bias += exact.sum(0)
            rows.copy_(exact)
    losses, hits = torch.cat(results).unbind(1)
    return losses, hits
