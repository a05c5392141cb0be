"""The one attention primitive: softmax(Q K^T / sqrt(D)) V over packed sequences ("Attention is all you need", 3.2.1).

It serves the encoder, the decoder (`causal`), cross-attention (query and key layouts differ) and local windows. The
kernel is picked by device: the variable-length flash kernel on CUDA in half precision, `packed_attention.py` elsewhere.
The plain reference is the oracle of the tests and the source of attention pictures.

Shapes: T query tokens, K key tokens, B sequences, N heads, D head size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bertie.batch import Batch
from bertie.nn.dropout import Noise
from bertie.nn.grouped_attention import Bias, biased
from bertie.nn.packed_attention import packed_attention, settings_of

_HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the sequences of the queries and of the keys begin, and how long the longest are."""

    query_offsets: Tensor
    """(B+1,) int32."""
    key_offsets: Tensor
    """(B+1,) int32; the same tensor in self-attention."""
    max_query: int
    max_key: int
    causal: bool = False
    """Whether the batch that this is the layout of hides what comes after a token."""

    @classmethod
    def of(cls, batch: Batch) -> Layout:
        """Lay out self-attention over `batch`."""
        return cls(batch.offsets, batch.offsets, batch.max_length, batch.max_length, batch.causal)

    @classmethod
    def cross(cls, queries: Batch, keys: Batch) -> Layout:
        """Lay out attention from `queries` (the target side) to `keys` (the source side)."""
        return cls(queries.offsets, keys.offsets, queries.max_length, keys.max_length)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Layout,
    *,
    causal: bool = False,
    window: int | None = None,
    dropout: float = 0.0,
    noise: Noise | None = None,
    site: int = 0,
    bias: Bias | None = None,
    scale: float | None = None,
) -> Tensor:
    """Let every query look at the keys of its own sequence.

    Args:
        query: (T, N, D).
        key: (K, N, D).
        value: (K, N, D).
        layout: where the sequences begin.
        causal: hide keys to the right; the last query is level with the last key.
        window: hide keys more than this many places away.
        dropout: rate on the attention weights. CUDA's fast kernels refuse it, so above 0 the exact grouped path runs.
        noise: key of the dropout draws; drawn from torch's generator when None and dropout is above 0.
        site: number of this place in the network, for dropout.
        bias: what is added to the scores, such as relative positions; the grouped path runs then.
        scale: factor of the products of queries and keys where there is a bias; 1 / sqrt(D) when None.

    Returns:
        (T, N, D), in the dtype of `query`.
    """
    if bias is not None:
        keys = (noise or Noise.draw()).at(site) if dropout > 0.0 else (0, 0)
        settings = settings_of(layout.key_offsets, causal, -1 if window is None else window, dropout, *keys)
        factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
        return biased(query, key, value, layout.query_offsets, layout.key_offsets, settings, bias, factor)
    if query.is_cuda and query.dtype in _HALF and dropout == 0.0:
        return _flash(query, key, value, layout, causal=causal, window=window)
    first, second = (noise or Noise.draw()).at(site) if dropout > 0.0 else (0, 0)
    output = packed_attention(
        query,
        key,
        value,
        layout.query_offsets,
        layout.key_offsets,
        causal,
        -1 if window is None else window,
        dropout,
        first,
        second,
    )
    assert isinstance(output, Tensor)
    return output


def _flash(query: Tensor, key: Tensor, value: Tensor, layout: Layout, *, causal: bool, window: int | None) -> Tensor:
    """Run torch's variable-length flash kernel."""
    from torch.nn.attention.varlen import varlen_attn

    reach = -1 if window is None else window
    output = varlen_attn(
        query,
        key,
        value,
        layout.query_offsets,
        layout.key_offsets,
        layout.max_query,
        layout.max_key,
        window_size=(reach, 0 if causal else reach),
    )
    assert isinstance(output, Tensor)
    return output


def attend_cached(query: Tensor, keys: Tensor, values: Tensor, hidden: Tensor | None = None) -> Tensor:
    """Do what `attend` does for the newest tokens of a decoder, over keys and values that are kept padded.

    Args:
        query: (I, K, N, D), K rows that look at the same keys.
        keys: (I, N, L, D).
        values: (I, N, L, D).
        hidden: (I, 1, 1, L) True where no query may look; None when all may look everywhere.

    Returns:
        (I, K, N, D).
    """
    scores = query.transpose(1, 2) @ keys.transpose(2, 3) / math.sqrt(query.shape[-1])  # (I, N, K, L)
    if hidden is not None:
        scores = scores.masked_fill(hidden, -math.inf)
    return (scores.softmax(-1) @ values).transpose(1, 2)


def attention_weights(
    query: Tensor,
    key: Tensor,
    layout: Layout,
    *,
    causal: bool = False,
    window: int | None = None,
    bias: Bias | None = None,
    scale: float | None = None,
) -> list[Tensor]:
    """Work out the weights themselves, plainly: one (N, length of query, length of key) tensor a sequence."""
    weights = []
    starts, ends = layout.query_offsets.tolist(), layout.key_offsets.tolist()
    for index in range(len(starts) - 1):
        q = query[starts[index] : starts[index + 1]].transpose(0, 1)  # (N, Tq, D)
        k = key[ends[index] : ends[index + 1]].transpose(0, 1)  # (N, Tk, D)
        scores = q @ k.transpose(1, 2) * (1.0 / math.sqrt(q.shape[-1]) if scale is None else scale)
        scores = scores if bias is None else scores + bias(q, k)
        place = torch.arange(q.shape[1], device=q.device)[:, None] + (k.shape[1] - q.shape[1])
        distance = torch.arange(k.shape[1], device=q.device)[None, :] - place  # above 0: the key is to the right
        if causal:
            scores = scores.masked_fill(distance > 0, -math.inf)
        if window is not None:
            scores = scores.masked_fill(distance.abs() > window, -math.inf)
        weights.append(scores.softmax(-1))
    return weights


def reference_attend(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, *, causal: bool = False, window: int | None = None
) -> Tensor:
    """Do what `attend` does without dropout, sequence by sequence, as the oracle. Shapes as in `attend`."""
    edges = layout.key_offsets.tolist()
    outputs = [
        weight @ value[edges[index] : edges[index + 1]].transpose(0, 1)
        for index, weight in enumerate(attention_weights(query, key, layout, causal=causal, window=window))
    ]
    return torch.cat([output.transpose(0, 1) for output in outputs])
