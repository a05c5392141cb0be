"""The decoder: masked self-attention, attention to the source, feed-forward ("Attention is all you need", 3.1).

Post-norm, as in the original and in BERT. The same weights run in two ways with the same results: over whole packed
sequences for training (`forward`), and token by token over a cache for generation (`begin`, `step`).

Shapes: T target tokens, S source tokens, R rows of the cache, I items, N heads, D head size, H hidden, M hidden size of
the source, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.nn.block import SelfAttention
from bertie.nn.cache import Cache, LayerCache
from bertie.nn.feedforward import Activation, FeedForward
from bertie.nn.logits import Logits
from bertie.ops.attention.attend import Layout, attend, attend_cached
from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.linear.op import Linear
from bertie.ops.normalise.op import add_and_normalise
from bertie.ops.rounding import pad_rows


class CrossAttention(nn.Module):
    """Multi-head attention from the target's tokens to the source's.

    Args:
        hidden_size: H, a multiple of `num_heads`.
        num_heads: N.
        memory_size: M.
        dropout: rate on the attention weights.
        site: dropout number of this layer in the network.
    """

    def __init__(self, hidden_size: int, num_heads: int, *, memory_size: int, dropout: float, site: int) -> None:
        super().__init__()
        self.num_heads, self.rate, self.site = num_heads, dropout, site
        self.query = Linear(hidden_size, hidden_size)
        self.kv = Linear(memory_size, 2 * hidden_size)
        self.output = Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, memory: Tensor, layout: Layout, noise: Noise | None) -> Tensor:
        """Map (T, H) and the source's hidden vectors (S, M) to (T, H)."""
        rate = self.rate if self.training else 0.0
        query = self.query(hidden).view(hidden.shape[0], self.num_heads, -1)
        seen = attend(query, *self.remember(memory), layout, dropout=rate, noise=noise, site=self.site)
        projected: Tensor = self.output(seen.flatten(1))
        return projected

    def remember(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of the source, (S, N, D) each."""
        key, value = self.kv(memory).view(memory.shape[0], 2, self.num_heads, -1).unbind(1)
        return key, value

    def step(self, hidden: Tensor, layer: LayerCache, mask: Tensor | None) -> Tensor:
        """Map (R, H) to (R, H); all rows of an item share its source."""
        items = layer.source_keys.shape[0]
        query = self.query(hidden).view(items, -1, self.num_heads, layer.source_keys.shape[3])  # (I, K, N, D)
        seen = attend_cached(query, layer.source_keys, layer.source_values, mask)
        projected: Tensor = self.output(seen.reshape(hidden.shape[0], -1))
        return projected


class DecoderBlock(nn.Module):
    """A post-norm block of the decoder.

    Args:
        hidden_size: H.
        num_heads: N.
        intermediate_size: of the feed-forward part.
        memory_size: M.
        activation: of the feed-forward part.
        dropout: rate on the three residual branches.
        attention_dropout: rate on the attention weights.
        layer_norm_eps: epsilon of the three LayerNorms.
        site: first of the five dropout numbers that the block uses.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        *,
        memory_size: int,
        activation: Activation,
        dropout: float,
        attention_dropout: float,
        layer_norm_eps: float,
        site: int,
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(hidden_size, num_heads, dropout=attention_dropout, site=site)
        self.attention_dropout = Dropout(dropout, site=site + 1)
        self.attention_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.cross_attention = CrossAttention(
            hidden_size, num_heads, memory_size=memory_size, dropout=attention_dropout, site=site + 2
        )
        self.cross_dropout = Dropout(dropout, site=site + 3)
        self.cross_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.feedforward = FeedForward(hidden_size, intermediate_size, activation)
        self.feedforward_dropout = Dropout(dropout, site=site + 4)
        self.feedforward_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def forward(self, hidden: Tensor, memory: Tensor, layout: Layout, cross: Layout, noise: Noise | None) -> Tensor:
        """Map (T, H) and the source's hidden vectors (S, M) to (T, H)."""
        seen = self.attention(hidden, layout, noise)
        hidden = add_and_normalise(hidden, seen, self.attention_norm, self.attention_dropout, noise)
        looked = self.cross_attention(hidden, memory, cross, noise)
        hidden = add_and_normalise(hidden, looked, self.cross_norm, self.cross_dropout, noise)
        return self._feed(hidden, noise)

    def step(self, hidden: Tensor, layer: LayerCache, length: int, mask: Tensor | None) -> tuple[Tensor, LayerCache]:
        """Map the newest tokens' (R, H) to (R, H) without dropout."""
        seen, layer = self.attention.step(hidden, layer, length)
        hidden = self.attention_norm(hidden + seen)
        hidden = self.cross_norm(hidden + self.cross_attention.step(hidden, layer, mask))
        return self._feed(hidden, None), layer

    def _feed(self, hidden: Tensor, noise: Noise | None) -> Tensor:
        narrowed = self.feedforward(hidden)
        return add_and_normalise(hidden, narrowed, self.feedforward_norm, self.feedforward_dropout, noise)


class Decoder(nn.Module):
    """Embeddings, decoder blocks and the output layer.

    Args:
        embeddings: maps a batch to (T, H).
        blocks: from the lowest up.
        token_logits: maps (T, H) to logits over the vocabulary.
        max_positions: tokens of the longest sequence.
    """

    def __init__(
        self, embeddings: nn.Module, blocks: Sequence[DecoderBlock], token_logits: nn.Module, *, max_positions: int
    ) -> None:
        super().__init__()
        self.embeddings, self.blocks, self.token_logits = embeddings, nn.ModuleList(blocks), token_logits
        self.max_positions = max_positions

    def forward(self, memory: Tensor, source: Batch, target: Batch, noise: Noise | None = None) -> Logits:
        """Predict the next token after every token of `target`.

        Args:
            memory: (S, M), the encoder's hidden vectors of `source`.
            source: B sequences.
            target: B sequences, T tokens in all.
            noise: key of the dropout draws; drawn from torch's generator when None in training mode.

        Returns:
            Logits of T rows.
        """
        if self.training and noise is None:
            noise = Noise.draw()
        noise = None if noise is None else noise.on_target()
        hidden = pad_rows(self.embeddings(target, noise), step=128)
        memory = pad_rows(memory, step=128)
        layout, cross = Layout.of(replace(target, causal=True)), Layout.cross(target, source)
        for block in self.blocks:
            hidden = block(hidden, memory, layout, cross, noise)
        logits: Logits = self.token_logits(hidden[: target.num_tokens])
        return logits

    def begin(self, memory: Tensor, source: Batch, rows_per_item: int = 1) -> Cache:
        """Return a cache of length 0 with the keys and values of `source`, and K rows for each of its sequences."""
        layers = []
        for block in _typed(self.blocks):
            parts = block.cross_attention.remember(memory)  # (S, N, D) each
            keys, values = (source.unpack(part).transpose(1, 2).contiguous() for part in parts)
            layers.append(LayerCache.begin(keys, values, rows_per_item))
        ended = torch.arange(source.max_length, device=memory.device) >= source.lengths[:, None]  # (I, S)
        return Cache(tuple(layers), 0, ended[:, None, None] if bool(ended.any()) else None)

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Read one more token in every row.

        Args:
            tokens: (R,).
            cache: of length L.

        Returns:
            (R, V) logits of the next token, and the cache of length L + 1.
        """
        positions = torch.full_like(tokens, cache.length)
        hidden = self.embeddings(Batch.column(tokens, positions), None)  # (R, H)
        layers = []
        for block, layer in zip(_typed(self.blocks), cache.layers, strict=True):
            hidden, grown = block.step(hidden, layer, cache.length, cache.hidden)
            layers.append(grown)
        logits: Logits = self.token_logits(hidden)
        return logits.materialise(), replace(cache, layers=tuple(layers), length=cache.length + 1)


def _typed(blocks: Any) -> Sequence[DecoderBlock]:
    """Return the blocks of an `nn.ModuleList` under their own type."""
    layers: Sequence[DecoderBlock] = blocks
    return layers
