"""The attention primitive: softmax(Q K^T / sqrt(D)) V over packed sequences ("Attention is all you need", 3.2.1).

The encoder, the decoder (`causal`), cross-attention (query and key layouts differ) and local windows all use it.
On CUDA in half precision it runs torch's variable-length flash kernel, elsewhere `packed_attention.py`. Tests compare
both with the plain `reference_attend`.

Shapes: T query tokens, K key tokens, B sequences, N heads, D head size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bertie.batch import Batch
from bertie.ops.attention.grouped import Bias, biased
from bertie.ops.attention.packed import packed_attention, settings_of
from bertie.ops.dropout.op import Noise

_HALF = (torch.bfloat16, torch.float16)


@dataclass(frozen=True, eq=False)
class Layout:
    """The boundaries of the sequences of queries and keys, and the lengths of the longest ones."""

    query_offsets: Tensor
    """(B+1,) int32."""
    key_offsets: Tensor
    """(B+1,) int32; the same tensor in self-attention."""
    max_query: int
    max_key: int
    causal: bool = False
    """Whether the batch is causal: no token attends to later ones."""

    @classmethod
    def of(cls, batch: Batch) -> Layout:
        """Return the layout of self-attention over `batch`."""
        return cls(batch.offsets, batch.offsets, batch.max_length, batch.max_length, batch.causal)

    @classmethod
    def cross(cls, queries: Batch, keys: Batch) -> Layout:
        """Return the layout of attention from `queries` (the target side) to `keys` (the source side)."""
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
    """Attend from every query to the keys of its own sequence.

    Args:
        query: (T, N, D).
        key: (K, N, D).
        value: (K, N, D).
        layout: boundaries of the sequences.
        causal: hide later keys. The last query of a sequence has the position of its last key.
        window: hide keys that are more than this many positions away.
        dropout: rate on the attention weights. The flash kernel has no dropout: above 0, CUDA runs the grouped path.
        noise: key of the dropout draws; drawn from torch's generator when None and dropout is above 0.
        site: dropout number of this layer in the network.
        bias: added to the scores, such as relative positions; it takes the grouped path.
        scale: factor of the products of queries and keys with a bias; 1 / sqrt(D) when None.

    Returns:
        (T, N, D), in the dtype of `query`.
    """
    keys = _dropout_of(noise, site) if dropout > 0.0 else (0, 0, 0, 0)
    if bias is not None:
        settings = settings_of(layout.key_offsets, causal, -1 if window is None else window, dropout, *keys)
        factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
        return biased(query, key, value, layout.query_offsets, layout.key_offsets, settings, bias, factor)
    if query.is_cuda and query.dtype in _HALF and dropout == 0.0:
        return _flash(query, key, value, layout, causal=causal, window=window)
    output = packed_attention(
        query,
        key,
        value,
        layout.query_offsets,
        layout.key_offsets,
        causal,
        -1 if window is None else window,
        dropout,
        *keys,
    )
    assert isinstance(output, Tensor)
    return output


def _dropout_of(noise: Noise | None, site: int) -> tuple[int, int, int, int]:
    """Return both key words of a site, and the place of the micro-batch: queries before it, longest sequence."""
    noise = noise or Noise.draw()
    return *noise.at(site), noise.place.tokens, noise.place.longest


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
    """Attend from the newest tokens of a decoder to cached keys and values, which are padded.

    Args:
        query: (I, K, N, D), K rows that share the same keys.
        keys: (I, N, L, D).
        values: (I, N, L, D).
        hidden: (I, 1, 1, L) True at keys that are hidden; None when no key is.

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
    """Return the attention weights, one (N, number of queries, number of keys) tensor a sequence."""
    weights = []
    starts, ends = layout.query_offsets.tolist(), layout.key_offsets.tolist()
    for index in range(len(starts) - 1):
        q = query[starts[index] : starts[index + 1]].transpose(0, 1)  # (N, Tq, D)
        k = key[ends[index] : ends[index + 1]].transpose(0, 1)  # (N, Tk, D)
        scores = q @ k.transpose(1, 2) * (1.0 / math.sqrt(q.shape[-1]) if scale is None else scale)
        scores = scores if bias is None else scores + bias(q, k)
        position = torch.arange(q.shape[1], device=q.device)[:, None] + (k.shape[1] - q.shape[1])
        distance = torch.arange(k.shape[1], device=q.device)[None, :] - position  # above 0: the key is to the right
        if causal:
            scores = scores.masked_fill(distance > 0, -math.inf)
        if window is not None:
            scores = scores.masked_fill(distance.abs() > window, -math.inf)
        weights.append(scores.softmax(-1))
    return weights


def reference_attend(
    query: Tensor, key: Tensor, value: Tensor, layout: Layout, *, causal: bool = False, window: int | None = None
) -> Tensor:
    """Compute `attend` without dropout in plain torch, one sequence at a time. Shapes as in `attend`."""
    edges = layout.key_offsets.tolist()
    outputs = [
        weight @ value[edges[index] : edges[index + 1]].transpose(0, 1)
        for index, weight in enumerate(attention_weights(query, key, layout, causal=causal, window=window))
    ]
    return torch.cat([output.transpose(0, 1) for output in outputs])
