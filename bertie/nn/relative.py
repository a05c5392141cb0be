"""Attention by relative positions: a term that depends on the distance of two tokens joins their score.

MPNet (Song et al. 2020) adds a learned number for each head and bucket of distances, the same in all layers, as T5 does
(Raffel et al. 2020). DeBERTa (He et al. 2021, section 3.1, "disentangled attention") adds two products: of a query with
the vector of a distance, and of that vector with a key.

Shapes: T tokens, N heads, D head size, H hidden; a group has G sequences, padded to Q queries and S keys; R distances.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from bertie.nn.block import Block, SelfAttention
from bertie.nn.embeddings import EmbeddingTable
from bertie.ops.attention.attend import Layout, attend, attention_weights
from bertie.ops.attention.grouped import Bias
from bertie.ops.dropout.op import Dropout, Noise

_FARTHEST = 128  # distance from which on T5's buckets are the last


def _distances(num_queries: int, num_keys: int, device: torch.device) -> Tensor:
    """Return (Q, S) how far a key is to the right of a query."""
    return torch.arange(num_keys, device=device)[None, :] - torch.arange(num_queries, device=device)[:, None]


def t5_buckets(distances: Tensor, count: int) -> Tensor:
    """Sort distances into buckets: half of them for each side, exact near the query and logarithmic farther away.

    Args:
        distances: any shape; positive to the right.
        count: buckets.

    >>> t5_buckets(torch.tensor([0, -1, 1, -7, -8, 500]), 32).tolist()
    [0, 1, 17, 7, 8, 31]
    """
    side = count // 2
    exact = side // 2
    away = distances.abs()
    steps = torch.log(away.clamp_min(1).float() / exact) / math.log(_FARTHEST / exact) * (side - exact)
    far = (exact + steps.long()).clamp_max(side - 1)
    return (distances > 0).long() * side + torch.where(away < exact, away, far)


def log_buckets(distances: Tensor, count: int, farthest: int) -> Tensor:
    """Shorten long distances logarithmically, as DeBERTa v2 does; short ones stay as they are.

    Args:
        distances: any shape, of either sign.
        count: buckets of one side; half of them hold one distance each.
        farthest: distance that falls into the last bucket.

    >>> log_buckets(torch.tensor([0, 3, -4, 9, -500]), 8, 16).tolist()
    [0, 3, -4, 7, -15]
    """
    middle = count // 2
    away = torch.where(distances.abs() < middle, middle - 1, distances.abs()).float()
    steps = torch.log(away / middle) / math.log((farthest - 1) / middle) * (middle - 1)
    far = (steps.ceil() + middle) * distances.sign()
    return torch.where(away <= middle, distances, far.long())


class RelativeBias(nn.Module):
    """MPNet's: one number for each head and bucket.

    Args:
        num_buckets: rows of the table.
        num_heads: N.
    """

    def __init__(self, num_buckets: int, num_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_buckets, num_heads))

    def forward(self) -> Bias:
        """Return the bias of one pass; all its layers share the numbers of a shape."""
        made: dict[tuple[int, int], Tensor] = {}

        def bias(query: Tensor, key: Tensor) -> Tensor:
            shape = query.shape[1], key.shape[1]
            if shape not in made:
                buckets = t5_buckets(_distances(*shape, query.device), self.weight.shape[0])
                made[shape] = self.weight[buckets].permute(2, 0, 1)  # (N, Q, S)
            heads = made[shape]
            return heads.expand(query.shape[0] // len(heads), *heads.shape).flatten(0, 1)

        return bias


class BiasedAttention(SelfAttention):
    """Multi-head attention of a sequence with itself whose scores get a bias. Arguments as in `SelfAttention`."""

    scale: float | None = None
    """Factor of the products of queries and keys; 1 / sqrt(D) when None."""

    def forward(self, hidden: Tensor, layout: Layout, noise: Noise | None, bias: Bias | None = None) -> Tensor:
        """Map (T, H) to (T, H)."""
        query, key, value = self.project(hidden)
        seen = attend(
            query,
            key,
            value,
            layout,
            causal=layout.causal,
            dropout=self.rate if self.training else 0.0,
            noise=noise,
            site=self.site,
            bias=bias,
            scale=self.scale,
        )
        projected: Tensor = self.output(seen.flatten(1))
        return projected

    def weights(self, hidden: Tensor, layout: Layout, relation: Any = None) -> list[Tensor]:
        """Return the attention weights of `forward`; see `SelfAttention.weights`. `relation` is its `bias`."""
        query, key, _ = self.project(hidden)
        return attention_weights(query, key, layout, causal=layout.causal, bias=relation, scale=self.scale)


class BiasedBlock(Block):
    """A post-norm layer whose attention gets a bias. Arguments as in `Block`."""

    def attend_with(self, hidden_size: int, num_heads: int, dropout: float, site: int) -> SelfAttention:
        """Make the attention of this layer."""
        return BiasedAttention(hidden_size, num_heads, dropout=dropout, site=site)

    def forward(self, hidden: Tensor, layout: Layout, noise: Noise | None, bias: Bias | None = None) -> Tensor:
        """Map (T, H) to (T, H)."""
        return self.feed(hidden, self.attention(hidden, layout, noise, bias), noise)


class RelativeVectors(nn.Module):
    """DeBERTa's: a vector for each bucket of distances, normalised; each layer projects them to queries and keys.

    Args:
        span: buckets of one side; the table has R = 2 `span` rows.
        hidden_size: H.
        farthest: longest distance, for logarithmic buckets; None where every distance has a row of its own.
        layer_norm_eps: epsilon of the LayerNorm.
    """

    def __init__(self, span: int, hidden_size: int, *, farthest: int | None, layer_norm_eps: float) -> None:
        super().__init__()
        self.span, self.farthest = span, farthest
        self.table = EmbeddingTable(2 * span, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def forward(self) -> Tensor:
        """Return the (R, H) vectors of a pass."""
        vectors: Tensor = self.norm(self.table.weight)
        return vectors

    def rows(self, num_queries: int, num_keys: int, device: torch.device) -> Tensor:
        """Return (Q, S) the row of the table for each query and key."""
        return _rows(num_queries, num_keys, self.span, self.farthest, device)


@lru_cache(maxsize=64)
@torch.inference_mode(False)  # training may use what prediction has cached
def _rows(num_queries: int, num_keys: int, span: int, farthest: int | None, device: torch.device) -> Tensor:
    back = -_distances(num_queries, num_keys, device)  # DeBERTa counts to the left
    if farthest is not None:
        back = log_buckets(back, span, farthest)
    return (back + span).clamp(0, 2 * span - 1)


class DisentangledAttention(BiasedAttention):
    """Attention of contents with contents, contents with distances and distances with contents (DeBERTa, equation 4).

    The projections of queries and keys serve contents and distances alike (`share_att_key` of its configs).

    Args:
        hidden_size: H, a multiple of `num_heads`.
        num_heads: N.
        dropout: rate on the attention weights.
        site: dropout's number in the network.
    """

    def __init__(self, hidden_size: int, num_heads: int, *, dropout: float, site: int) -> None:
        super().__init__(hidden_size, num_heads, dropout=dropout, site=site)
        self.scale = 1.0 / math.sqrt(3 * (hidden_size // num_heads))

    def bias(self, vectors: Tensor, relative: RelativeVectors) -> Bias:
        """Return both terms with distances.

        Args:
            vectors: (R, H) of the distances.
            relative: which of them belongs to a query and a key.
        """
        scale, heads = self.scale, self.num_heads
        assert scale is not None
        query_of, key_of, _ = (part.transpose(0, 1) for part in self.project(vectors))  # (N, R, D)

        def bias(query: Tensor, key: Tensor) -> Tensor:
            rows = relative.rows(query.shape[1], key.shape[1], query.device)  # (Q, S)
            groups = query.shape[0] // heads
            content = query @ key_of.repeat(groups, 1, 1).transpose(1, 2)  # (G*N, Q, R)
            place = key @ query_of.repeat(groups, 1, 1).transpose(1, 2)  # (G*N, S, R)
            forward = content.gather(2, rows.expand(len(query), *rows.shape))
            backward = place.gather(2, rows.T.expand(len(key), *rows.T.shape)).transpose(1, 2)
            return (forward + backward) * scale

        return bias


class DisentangledBlock(BiasedBlock):
    """A post-norm layer with disentangled attention. Arguments as in `Block`."""

    _SITE = 500_000  # of the dropout on distances, added to the layer's own

    def __init__(self, *sizes: int, dropout: float, site: int, **settings: Any) -> None:
        super().__init__(*sizes, dropout=dropout, site=site, **settings)
        self.relative_dropout = Dropout(dropout, site=site + self._SITE)

    def attend_with(self, hidden_size: int, num_heads: int, dropout: float, site: int) -> SelfAttention:
        """Make the attention of this layer."""
        return DisentangledAttention(hidden_size, num_heads, dropout=dropout, site=site)

    def bias(self, vectors: Tensor, relative: RelativeVectors, noise: Noise | None) -> Bias:
        """Return the bias of this layer's scores, from the (R, H) vectors of the distances."""
        attention: Any = self.attention
        bias: Bias = attention.bias(self.relative_dropout(vectors, noise, "none"), relative)
        return bias
