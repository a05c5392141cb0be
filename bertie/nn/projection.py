"""Logits over a vocabulary as a value: hidden vectors, the output matrix and its bias, not yet multiplied.

A table of T x V logits is by far the largest tensor of BERT pre-training. The head hands on `Logits`; `cross_entropy`
multiplies a few hundred rows at a time and turns them into their own gradient in place, and only decoding and export
ever ask for the table (`materialise`).

Shapes: M rows (masked positions), H hidden, V vocabulary.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor

from bertie.kernels import cross_entropy as kernel
from bertie.nn.embeddings import lookup
from bertie.nn.linear import linear
from bertie.nn.rounding import pad_rows

_MAX_ROWS = 2048  # rows multiplied at a time: bounds the buffer at 2048 x V


@dataclass(frozen=True, eq=False)
class Logits:
    """hidden @ weight.T + bias, waiting to be asked for."""

    hidden: Tensor
    """(M, H)."""
    weight: Tensor
    """(V, H), for BERT the word embeddings."""
    bias: Tensor
    """(V,)."""

    def materialise(self) -> Tensor:
        """Multiply: (M, V)."""
        return linear(self.hidden, self.weight, self.bias)

    def cross_entropy(self, targets: Tensor, *, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Sum the cross-entropy of the rows against `targets` (M,).

        Args:
            targets: the right entries.
            label_smoothing: share of the target probability that is spread over all V entries.

        Returns:
            The sum, a scalar in fp32 that carries gradients, and the number of rows whose best guess is the target.
        """
        total, _, right = self.cross_entropy_of_rows(targets)
        if label_smoothing > 0.0:
            # Moving a share s of the target from entry y to all of them adds s (logit_y - mean logit), and the mean
            # logit of a row is its product with the mean of the matrix: no table is needed.
            apart = lookup(self.weight, targets) - self.weight.mean(0)  # (M, H)
            added = (self.hidden.float() * apart).sum() + (self.bias.index_select(0, targets) - self.bias.mean()).sum()
            total = total + label_smoothing * added
        return total, right.sum()

    def cross_entropy_of_rows(self, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the cross-entropy of the rows against `targets` (M,), and tell what the rows are apart.

        Returns:
            The sum, a scalar in fp32 that carries gradients; the losses of the rows (M,), without gradients; and 1 for
            each row whose best guess is the target, 0 for the others (M,).
        """
        weight = self.weight.to(self.hidden.dtype)
        found: tuple[Tensor, Tensor, Tensor]
        found = _CrossEntropy.apply(self.hidden, weight, self.bias, targets)  # type: ignore[no-untyped-call]
        return found


_kept = threading.local()


def _buffer(num_rows: int, weight: Tensor) -> Tensor:
    """Lend (num_rows, V) values of scratch, of this thread's own.

    On a CPU writing a fresh tensor costs several times writing one that is mapped already; GPUs keep their own pool.
    """
    if weight.is_cuda:
        return weight.new_empty(num_rows, weight.shape[0])
    needed = num_rows * weight.shape[0]
    scratch: Tensor | None = getattr(_kept, "scratch", None)
    if scratch is None or scratch.dtype != weight.dtype or scratch.shape[0] < needed:
        with torch.inference_mode(False):  # made while evaluating, it must still serve the training after it
            scratch = _kept.scratch = torch.empty(needed, dtype=weight.dtype)
    return scratch[:needed].view(num_rows, weight.shape[0])


class _CrossEntropy(torch.autograd.Function):
    """Loss and gradients in one pass: the gradient of a row of logits is softmax - onehot, needed once and thrown away.

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
            found = _consume(logits[: len(chosen)], bias, chosen, d_bias if needs_gradient else None)
            losses[start : start + _MAX_ROWS], right[start : start + _MAX_ROWS] = found
            total += found[0].sum()
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


def _consume(logits: Tensor, bias: Tensor, targets: Tensor, d_bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the losses of `logits` (rows, V), and 1 where the best guess is right; overwrite them with their gradient.

    Its column sums are added to `d_bias`.
    """
    if kernel.takes(logits, bias):
        return kernel.consume(logits, bias, targets, d_bias)
    found = []
    step = max(1, (1 << 19) // logits.shape[1])  # half a million fp32 values at a time stay in the cache
    for rows, chosen in zip(torch.split(logits, step), torch.split(targets, step), strict=True):
        exact = rows.float().add_(bias)
        best, guess = exact.max(1, keepdim=True)
        right = exact.gather(1, chosen[:, None])
        exact.sub_(best).exp_()
        sums = exact.sum(1, keepdim=True)
        found.append(torch.cat([sums.log() + best - right, (guess == chosen[:, None]).float()], 1))
        if d_bias is not None:
            exact.div_(sums)
            exact.scatter_add_(1, chosen[:, None], exact.new_full((len(chosen), 1), -1.0))
            d_bias += exact.sum(0)
            rows.copy_(exact)
    losses, hits = torch.cat(found).unbind(1)
    return losses, hits
