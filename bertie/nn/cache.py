"""The cache of a decoder: keys and values of the tokens generated so far, and of the source.

All rows of a cache have the same length: they start with a start token and grow by one token a step. Each item has K
rows, its beams or samples, which share one copy of the item's source. A prompt that is continued has no source: its
keys and values fill the first positions of its rows, with shorter prompts padded.

Shapes: I items, K rows an item, R = I x K rows, N heads, D head size, C capacity, L length, S longest source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

_FIRST_CAPACITY = 32


@dataclass(frozen=True, eq=False)
class LayerCache:
    """Keys and values of one layer."""

    keys: Tensor
    """(R, N, C, D); the first L positions are filled."""
    values: Tensor
    """(R, N, C, D)."""
    source_keys: Tensor
    """(I, N, S, D)."""
    source_values: Tensor
    """(I, N, S, D)."""

    @classmethod
    def begin(cls, source_keys: Tensor, source_values: Tensor, rows_per_item: int) -> Self:
        """Return a cache of length 0 with the (I, N, S, D) keys and values of the source."""
        items, heads, _, size = source_keys.shape
        empty = source_keys.new_empty(items * rows_per_item, heads, _FIRST_CAPACITY, size)
        return cls(empty, torch.empty_like(empty), source_keys, source_values)

    @classmethod
    def after(cls, keys: Tensor, values: Tensor, rows_per_item: int) -> Self:
        """Return a cache without a source that starts with the (I, N, L, D) keys and values of the prompts."""
        none = keys[:, :, :0]
        keys, values = (torch.cat([part, torch.empty_like(part)], dim=2) for part in (keys, values))
        keys, values = (part.repeat_interleave(rows_per_item, dim=0) for part in (keys, values))
        return cls(keys, values, none, none)

    def append(self, key: Tensor, value: Tensor, length: int) -> Self:
        """Return a cache of length L + 1. It shares the memory of this one if there is room.

        Args:
            key: (R, N, D), of the newest token.
            value: (R, N, D).
            length: L.
        """
        keys, values = self.keys, self.values
        if length == keys.shape[2]:
            keys, values = (torch.cat([part, torch.empty_like(part)], dim=2) for part in (keys, values))
        keys[:, :, length] = key
        values[:, :, length] = value
        return replace(self, keys=keys, values=values)


@dataclass(frozen=True, eq=False)
class Cache:
    """The cache of all layers of a decoder after L tokens."""

    layers: tuple[LayerCache, ...]
    length: int
    """L."""
    hidden: Tensor | None
    """(I, 1, 1, S) True past an item's source or, without one, from its prompt's last token on; None if nowhere."""

    def follow(self, parents: Tensor) -> Cache:
        """Return a cache whose row r is this cache's row `parents[r]` (R,), which belongs to the same item."""
        return replace(
            self,
            layers=tuple(
                replace(layer, keys=layer.keys[parents], values=layer.values[parents]) for layer in self.layers
            ),
        )

    def keep(self, items: Tensor) -> Cache:
        """Return a cache of the items at indices `items` only."""
        rows_per_item = self.layers[0].keys.shape[0] // self.layers[0].source_keys.shape[0]
        rows = (items[:, None] * rows_per_item + torch.arange(rows_per_item, device=items.device)).flatten()
        kept = self.follow(rows)
        layers = tuple(
            replace(layer, source_keys=layer.source_keys[items], source_values=layer.source_values[items])
            for layer in kept.layers
        )
        hidden = None if self.hidden is None else self.hidden[items]
        return replace(kept, layers=layers, hidden=hidden)
