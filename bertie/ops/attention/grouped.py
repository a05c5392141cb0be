"""Attention by groups of similar length: softmax(Q K^T / sqrt(D)) V in plain batched products, forward and backward.

This path runs on every device. On CPUs with a compiler the C++ kernel replaces it, and tests compare the two. Sequences
whose lengths round up to the same multiple of 16 form a group. Shorter sequences of a group are padded with copies of
their last token behind a mask, and the group is padded with copies of its last sequence, so that few shapes occur.
Padding reaches no output.

Shapes: T query tokens, K key tokens, B sequences, N heads, D head size; a group has G sequences, padded to Q and S.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from bertie.ops.attention.kernel import Settings
from bertie.ops.dropout.op import attention_mask
from bertie.ops.rounding import rounded_group

_STEP = 16

Bias = Callable[[Tensor, Tensor], Tensor]
"""From the queries (G*N, Q, D) and keys (G*N, S, D) of a group to what is added to its scores, (G*N, Q, S)."""


@dataclass(frozen=True, eq=False)
class _Group:
    """One group: the indices of its tokens and the mask of its weights."""

    queries: Tensor
    """(G, Q) flat query indices; padding repeats the last one of a sequence."""
    keys: Tensor
    """(G, S) flat key indices."""
    real: Tensor | None
    """Indices of the real ones among the G*Q padded queries; None when all are real."""
    rows: Tensor
    """Flat query indices of the real queries."""
    real_keys: Tensor | None
    """Indices of the real ones among the G*S padded keys; None when all are real."""
    key_rows: Tensor
    """Flat key indices of the real keys."""
    hidden: Tensor | None
    """(G, 1, Q, S) or (G, 1, 1, S) True where a key is hidden from a query; None when no key is."""


@lru_cache(maxsize=4)
@torch.inference_mode(False)  # training may use what prediction has cached
def _groups(
    query_edges: tuple[int, ...], key_edges: tuple[int, ...], causal: bool, window: int, device: torch.device
) -> list[_Group]:
    """Sort the sequences into groups. The result is cached because all blocks of a pass share one layout."""
    starts, key_starts = torch.tensor(query_edges), torch.tensor(key_edges)
    lengths, key_lengths = starts.diff(), key_starts.diff()
    buckets = ((lengths + _STEP - 1) // _STEP) * 2**32 + (key_lengths + _STEP - 1) // _STEP
    groups = []
    for bucket in torch.unique(buckets).tolist():
        members = (buckets == bucket).nonzero().flatten()
        if int(lengths[members[0]]) == 0 or int(key_lengths[members[0]]) == 0:
            continue  # empty sequences, which fill a batch up to a fixed number of them
        spare = rounded_group(len(members)) - len(members)
        all_members = torch.cat([members, members[-1:].expand(spare)])
        queries, real, rows = _padded_indices(starts[all_members], lengths[all_members], spare)
        keys, real_keys, key_rows = _padded_indices(key_starts[all_members], key_lengths[all_members], spare)
        hidden = _hidden(lengths[all_members], key_lengths[all_members], causal, window)
        parts = [queries, keys, real, rows, real_keys, key_rows, hidden]
        moved = [None if part is None else part.to(device) for part in parts]
        assert moved[0] is not None and moved[1] is not None and moved[3] is not None and moved[5] is not None
        groups.append(_Group(moved[0], moved[1], moved[2], moved[3], moved[4], moved[5], moved[6]))
    return groups


def _width(lengths: Tensor) -> int:
    """Return the padded length of a group: its longest length, up to a multiple of 16."""
    return -(-int(lengths.max()) // _STEP) * _STEP


def _padded_indices(starts: Tensor, lengths: Tensor, spare: int) -> tuple[Tensor, Tensor | None, Tensor]:
    """Return (G, padded length) flat indices, which of them are real (None: all), and the real ones alone.

    The last `spare` sequences are padding.
    """
    within = torch.arange(_width(lengths))[None, :]
    indices = starts[:, None] + torch.minimum(within, lengths[:, None] - 1)
    valid = within < lengths[:, None]
    valid[len(lengths) - spare :] = False
    valid = valid.flatten()
    real = None if bool(valid.all()) else valid.nonzero().flatten()
    rows = indices.flatten() if real is None else indices.flatten()[real]
    return indices, real, rows


def _hidden(lengths: Tensor, key_lengths: Tensor, causal: bool, window: int) -> Tensor | None:
    """Return the mask of one group, or None when no key is hidden."""
    keys = torch.arange(_width(key_lengths))
    padding = keys[None, :] >= key_lengths[:, None]  # (G, S)
    if not causal and window < 0:
        return padding[:, None, None, :] if bool(padding.any()) else None
    queries = torch.arange(_width(lengths))
    distance = keys[None, None, :] - queries[None, :, None] - (key_lengths - lengths)[:, None, None]  # (G, Q, S)
    hidden = padding[:, None, :].expand(distance.shape).clone()
    if causal:
        hidden |= distance > 0
    if window >= 0:
        hidden |= distance.abs() > window
    # All keys of a padding query may be hidden, and its softmax would be 0/0: show it the first key, drop its output.
    hidden[:, :, 0] &= ~hidden.all(-1)
    return hidden[:, None]


def _gather(values: Tensor, indices: Tensor) -> Tensor:
    """Take (T, N, D) values into a group: (G*N, length, D), contiguous."""
    heads, size = values.shape[1:]
    taken = values.index_select(0, indices.flatten()).view(*indices.shape, heads, size)
    return taken.transpose(1, 2).reshape(-1, indices.shape[1], size)


def _scatter(output: Tensor, rows: Tensor, real: Tensor | None, grouped: Tensor) -> None:
    """Write a group's (G*N, length, D) results to their flat rows of `output` (T, N, D)."""
    output.index_copy_(0, rows, _flat(grouped, output.shape[1], real))


