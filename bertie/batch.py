"""The packed batch: the input of every model.

All sequences are concatenated in flat tensors, and `offsets` hold the start of each. There is no padding and no
attention mask. `Batch.from_padded` reads padded tensors and `Batch.unpack` returns them, so that a bertie encoder
fits into any torch module.

Shapes: T tokens, B sequences, I items, S tokens in the longest sequence, M slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """Hold B sequences with T tokens in all, without padding.

    A target's name begins with its first axis: `item.` (I, ...), `sequence.` (B, ...), `token.` (T, ...) or `slot.`
    (M, ...). Slots are chosen tokens; `slot.position` (M,) holds their indices in the flat axis, ascending. A long text
    is one item in several sequences. Sequences of an item are adjacent, and if any target runs along items, they stay
    in the same batch.
    """

    tokens: Tensor
    """(T,) int64 token ids."""
    segments: Tensor
    """(T,) int64, 0 for the first text of a pair and 1 for the second."""
    positions: Tensor
    """(T,) int64 position of each token in its sequence, from 0 unless `begun_at` shifted it."""
    offsets: Tensor
    """(B+1,) int32, offsets[0] = 0 and offsets[-1] = T."""
    rows: Tensor
    """(B,) int64 index of each sequence's item, from 0, non-decreasing."""
    max_length: int
    """Length of the longest sequence."""
    targets: dict[str, Tensor] = field(default_factory=dict)
    """The right answers for the loss, by name; see the class docstring for the names."""
    target: Batch | None = None
    """The decoder's side of a sequence-to-sequence batch."""
    causal: bool = False
    """Whether each token attends only to itself and earlier tokens of its sequence."""

    def __len__(self) -> int:
        return self.offsets.shape[0] - 1

    @property
    def num_tokens(self) -> int:
        """T, the number of tokens."""
        return self.tokens.shape[0]

    @property
    def lengths(self) -> Tensor:
        """(B,) int64, the number of tokens of each sequence."""
        return self.offsets.diff().long()

    @property
    def starts(self) -> Tensor:
        """(B,) int64, the flat index of each sequence's first token (`[CLS]`)."""
        return self.offsets[:-1].long()

    @property
    def num_items(self) -> int:
        """I, the number of items."""
        return int(self.rows[-1]) + 1

    def item_means(self, values: Tensor) -> Tensor:
        """Average (B, ...) values over the sequences of each item: (I, ...)."""
        if self.num_items == len(self):
            return values
        sums = values.new_zeros(self.num_items, *values.shape[1:]).index_add(0, self.rows, values)
        counts = torch.bincount(self.rows, minlength=self.num_items)
        return sums / counts.view(-1, *[1] * (values.dim() - 1))

    @classmethod
    def pack(
        cls,
        tokens: Any,
        segments: Any,
        offsets: Any,
        *,
        rows: Any = None,
        targets: Mapping[str, Any] | None = None,
    ) -> Batch:
        """Build a batch from flat arrays and compute its positions.

        Args:
            tokens: (T,) integers, numpy or torch.
            segments: (T,) integers.
            offsets: (B+1,) integers, ascending from 0 to T; no sequence may be empty.
            rows: (B,) integers; 0..B-1 when None.
            targets: arrays by name; see the class.

        Raises:
            ValueError: offsets or segments don't fit the tokens.
        """
        flat = torch.as_tensor(tokens, dtype=torch.int64)
        edges = np.asarray(offsets, np.int32)  # for a single text numpy is several times quicker than torch
        lengths = np.diff(edges)
        num_sequences = len(lengths)
        if num_sequences == 0 or edges[0] != 0 or edges[-1] != flat.shape[0] or lengths.min() < 1:
            raise ValueError(
                f"offsets must rise from 0 to {flat.shape[0]} with no empty sequence; got {edges.tolist()}"
            )
        halves = torch.as_tensor(segments, dtype=torch.int64)
        if halves.shape != flat.shape:
            raise ValueError(f"{flat.shape[0]} tokens need as many segments; got {tuple(halves.shape)}")
        positions = np.arange(flat.shape[0]) - np.repeat(edges[:-1].astype(np.int64), lengths)
        return cls(
            tokens=flat,
            segments=halves,
            positions=torch.from_numpy(positions),
            offsets=torch.as_tensor(edges),
            rows=torch.arange(num_sequences) if rows is None else torch.as_tensor(rows, dtype=torch.int64),
            max_length=int(lengths.max()),
            targets={name: torch.as_tensor(value) for name, value in (targets or {}).items()},
        )

    @classmethod
    def column(cls, tokens: Tensor, positions: Tensor) -> Batch:
        """Pack (R,) tokens of R sequences at `positions` (R,), one token each: a step of generation."""
        count = tokens.shape[0]
        return cls(
            tokens=tokens,
            segments=torch.zeros_like(tokens),
            positions=positions,
            offsets=torch.arange(count + 1, dtype=torch.int32, device=tokens.device),
            rows=torch.arange(count, device=tokens.device),
            max_length=1,
        )

    @classmethod
    def from_padded(
        cls,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        *,
        left_padded: bool = False,
    ) -> Batch:
        """Remove the padding of (B, S) tensors such as Hugging Face models take.

        Args:
            input_ids: (B, S).
            attention_mask: (B, S), 1 on real tokens, which come first in each row; no padding when None.
            token_type_ids: (B, S) segment ids; all 0 when None.
            left_padded: whether padding may also come before the tokens of a row; `unpack` doesn't restore it.

        Raises:
            ValueError: a row has no tokens, or has padding before or between them.
        """
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        keep = mask.bool()
        lengths = keep.sum(1)
        expected = torch.arange(input_ids.shape[1], device=keep.device)[None, :] < lengths[:, None]
        if not (left_padded or torch.equal(keep, expected)) or not bool(lengths.all()):
            raise ValueError("attention_mask must be 1 on the left of every row, 0 on its right, with at least one 1")
        offsets = torch.zeros(len(lengths) + 1, dtype=torch.int32, device=keep.device)
        offsets[1:] = lengths.cumsum(0)
        segments = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        batch = cls.pack(input_ids[keep].cpu(), segments[keep].cpu(), offsets.cpu())
        return batch.to(input_ids.device)

    def unpack(self, values: Tensor, *, padding: float = 0.0) -> Tensor:
        """Return (T, ...) values as (B, S, ...), short sequences filled with `padding`."""
        shape = (len(self), self.max_length, *values.shape[1:])
        padded = values.new_full(shape, padding)
        rows = torch.repeat_interleave(torch.arange(len(self), device=values.device), self.lengths)
        return padded.index_put((rows, self._positions_from_zero()), values)

    def begun_at(self, first: Tensor) -> Batch:
        """Return the batch with the positions of sequence b starting at `first[b]`; `first` is (B,)."""
        shift = torch.repeat_interleave(first, self.lengths, output_size=self.num_tokens)
        return replace(self, positions=self._positions_from_zero() + shift)

    def begun_at_zero(self) -> Batch:
        """Return the batch with the positions of all sequences starting at 0, the default."""
        return replace(self, positions=self._positions_from_zero())

    def _positions_from_zero(self) -> Tensor:
        """Return the position of each token in its sequence, counted from 0: (T,)."""
        starts = torch.repeat_interleave(self.starts, self.lengths, output_size=self.num_tokens)
        return torch.arange(self.num_tokens, device=starts.device) - starts

    def select(self, indices: Sequence[int] | Tensor) -> Batch:
        """Return the sequences at `indices`, in that order, with their targets; items are renumbered from 0.

        Sequences of one item must be adjacent in `indices`.
        """
        chosen = torch.as_tensor(indices, dtype=torch.int64, device=self.tokens.device)
        lengths = self.lengths[chosen]
        offsets = torch.zeros(len(chosen) + 1, dtype=torch.int32, device=self.tokens.device)
        offsets[1:] = lengths.cumsum(0)
        within = torch.arange(int(offsets[-1]), device=offsets.device)
        within -= torch.repeat_interleave(offsets[:-1].long(), lengths)
        source = torch.repeat_interleave(self.starts[chosen], lengths) + within  # (T',) old index of each kept token
        old_rows = self.rows[chosen]
        starts_item = torch.ones_like(old_rows)
        starts_item[1:] = (old_rows.diff() != 0).long()  # 1 where a sequence starts a new item
        return replace(
            self,
            tokens=self.tokens[source],
            segments=self.segments[source],
            positions=self.positions[source],
            offsets=offsets,
            rows=starts_item.cumsum(0) - 1,
            max_length=int(lengths.max()),
            targets=self._select_targets(chosen, source, old_rows[starts_item.bool()]),
            target=None if self.target is None else self.target.select(chosen),
        )

    def _select_targets(self, chosen: Tensor, source: Tensor, items: Tensor) -> dict[str, Tensor]:
        """Select from each target along its own axis."""
        selected: dict[str, Tensor] = {}
        slots = None
        if "slot.position" in self.targets:
            new_index = torch.full((self.num_tokens,), -1, dtype=torch.int64, device=source.device)
            new_index[source] = torch.arange(len(source), device=source.device)
            moved = new_index[self.targets["slot.position"]]
            kept = (moved >= 0).nonzero().flatten()
            slots = kept[moved[kept].argsort()]
            selected["slot.position"] = moved[slots]
        for name, value in self.targets.items():
            axis = name.split(".")[0]
            if axis == "item":
                selected[name] = value[items]
            elif axis == "sequence":
                selected[name] = value[chosen]
            elif axis == "token":
                selected[name] = value[source]
            elif name != "slot.position":
                assert slots is not None, f"target {name} needs slot.position"
                selected[name] = value[slots]
        return selected

    def split(self, max_tokens: int, *, whole_items: bool | None = None) -> list[Batch]:
        """Cut into batches of consecutive sequences with at most `max_tokens` tokens each.

        A sequence (or item) with more tokens gets a batch to itself.

        Args:
            max_tokens: tokens of a batch.
            whole_items: whether sequences of an item stay in one batch; if None, only where a target runs along items.
        """
        if whole_items is None:
            whole_items = any(name.startswith("item.") for name in self.targets)
        unit = self.rows if whole_items else torch.arange(len(self), device=self.rows.device)
        sizes = torch.bincount(unit, weights=self.lengths.double()).long().tolist()
        batch_numbers = [0]  # the batch of each unit
        room = max_tokens - sizes[0]
        for size in sizes[1:]:
            fits = size <= room
            room = room - size if fits else max_tokens - size
            batch_numbers.append(batch_numbers[-1] + (not fits))
        if batch_numbers[-1] == 0:
            return [self]
        batch_of = torch.tensor(batch_numbers, device=unit.device)[unit]
        return [self.select((batch_of == number).nonzero().flatten()) for number in range(batch_numbers[-1] + 1)]

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device; copies to a GPU are asynchronous."""
        wait = torch.device(device).type == "cpu"  # a copy to the CPU must be complete before it is read
        if wait and self.tokens.device.type == "cpu":
            return self
        return replace(
            self,
            tokens=self.tokens.to(device, non_blocking=not wait),
            segments=self.segments.to(device, non_blocking=not wait),
            positions=self.positions.to(device, non_blocking=not wait),
            offsets=self.offsets.to(device, non_blocking=not wait),
            rows=self.rows.to(device, non_blocking=not wait),
            targets={name: value.to(device, non_blocking=not wait) for name, value in self.targets.items()},
            target=None if self.target is None else self.target.to(device),
        )
