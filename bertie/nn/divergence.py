"""Distillation losses: Kullback-Leibler divergences between a student's and a teacher's outputs, summed over rows.

Logits over a vocabulary are multiplied 512 rows at a time and overwritten with their gradient, as in `projection`: no
M x V table is kept, neither the student's nor the teacher's.

Shapes: M rows, C classes, T tokens, B sequences, S longest sequence, H hidden, A relation heads, D their size,
V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from bertie.batch import Batch
from bertie.nn.logits import Logits

_ROWS = 512  # rows multiplied at a time: bounds the tables at 512 x V
_CELLS = 1 << 23  # values of relations computed at a time
_HEADS = 48  # relation heads of MiniLMv2's base models, the number that did best
_IMPOSSIBLE = -1e30  # score of an impossible class: its exp is 0, and unlike -inf it can be subtracted from itself


def divergence(student: Logits | Tensor, teacher: Logits | Tensor, temperature: float) -> Tensor:
    """Sum temperature^2 x KL(teacher || student) of softmax(scores / temperature) over rows (Hinton et al. 2015, 2).

    The square keeps the gradient's size whatever the temperature.

    Args:
        student: M rows of scores, as a tensor (M, C) or as `Logits`; -inf for impossible classes.
        teacher: scores of the same classes; it gets no gradient.
        temperature: above 0.

    Returns:
        A scalar in fp32.
    """
    if isinstance(student, Logits) and isinstance(teacher, Logits):
        weight = student.weight.to(student.hidden.dtype)
        total: Tensor = _Divergence.apply(student.hidden, weight, student.bias, teacher, temperature)  # type: ignore[no-untyped-call]
        return total
    assert isinstance(student, Tensor) and isinstance(teacher, Tensor)
    scaled = ((scores.float() / temperature).clamp(min=_IMPOSSIBLE) for scores in (student, teacher))
    ours, theirs = (scores.log_softmax(-1) for scores in scaled)
    return temperature**2 * (theirs.exp() * (theirs - ours)).sum()


class _Divergence(torch.autograd.Function):
    """Divergence and gradients in one pass: a row's gradient is temperature x (softmax - teacher's softmax)."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        teacher: Logits,
        temperature: float,
    ) -> Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        d_hidden, d_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
        d_bias = torch.zeros_like(bias, dtype=torch.float32)
        for start in range(0, len(hidden), _ROWS):
            rows = hidden[start : start + _ROWS]
            exact = torch.nn.functional.linear(rows, weight).float().add_(bias).div_(temperature)
            ours = exact.log_softmax(-1)
            part = replace(teacher, hidden=teacher.hidden[start : start + _ROWS])
            theirs = part.materialise().float().div_(temperature).log_softmax(-1)
            target = theirs.exp()
            total += (target * theirs.sub_(ours)).sum()
            gradient = ours.exp_().sub_(target)
            d_bias += gradient.sum(0)
            gradient = gradient.to(hidden.dtype)
            d_hidden[start : start + _ROWS] = gradient @ weight
            d_weight += gradient.t() @ rows
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        ctx.temperature = temperature  # type: ignore[attr-defined]
        return total * temperature**2

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        d_hidden, d_weight, d_bias = ctx.saved_tensors  # type: ignore[attr-defined]
        scale = gradients[0] * ctx.temperature  # type: ignore[attr-defined]
        return d_hidden * scale.to(d_hidden.dtype), d_weight * scale.to(d_weight.dtype), d_bias * scale, None, None


def relation_divergence(student: Tensor, teacher: Tensor, batch: Batch) -> Tensor:
    """Sum KL(teacher || student) of the relations of queries, keys and values over tokens (Wang et al. 2021, 3.1).

    A relation is softmax(X X^T / sqrt(D)), where X is the queries, the keys or the values of one relation head. The
    result is a mean over these three and over the heads. Both networks may have any width and any number of attention
    heads. The number of relation heads is the largest divisor of 48 that divides both widths.

    Args:
        student: (T, 3H), queries, keys and values of a layer.
        teacher: (T, 3H'), those of the teacher; it gets no gradient.
        batch: the tokens of both.

    Returns:
        A scalar in fp32.
    """
    total = student.new_zeros((), dtype=torch.float32)
    num_heads = math.gcd(student.shape[1] // 3, teacher.shape[1] // 3, _HEADS)
    step = max(1, _CELLS // (num_heads * batch.max_length**2))  # sequences at a time
    for ours, theirs in zip(student.chunk(3, dim=1), teacher.chunk(3, dim=1), strict=True):
        padded = (batch.unpack(ours), batch.unpack(theirs), batch.lengths)
        # The backward pass computes the relations again: kept, they would be the largest tensors of all.
        for part in zip(*(torch.split(values, step) for values in padded), strict=True):
            total = total + checkpoint(_related, *part, num_heads, use_reentrant=False, preserve_rng_state=False)
    return total / (3 * num_heads)


def _related(student: Tensor, teacher: Tensor, lengths: Tensor, num_heads: int) -> Tensor:
    """Sum the divergence of (B, S, H) and (B, S, H') over heads and real tokens."""
    real = torch.arange(student.shape[1], device=lengths.device) < lengths[:, None]  # (B, S)
    ours, theirs = (_relations(values, real, num_heads) for values in (student, teacher))
    rows = (theirs.exp() * (theirs - ours)).sum(-1)  # (B, A, S)
    return (rows * real[:, None]).sum()


def _relations(values: Tensor, real: Tensor, num_heads: int) -> Tensor:
    """Return the logarithms of the relations of (B, S, H) values: (B, A, S, S)."""
    heads = values.view(*values.shape[:2], num_heads, -1).transpose(1, 2)  # (B, A, S, D)
    scores = (heads @ heads.transpose(2, 3)).float() / math.sqrt(heads.shape[-1])
    return scores.masked_fill(~real[:, None, None], _IMPOSSIBLE).log_softmax(-1)
