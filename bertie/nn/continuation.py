"""Go on with texts by a stack of encoder layers that reads from the left: what a decoder is without a source.

It has the two verbs by which `search` writes (`begin`, `step`), over the encoder's own layers and weights, and holds no
parameters. The last token of a text is what is read first, so that every text, the shortest too, begins alike; its
place among what stands already is hidden.

Shapes: I texts, R rows that write, T tokens, S longest text, L tokens so far, N heads, D head size, H hidden,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.nn.attention import Layout
from bertie.nn.block import Block
from bertie.nn.cache import Cache, LayerCache
from bertie.nn.projection import Logits


@dataclass(frozen=True, eq=False)
class Continuation:
    """The parts of an encoder that write."""

    embeddings: nn.Module
    """From a batch to (T, H)."""
    blocks: Any
    """Of `Block`s, from the lowest up."""
    token_logits: nn.Module
    """From (T, H) to logits over the vocabulary, of the token that comes next."""
    max_positions: int
    """Tokens of the longest text, what is written included."""

    def begin(self, memory: Tensor, source: Batch, rows_per_item: int = 1) -> Cache:
        """Read texts, all but their last tokens, and return a cache with K rows for each of them.

        Args:
            memory: not looked at: keys and values of every layer are wanted, and hidden vectors are those of the last.
            source: the texts, without an end.
            rows_per_item: K.
        """
        del memory
        causal = replace(source, causal=True)
        hidden, layout = self.embeddings(causal, None), Layout.of(causal)
        layers = []
        for block in self._blocks:
            _, *parts = block.attention.project(hidden)
            keys, values = (source.unpack(part).transpose(1, 2) for part in parts)  # (I, N, S, D)
            layers.append(LayerCache.after(keys, values, rows_per_item))
            hidden = block(hidden, layout, None)
        last = source.lengths - 1
        ended = torch.arange(source.max_length, device=last.device) >= last[:, None]  # (I, S)
        return Cache(tuple(layers), source.max_length, ended[:, None, None])

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Read one more token in every row.

        Args:
            tokens: (R,).
            cache: of length L.

        Returns:
            What comes next, (R, V) logits, and the cache of length L + 1.

        Raises:
            ValueError: a text longer than the model takes.
        """
        assert cache.hidden is not None  # what `begin` made
        rows_per_item = tokens.shape[0] // cache.hidden.shape[0]
        ended = cache.hidden.repeat_interleave(rows_per_item, dim=0)  # (R, 1, 1, S)
        if cache.length > self.max_positions:
            raise ValueError(f"a text has more than the {self.max_positions} tokens that the model takes")
        places = cache.length - ended.flatten(1).sum(1)
        mask = nn.functional.pad(ended, (0, cache.length + 1 - ended.shape[3]))
        hidden = self.embeddings(Batch.column(tokens, places), None)  # (R, H)
        layers = []
        for block, layer in zip(self._blocks, cache.layers, strict=True):
            hidden, grown = block.step(hidden, layer, cache.length, mask)
            layers.append(grown)
        logits: Logits = self.token_logits(hidden)
        return logits.materialise(), replace(cache, layers=tuple(layers), length=cache.length + 1)

    @property
    def _blocks(self) -> Sequence[Block]:
        """`blocks`, which `nn.ModuleList` knows as modules only."""
        layers: Sequence[Block] = self.blocks
        return layers
