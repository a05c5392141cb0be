"""Continue prompts with a causal encoder: the counterpart of a decoder that has no source.

It offers the two methods that `search` calls, `begin` and `step`, over the encoder's own blocks and weights, and has no
parameters. `begin` reads each prompt except its last token, and the first `step` reads that one. So prompts of any
length start in the same way. The position of the last token in the cached prompt is hidden.

Shapes: I prompts, R rows of the cache, T tokens, S longest prompt, L tokens so far, N heads, D head size, H hidden,
V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.nn.block import Block
from bertie.nn.cache import Cache, LayerCache
from bertie.nn.logits import Logits
from bertie.ops.attention.attend import Layout


@dataclass(frozen=True, eq=False)
class Continuation:
    """The parts of an encoder that generate text."""

    embeddings: nn.Module
    """Maps a batch to (T, H)."""
    blocks: Any
    """`Block`s, from the lowest up."""
    token_logits: nn.Module
    """Maps (T, H) to the logits of the next token."""
    max_positions: int
    """Tokens of the longest text, prompt and continuation together."""

    def begin(self, memory: Tensor, source: Batch, rows_per_item: int = 1) -> Cache:
        """Read the prompts except their last tokens, and return a cache with K rows for each prompt.

        Args:
            memory: ignored; it holds hidden vectors of the last block, and the cache needs keys and values of all.
            source: the prompts, without an end token.
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
            (R, V) logits of the next token, and the cache of length L + 1.

        Raises:
            ValueError: a text is longer than the model allows.
        """
        assert cache.hidden is not None  # `begin` always sets it
        rows_per_item = tokens.shape[0] // cache.hidden.shape[0]
        ended = cache.hidden.repeat_interleave(rows_per_item, dim=0)  # (R, 1, 1, S)
        if cache.length > self.max_positions:
            raise ValueError(f"a text has more than the {self.max_positions} tokens that the model takes")
        positions = cache.length - ended.flatten(1).sum(1)
        mask = nn.functional.pad(ended, (0, cache.length + 1 - ended.shape[3]))
        hidden = self.embeddings(Batch.column(tokens, positions), None)  # (R, H)
        layers = []
        for block, layer in zip(self._blocks, cache.layers, strict=True):
            hidden, grown = block.step(hidden, layer, cache.length, mask)
            layers.append(grown)
        logits: Logits = self.token_logits(hidden)
        return logits.materialise(), replace(cache, layers=tuple(layers), length=cache.length + 1)

    @property
    def _blocks(self) -> Sequence[Block]:
        """`blocks` under their own type."""
        layers: Sequence[Block] = self.blocks
        return layers
