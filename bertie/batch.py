"""The packed batch: the input of every model.

All sequences are concatenated in flat tensors, and `offsets` hold the start of each. There is no padding and no
attention mask. `Batch.from_padded` reads padded tensors and `Batch.unpack` returns them, so that a bertie encoder
fits into any torch module.

Tasks encode into numpy arrays (`packed.py`). The tensors share their memory and are made at first use, so that a
batch for a network outside torch never imports torch.

Shapes: T tokens, B sequences, I items, S tokens in the longest sequence, M slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bertie.packed import Packed, groups, selection

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_TENSORS = ("tokens", "segments", "positions", "offsets", "rows")


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
        return self._stored.offsets.shape[0] - 1

    @property
    def num_tokens(self) -> int:
        """T, the number of tokens."""
        return self._stored.tokens.shape[0]

    @property
    def num_items(self) -> int:
        """I, the number of items."""
        return int(self._stored.rows[-1]) + 1

    @property
    def arrays(self) -> Packed:
        """The batch in numpy, on the CPU, where it shares its memory."""
        stored = self._stored
        if isinstance(stored, Packed):
            return stored
        if "_original" in vars(self):
            original: Packed = vars(self)["_original"]
            return original
        tensors = {name: getattr(stored, name).cpu().numpy() for name in _TENSORS}
        targets = {name: value.cpu().numpy() for name, value in stored.targets.items()}
        target = None if stored.target is None else stored.target.arrays
        return Packed(**tensors, max_length=stored.max_length, targets=targets, target=target, causal=stored.causal)

    @classmethod
    def of(cls, arrays: Packed) -> Batch:
        """Return the batch of some arrays. Its tensors, which share their memory, are made at first use."""
        batch = object.__new__(cls)
        target = None if arrays.target is None else cls.of(arrays.target)
        vars(batch).update(_arrays=arrays, max_length=arrays.max_length, target=target, causal=arrays.causal)
        return batch

    @property
    def _stored(self) -> Batch | Packed:
        """The arrays, or the batch itself once it has tensors."""
        stored: Batch | Packed = vars(self).get("_arrays", self)
        return stored

    if not TYPE_CHECKING:  # a type checker sees the fields

        def __getattr__(self, name: str) -> Any:
            """Make the tensors, which Python asks for here only as long as they don't exist."""
            arrays = vars(self).get("_arrays")
            if arrays is not None and name in (*_TENSORS, "targets"):
                from torch import from_numpy, inference_mode

                with inference_mode(False):  # the batch may be used in training later
                    made = {each: from_numpy(getattr(arrays, each)) for each in _TENSORS}
                    targets = {each: from_numpy(value) for each, value in arrays.targets.items()}
                vars(self).update(made, targets=targets)
                vars(self).pop("_arrays", None)
            if name not in vars(self):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return vars(self)[name]

    @property
    def lengths(self) -> Tensor:
        """(B,) int64, the number of tokens of each sequence."""
        return self.offsets.diff().long()

    @property
    def starts(self) -> Tensor:
        """(B,) int64, the flat index of each sequence's first token (`[CLS]`)."""
        return self.offsets[:-1].long()

    def item_means(self, values: Tensor) -> Tensor:
        """Average (B, ...) values over the sequences of each item: (I, ...)."""
        if self.num_items == len(self):
            return values
        import torch

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
        target: Batch | None = None,
        causal: bool = False,
    ) -> Batch:
        """Build a batch from flat arrays and compute its positions.

        Args:
            tokens: (T,) integers, numpy or torch.
            segments: (T,) integers.
            offsets: (B+1,) integers, ascending from 0 to T; no sequence may be empty.
            rows: (B,) integers; 0..B-1 when None.
            targets: arrays by name; see the class.
            target: the decoder's side.
            causal: see the class.

        Raises:
            ValueError: offsets or segments don't fit the tokens.
        """
        decoder = None if target is None else target.arrays
        return cls.of(Packed.pack(tokens, segments, offsets, rows=rows, targets=targets, target=decoder, causal=causal))

    @classmethod
    def column(cls, tokens: Tensor, positions: Tensor) -> Batch:
        """Pack (R,) tokens of R sequences at `positions` (R,), one token each: a step of generation."""
        import torch

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
        import torch

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
        import torch

        shape = (len(self), self.max_length, *values.shape[1:])
        padded = values.new_full(shape, padding)
        rows = torch.repeat_interleave(torch.arange(len(self), device=values.device), self.lengths)
        return padded.index_put((rows, self._positions_from_zero()), values)

    def begun_at(self, first: Tensor) -> Batch:
        """Return the batch with the positions of sequence b starting at `first[b]`; `first` is (B,)."""
        import torch

        shift = torch.repeat_interleave(first, self.lengths, output_size=self.num_tokens)
        return replace(self, positions=self._positions_from_zero() + shift)

    def begun_at_zero(self) -> Batch:
        """Return the batch with the positions of all sequences starting at 0, the default."""
        return replace(self, positions=self._positions_from_zero())

    def _positions_from_zero(self) -> Tensor:
        """Return the position of each token in its sequence, counted from 0: (T,)."""
        import torch

        starts = torch.repeat_interleave(self.starts, self.lengths, output_size=self.num_tokens)
        return torch.arange(self.num_tokens, device=starts.device) - starts

    def select(self, indices: Sequence[int] | NDArray[np.int64] | Tensor) -> Batch:
        """Return the sequences at `indices`, in that order, with their targets; items are renumbered from 0.

        Sequences of one item must be adjacent in `indices`.
        """
        wanted: Any = indices.cpu().numpy() if hasattr(indices, "cpu") else indices
        stored = self._stored
        if isinstance(stored, Packed):
            return Batch.of(stored.select(wanted))
        from torch import from_numpy

        device, slots = self.tokens.device, self.targets.get("slot.position")
        positions = None if slots is None else slots.cpu().numpy()
        chosen = selection(self.offsets.cpu().numpy(), self.rows.cpu().numpy(), positions, wanted)
        source = from_numpy(chosen.tokens).to(device)

        def take(value: Tensor, index: NDArray[np.int64]) -> Tensor:
            return value[source if index is chosen.tokens else from_numpy(index).to(value.device)]

        targets = chosen.of_targets(self.targets, take)
        if chosen.positions is not None:
            targets["slot.position"] = from_numpy(chosen.positions).to(device)
        return replace(
            self,
            tokens=self.tokens[source],
            segments=self.segments[source],
            positions=self.positions[source],
            offsets=from_numpy(chosen.offsets).to(device),
            rows=from_numpy(chosen.rows).to(device),
            max_length=int(np.diff(chosen.offsets).max()),
            targets=targets,
            target=None if self.target is None else self.target.select(chosen.sequences),
        )

    def split(self, max_tokens: int, *, whole_items: bool | None = None) -> list[Batch]:
        """Cut into batches of consecutive sequences with at most `max_tokens` tokens each.

        A sequence (or item) with more tokens gets a batch to itself.

        Args:
            max_tokens: tokens of a batch.
            whole_items: whether sequences of an item stay in one batch; if None, only where a target runs along items.
        """
        stored: Any = self._stored
        if whole_items is None:
            whole_items = any(name.startswith("item.") for name in stored.targets)
        offsets, rows = (
            each if isinstance(each, np.ndarray) else each.cpu().numpy() for each in (stored.offsets, stored.rows)
        )
        parts = groups(offsets, rows if whole_items else np.arange(len(self)), max_tokens)
        return [self] if len(parts) == 1 else [self.select(part) for part in parts]

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch on a device; copies to a GPU are asynchronous."""
        import torch

        wait = torch.device(device).type == "cpu"  # a copy to the CPU must be complete before it is read
        if wait and (isinstance(self._stored, Packed) or self.tokens.device.type == "cpu"):
            return self
        stored = self._stored
        moved = replace(
            self,
            tokens=self.tokens.to(device, non_blocking=not wait),
            segments=self.segments.to(device, non_blocking=not wait),
            positions=self.positions.to(device, non_blocking=not wait),
            offsets=self.offsets.to(device, non_blocking=not wait),
            rows=self.rows.to(device, non_blocking=not wait),
            targets={name: value.to(device, non_blocking=not wait) for name, value in self.targets.items()},
            target=None if self.target is None else self.target.to(device),
        )
        if isinstance(stored, Packed):
            vars(moved)["_original"] = stored  # so that decoding copies nothing back
        return moved
