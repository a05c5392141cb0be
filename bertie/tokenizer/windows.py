"""Handle texts that are longer than a sequence: refuse them, truncate them, or slide a window over them.

A window moves by `stride` pieces (as in the original SQuAD code) until it reaches the end. A piece in several windows
belongs to the window that gives it most context: the largest min(pieces to its left, pieces to its right) + 0.01 x the
window's pieces. The first window wins ties.

Shapes: T tokens, B sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bertie.errors import DataError, SettingsError
from bertie.tokenizer.pieces import Pieces
from bertie.tokenizer.tokenizer import Tokenizer

Truncation = Literal["error", "truncate", "window"]
Slide = Literal["longer", "second"]


@dataclass(frozen=True, eq=False)
class Windows:
    """Packed sequences, each with the part of its item's sliding text that it shows."""

    pieces: Pieces
    """`truncated` is set on the first sequence of an item."""
    rows: NDArray[np.int64]
    """(B,) item of each sequence."""
    starts: NDArray[np.int64]
    """(B,) index in the sliding text of the first piece shown."""
    counts: NDArray[np.int64]
    """(B,) number of pieces shown of the sliding text."""
    places: NDArray[np.int64]
    """(B,) position in the sequence of the first of these pieces."""

    @property
    def shown(self) -> NDArray[np.int64]:
        """Flat position in (T,) of every shown piece of a sliding text, window after window."""
        begin = self.pieces.offsets[:-1] + self.places
        before = np.cumsum(self.counts) - self.counts
        return np.repeat(begin - before, self.counts) + np.arange(int(self.counts.sum()))

    def owned(self) -> NDArray[np.bool_]:
        """Return for each of `shown` whether the piece belongs to this window: (sum of counts,)."""
        owner = np.ones(int(self.counts.sum()), np.bool_)
        edges = np.concatenate([[0], np.cumsum(self.counts)])
        heads = np.flatnonzero(np.diff(self.rows, prepend=-1))
        for first, end in zip(heads, [*heads[1:], len(self.rows)], strict=True):
            if end - first == 1:
                continue
            # Go through the windows in order. Keep for each piece the best context so far and its index in `shown`.
            total = int((self.starts[first:end] + self.counts[first:end]).max())
            best, owner_index = np.full(total, -1.0), np.zeros(total, np.int64)
            for window in range(first, end):
                count, start = int(self.counts[window]), int(self.starts[window])
                index = np.arange(count)
                context = np.minimum(index, count - 1 - index) + 0.01 * count
                better = np.flatnonzero(context > best[start : start + count])
                best[start + better] = context[better]
                owner_index[start + better] = edges[window] + better
            owner[edges[first] : edges[end]] = False
            owner[owner_index] = True
        return owner

    def shares(self) -> NDArray[np.float32]:
        """Return the weight of each token in its item's mean, (T,): for a piece in several windows, they sum to 1."""
        if self.rows[-1] + 1 == len(self.rows):  # one window for each item
            return np.ones(len(self.pieces.tokens), np.float32)
        shares = np.repeat(1.0 / np.bincount(self.rows)[self.rows], self.pieces.lengths)
        shares[self.shown] = self.owned()
        return shares.astype(np.float32)


def spans(length: int, *, room: int, stride: int) -> list[tuple[int, int]]:
    """Cut `length` pieces into windows of at most `room` pieces: [start, end) of each, at least one.

    >>> spans(10, room=4, stride=3)
    [(0, 4), (3, 7), (6, 10)]

    Raises:
        SettingsError: the stride would skip pieces or never move.
    """
    if not 1 <= stride <= room:
        raise SettingsError(f"stride must be from 1 to {room}, the pieces of a window; got {stride}")
    starts = [0, *range(stride, max(0, length - room) + stride, stride)] if length > room else [0]
    return [(start, min(length, start + room)) for start in starts]


def lay_out(
    first: Sequence[Sequence[int]],
    second: Sequence[Sequence[int] | None],
    tokenizer: Tokenizer,
    *,
    max_length: int,
    truncation: Truncation,
    stride: int | None = None,
    slide: Slide = "longer",
    max_windows: int | None = None,
) -> Windows:
    """Make sequences of at most `max_length` tokens from texts, or pairs of texts, of any length.

    Args:
        first: pieces of the first texts.
        second: pieces of the second texts; None for an item with one text.
        tokenizer: tokenizer of these pieces.
        max_length: tokens of the longest sequence.
        truncation: whether to refuse longer items, cut them, or slide a window over them.
        stride: pieces from the start of one window to the next; half a window when None.
        slide: which text of a pair slides: the longer one, or always the second (a context). Every window shows the
            other one whole. If it fills more than half the room, it is cut to half and counted as cut.
        max_windows: largest number of windows of an item; the pieces after them are counted as cut.

    Raises:
        DataError: under `error`, the number of an item that is too long.
        SettingsError: the stride doesn't fit.
    """
    if truncation != "window":
        pieces = tokenizer.pack_ids(first, second, max_length=max_length, truncation=truncation)
        rows = np.arange(len(pieces))
        if all(other is None for other in second):
            return Windows(pieces, rows, np.zeros_like(rows), pieces.lengths.astype(np.int64) - 2, np.ones_like(rows))
        slides_second = np.array([other is not None and slide == "second" for other in second], np.bool_)
        places = np.where(slides_second, _second_places(pieces), 1)
        whole = np.bincount(np.repeat(rows, pieces.lengths), weights=pieces.segments, minlength=len(rows)).astype(int)
        firsts = pieces.lengths - whole - np.where(whole > 0, 1 + tokenizer.num_between, 2)
        counts = np.where(slides_second, whole - 1, firsts)
        return Windows(pieces, rows, np.zeros(len(rows), np.int64), counts, places)
    shown_first: list[Sequence[int]] = []
    shown_second: list[Sequence[int] | None] = []
    table: list[tuple[int, int, int, int, int]] = []  # row, start, count, start in the sequence, pieces cut
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        moves_second = b is not None and (slide == "second" or len(b) >= len(a))
        moving, still = (b or (), a) if moves_second else (a, b)
        room, cut = max_length - 2, 0
        if still is not None and b is not None:
            half = (max_length - 2 - tokenizer.num_between) // 2
            cut, still = max(0, len(still) - half), still[:half]
            room = max_length - 2 - tokenizer.num_between - len(still)
        parts = spans(len(moving), room=room, stride=min(room, stride or max(1, room // 2)))
        if max_windows is not None and len(parts) > max_windows:
            parts = parts[:max_windows]
            cut += len(moving) - parts[-1][1]
        text_start = 1 + tokenizer.num_between + len(still or ()) if moves_second else 1
        for number, (start, end) in enumerate(parts):
            shown_first.append(still or () if moves_second else moving[start:end])
            shown_second.append(moving[start:end] if moves_second else still)
            table.append((row, start, end - start, text_start, cut if number == 0 else 0))
    if not table:
        raise DataError("there is no item to lay out")
    rows, starts, counts, places, cuts = np.array(table, np.int64).T
    pieces = tokenizer.pack_ids(shown_first, shown_second, max_length=max_length)
    return Windows(Pieces(pieces.tokens, pieces.segments, pieces.offsets, cuts), rows, starts, counts, places)


def _second_places(pieces: Pieces) -> NDArray[np.int64]:
    """Return the position in each sequence where its second text begins (meaningless without one)."""
    return np.array(
        [
            int(np.searchsorted(pieces.segments[start:end], 1))
            for start, end in zip(pieces.offsets[:-1], pieces.offsets[1:], strict=True)
        ],
        np.int64,
    )
