"""The packed batch in numpy: what tasks encode and decode. `batch.py` has the same in torch, for networks and losses.

All sequences are concatenated in flat arrays, and `offsets` hold the start of each. This file never imports torch.

Shapes: T tokens, B sequences, I items, N texts, S tokens in the longest sequence, M slots, H hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Pooling = Literal["mean", "cls", "max"]
"""How a text's vector comes from those of its tokens."""
Values = TypeVar("Values")
"""An array or a tensor."""


@dataclass(frozen=True, eq=False)
class Packed:
    """The arrays of a batch; `Batch` says what each of them is."""

    tokens: NDArray[np.int64]
    """(T,)."""
    segments: NDArray[np.int64]
    """(T,)."""
    positions: NDArray[np.int64]
    """(T,)."""
    offsets: NDArray[np.int32]
    """(B+1,)."""
    rows: NDArray[np.int64]
    """(B,)."""
    max_length: int
    """S."""
    targets: dict[str, NDArray[Any]] = field(default_factory=dict)
    """By names that begin with their first axis: item, sequence, token or slot."""
    target: Packed | None = None
    """The decoder's side of a sequence-to-sequence batch."""
    causal: bool = False
    """Whether each token attends only to itself and earlier tokens of its sequence."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def num_tokens(self) -> int:
        """T, the number of tokens."""
        return len(self.tokens)

    @property
    def num_items(self) -> int:
        """I, the number of items."""
        return int(self.rows[-1]) + 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(B,), the number of tokens of each sequence."""
        return np.diff(self.offsets).astype(np.int64)

    @property
    def token_rows(self) -> NDArray[np.int64]:
        """(T,), the item of each token."""
        return np.repeat(self.rows, self.lengths)

    @classmethod
    def pack(
        cls,
        tokens: Any,
        segments: Any,
        offsets: Any,
        *,
        rows: Any = None,
        targets: Mapping[str, Any] | None = None,
        target: Packed | None = None,
        causal: bool = False,
    ) -> Packed:
        """Build a batch from flat arrays and compute its positions; the arguments are those of `Batch.pack`.

        Raises:
            ValueError: offsets or segments don't fit the tokens.
        """
        flat, edges = np.asarray(tokens, np.int64), np.asarray(offsets, np.int32)
        lengths = np.diff(edges)
        num_sequences = len(lengths)
        if num_sequences == 0 or edges[0] != 0 or edges[-1] != flat.shape[0] or lengths.min() < 1:
            raise ValueError(
                f"offsets must rise from 0 to {flat.shape[0]} with no empty sequence; got {edges.tolist()}"
            )
        positions = np.arange(flat.shape[0]) - np.repeat(edges[:-1].astype(np.int64), lengths)
        halves = np.asarray(segments, np.int64)
        if halves.shape != flat.shape:
            raise ValueError(f"{flat.shape[0]} tokens need as many segments; got {halves.shape}")
        return cls(
            tokens=flat,
            segments=halves,
            positions=positions,
            offsets=edges,
            rows=np.arange(num_sequences) if rows is None else np.asarray(rows, np.int64),
            max_length=int(lengths.max()),
            targets={name: _array(value) for name, value in (targets or {}).items()},
            target=target,
            causal=causal,
        )

    def item_means(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Average (B, ...) values over the sequences of each item: (I, ...)."""
        if self.num_items == len(self):
            return values
        counts = np.bincount(self.rows, minlength=self.num_items)
        sums = np.add.reduceat(values, np.cumsum(counts) - counts, axis=0)
        counted: NDArray[np.float32] = counts.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
        return (sums / counted).astype(np.float32, copy=False)

    def unpack(self, values: NDArray[Any], *, padding: float = 0.0) -> NDArray[Any]:
        """Return (T, ...) values as (B, S, ...), short sequences filled with `padding`."""
        padded = np.full((len(self), self.max_length, *values.shape[1:]), padding, values.dtype)
        padded[self.places] = values
        return padded

    @property
    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of each token in padded arrays (B, S): (T,) each."""
        lengths = self.lengths
        rows = np.repeat(np.arange(len(self)), lengths)
        return rows, np.arange(self.num_tokens) - np.repeat(self.offsets[:-1].astype(np.int64), lengths)

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Packed:
        """Return the sequences at `indices`, in that order; see `Batch.select`."""
        chosen = selection(self.offsets, self.rows, self.targets.get("slot.position"), indices)
        return replace(
            self,
            tokens=self.tokens[chosen.tokens],
            segments=self.segments[chosen.tokens],
            positions=self.positions[chosen.tokens],
            offsets=chosen.offsets,
            rows=chosen.rows,
            max_length=int(np.diff(chosen.offsets).max()),
            targets=chosen.of_targets(self.targets, lambda value, index: value[index]),
            target=None if self.target is None else self.target.select(chosen.sequences),
        )


@dataclass(frozen=True, eq=False)
class Selection:
    """Where the values of some sequences of a batch are, as indices along each axis, and their places afterwards."""

    sequences: NDArray[np.int64]
    """Indices of the sequences."""
    tokens: NDArray[np.int64]
    """Indices of their tokens."""
    items: NDArray[np.int64]
    """Indices of their items."""
    slots: NDArray[np.int64] | None
    """Indices of their slots."""
    positions: NDArray[np.int64] | None
    """The slots' new positions, ascending."""
    offsets: NDArray[np.int32]
    """The new offsets."""
    rows: NDArray[np.int64]
    """The new index of each sequence's item."""

    def of_targets(
        self, targets: Mapping[str, Values], take: Callable[[Values, NDArray[np.int64]], Values]
    ) -> dict[str, Any]:
        """Select from each target along its own axis, by a function of (target, indices)."""
        along = {"item": self.items, "sequence": self.sequences, "token": self.tokens}
        selected: dict[str, Any] = {}
        for name, value in targets.items():
            axis = name.partition(".")[0]
            if name == "slot.position":
                selected[name] = self.positions
            elif axis in along:
                selected[name] = take(value, along[axis])
            else:
                assert self.slots is not None, f"target {name} needs slot.position"
                selected[name] = take(value, self.slots)
        return selected


def selection(
    offsets: NDArray[np.int32],
    rows: NDArray[np.int64],
    positions: NDArray[np.int64] | None,
    indices: Sequence[int] | NDArray[np.int64],
) -> Selection:
    """Find the values of the sequences at `indices`. Sequences of one item must be adjacent there.

    Args:
        offsets: (B+1,) of the whole batch.
        rows: (B,) of the whole batch.
        positions: (M,) of its slots; None if it has none.
        indices: of the sequences.
    """
    chosen = np.asarray(indices, np.int64)
    starts, lengths = offsets[:-1].astype(np.int64)[chosen], np.diff(offsets)[chosen]
    edges = np.zeros(len(chosen) + 1, np.int32)
    np.cumsum(lengths, out=edges[1:])
    source = np.arange(edges[-1]) + np.repeat(starts - edges[:-1], lengths)
    old_rows = rows[chosen]
    begins_item = np.ones(len(chosen), np.bool_)
    begins_item[1:] = old_rows[1:] != old_rows[:-1]
    slots = moved = None
    if positions is not None:
        new_index = np.full(int(offsets[-1]), -1, np.int64)
        new_index[source] = np.arange(len(source))
        moved = new_index[positions]
        slots = np.flatnonzero(moved >= 0)
        slots = slots[np.argsort(moved[slots], kind="stable")]
        moved = moved[slots]
    return Selection(
        chosen, source, old_rows[begins_item], slots, moved, edges, np.cumsum(begins_item, dtype=np.int64) - 1
    )


def groups(offsets: NDArray[np.int32], units: NDArray[np.int64], max_tokens: int) -> list[NDArray[np.int64]]:
    """Divide consecutive sequences into groups of at most `max_tokens` tokens; a larger unit is a group by itself.

    Args:
        offsets: (B+1,).
        units: (B,) index of what each sequence belongs to and must not be divided, from 0, non-decreasing.
        max_tokens: tokens of a group.

    Returns:
        The indices of each group's sequences.
    """
    sizes = np.bincount(units, weights=np.diff(offsets)).astype(np.int64).tolist()
    numbers = [0]  # the group of each unit
    room = max_tokens - sizes[0]
    for size in sizes[1:]:
        fits = size <= room
        room = room - size if fits else max_tokens - size
        numbers.append(numbers[-1] + (not fits))
    group_of = np.array(numbers)[units]
    return np.split(np.arange(len(units)), np.flatnonzero(np.diff(group_of)) + 1)


def first_sequences(batch: Packed) -> NDArray[np.int64]:
    """Return the index of each text's first sequence, (N,), as `nn.pooling.first_sequences` does."""
    begins = np.ones(len(batch), np.bool_)
    if "sequence.side" in batch.targets and batch.num_items < len(batch):
        begins[1:] = (np.diff(batch.rows) != 0) | (np.diff(batch.targets["sequence.side"]) != 0)
    return np.flatnonzero(begins)


def pool(values: NDArray[np.float32], batch: Packed, pooling: Pooling, *, normalized: bool) -> NDArray[np.float32]:
    """Pool (T, H) vectors to one vector a text, (N, H), as `nn.pooling.TextPooling` does."""
    heads = first_sequences(batch)
    shares, edges = batch.targets.get("token.share"), batch.offsets[heads].astype(np.int64)
    if pooling == "cls":
        values, shares, edges = values[batch.offsets[:-1]], None, heads
    if pooling == "max":
        pooled = np.maximum.reduceat(values, edges)
    elif shares is None:
        lengths = np.diff(np.append(edges, len(values)))[:, None]
        pooled = np.add.reduceat(values, edges) / lengths.astype(np.float32)
    else:
        pooled = np.add.reduceat(values * shares[:, None], edges) / np.add.reduceat(shares, edges)[:, None]
    if normalized:
        pooled = pooled / np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), np.float32(1e-12))
    return pooled.astype(np.float32, copy=False)


def as_array(values: Any) -> NDArray[Any]:
    """Return outputs as an array: numpy as they are, a tensor in fp32. One on the CPU in fp32 shares its memory."""
    if isinstance(values, np.ndarray):
        return values
    array: NDArray[Any] = values.detach().float().cpu().numpy()
    return array


def _array(value: Any) -> NDArray[Any]:
    """Return an array of a target. Python's floats become fp32, as in torch."""
    if hasattr(value, "dtype"):
        return np.asarray(value)
    array = np.asarray(value)
    return array.astype(np.float32) if array.dtype == np.float64 else array