def _flat(grouped: Tensor, heads: int, real: Tensor | None) -> Tensor:
    """Return a group's (G*N, length, D) results as (rows, N, D), without filler."""
    length, size = grouped.shape[1:]
    flat = grouped.view(-1, heads, length, size).transpose(1, 2).reshape(-1, heads, size)
    return flat if real is None else flat.index_select(0, real)


def _weights(query: Tensor, key: Tensor, group: _Group, heads: int) -> Tensor:
    """Return the attention weights of one group, (G*N, Q, S), in the dtype of `query`."""
    scores = torch.bmm(query, key.transpose(1, 2)).mul_(1.0 / math.sqrt(query.shape[-1]))
    if group.hidden is not None:
        scores.view(-1, heads, *scores.shape[1:]).masked_fill_(group.hidden, -math.inf)
    return torch.softmax(scores, -1)


def forward(
    query: Tensor, key: Tensor, value: Tensor, query_offsets: Tensor, key_offsets: Tensor, settings: Settings
) -> Tensor:
    """Attend: query (T, N, D), key and value (K, N, D) -> (T, N, D)."""
    output = torch.zeros_like(query, memory_format=torch.contiguous_format)
    heads = query.shape[1]
    for group in _layout(query, query_offsets, key_offsets, settings):
        weights = _weights(_gather(query, group.queries), _gather(key, group.keys), group, heads)
        if settings.dropout > 0.0:
            weights.mul_(_kept(group, heads, settings)).mul_(1.0 / (1.0 - settings.dropout))
        _scatter(output, group.rows, group.real, torch.bmm(weights, _gather(value, group.keys)))
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
    results = [torch.zeros_like(part, memory_format=torch.contiguous_format) for part in (query, key, value)]
    heads, scale = query.shape[1], 1.0 / math.sqrt(query.shape[-1])
    for group in _layout(query, query_offsets, key_offsets, settings):
        q, k, v = _gather(query, group.queries), _gather(key, group.keys), _gather(value, group.keys)
        g = _gather(gradient, group.queries)
        if group.real is not None:  # padding repeats a real query, whose gradient must count once
            flat = torch.zeros(group.queries.numel(), 1, dtype=g.dtype, device=g.device)
            flat[group.real] = 1
            g.view(-1, heads, *g.shape[1:]).mul_(flat.view(-1, 1, g.shape[1], 1))
        weights = _weights(q, k, group, heads)
        inner = torch.bmm(g, v.transpose(1, 2))  # (G*N, Q, S), the gradient of the weights
        dropped = weights
        if settings.dropout > 0.0:
            factor = _kept(group, heads, settings).to(weights.dtype).mul_(1.0 / (1.0 - settings.dropout))
            dropped = weights * factor
            inner.mul_(factor)
        _scatter(results[2], group.key_rows, group.real_keys, torch.bmm(dropped.transpose(1, 2), g))
        scores = torch.ops.aten._softmax_backward_data(inner, weights, -1, weights.dtype).mul_(scale)
        _scatter(results[0], group.rows, group.real, torch.bmm(scores, k))
        _scatter(results[1], group.key_rows, group.real_keys, torch.bmm(scores.transpose(1, 2), q))
    return results


def _layout(query: Tensor, query_offsets: Tensor, key_offsets: Tensor, settings: Settings) -> list[_Group]:
    edges = tuple(query_offsets.tolist()), tuple(key_offsets.tolist())
    return _groups(*edges, settings.causal, settings.window, query.device)


def _kept(group: _Group, heads: int, settings: Settings) -> Tensor:
    """Draw the mask of the weights that dropout keeps in a group: (G*N, Q, S)."""
    keep = attention_mask(
        group.queries,
        heads=heads,
        num_keys=group.keys.shape[1],
        words=settings.words,
        rate=settings.dropout,
        first=settings.first,
        second=settings.second,
        begin=settings.begin,
    )
    return keep.flatten(0, 1)


def biased(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_offsets: Tensor,
    key_offsets: Tensor,
    settings: Settings,
    bias: Bias,
    scale: float,
) -> Tensor:
    """Attend with a bias on the scores; autograd keeps the weights for the backward pass.

    Args:
        query: (T, N, D).
        key: (K, N, D).
        value: (K, N, D).
        query_offsets: (B+1,).
        key_offsets: (B+1,).
        settings: mask and dropout.
        bias: returns what is added to the scaled scores of a group.
        scale: factor of the products of queries and keys.

    Returns:
        (T, N, D).
    """
    heads = query.shape[1]
    outputs, rows = [], []
    for group in _layout(query, query_offsets, key_offsets, settings):
        q, k, v = _gather(query, group.queries), _gather(key, group.keys), _gather(value, group.keys)
        scores = torch.bmm(q, k.transpose(1, 2)) * scale + bias(q, k)
        if group.hidden is not None:
            scores = scores.view(-1, heads, *scores.shape[1:]).masked_fill(group.hidden, -math.inf).flatten(0, 1)
        weights = torch.softmax(scores, -1)
        if settings.dropout > 0.0:
            weights = weights * _kept(group, heads, settings) * (1.0 / (1.0 - settings.dropout))
        outputs.append(_flat(torch.bmm(weights, v), heads, group.real))
        rows.append(group.rows)
    empty = torch.zeros_like(query, memory_format=torch.contiguous_format)
    return empty.index_copy(0, torch.cat(rows), torch.cat(outputs)) if rows else empty
