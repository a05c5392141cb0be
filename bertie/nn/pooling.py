"""Pooling: one vector a text from the hidden vectors of its tokens, also for a text in several windows.

Shapes: T tokens, B sequences, N texts, H hidden.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bertie.batch import Batch
from bertie.packed import Pooling


def first_sequences(batch: Batch) -> Tensor:
    """Return the index of each text's first sequence, (N,).

    An item may have several texts, and a text several windows. A text starts where `rows` or the target
    `sequence.side` changes. Without that target every sequence is a text.
    """
    if batch.num_items == len(batch):
        return torch.arange(len(batch), device=batch.rows.device)
    first = torch.ones_like(batch.rows, dtype=torch.bool)
    if "sequence.side" in batch.targets:
        first[1:] = (batch.rows.diff() != 0) | (batch.targets["sequence.side"].diff() != 0)
    return first.nonzero().flatten()


class TextPooling(nn.Module):
    """Pool hidden vectors to one vector a text.

    Args:
        pooling: `mean`, weighted by the target `token.share` (T,) if there is one; `cls` for the vector of [CLS], or
            the mean of several windows' [CLS]; `max` for the maximum of each coordinate.
        normalized: whether to scale the vectors to length 1.
    """

    def __init__(self, pooling: Pooling, *, normalized: bool) -> None:
        super().__init__()
        self.pooling, self.normalized = pooling, normalized

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Map (T, H) to (N, H) in fp32."""
        heads = first_sequences(batch)
        values, shares = hidden.float(), batch.targets.get("token.share")
        edges = torch.cat([batch.offsets[heads], batch.offsets[-1:]]).long()  # (N+1,) token indices
        if self.pooling == "cls":
            values, shares = values[batch.starts], None
            edges = torch.cat([heads, heads.new_tensor([len(batch)])])  # (N+1,) sequence indices
        lengths = edges.diff()
        if self.pooling == "max":
            pooled = torch.segment_reduce(values, "max", lengths=lengths)
        elif shares is None:
            pooled = torch.segment_reduce(values, "mean", lengths=lengths)
        else:
            sums = torch.segment_reduce(values * shares[:, None], "sum", lengths=lengths)
            pooled = sums / torch.segment_reduce(shares, "sum", lengths=lengths)[:, None]
        return normalize(pooled, dim=1) if self.normalized else pooled

    def extra_repr(self) -> str:
        """Return both settings for the printed module."""
        return f"{self.pooling}, normalized={self.normalized}"
