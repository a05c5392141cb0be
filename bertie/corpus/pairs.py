"""How often tokens follow one another in a corpus, counted in one pass over a bounded part of it.

A pair is two tokens that stand side by side in one document. The counts are sparse: memory grows with the number of
different pairs among the tokens that are read, and not with the square of the vocabulary.

Shapes: V vocabulary, P different pairs, R ranges.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.corpus.shards import Corpus
from bertie.corpus.spread import document_begins, parts

_AT_ONCE = 16  # parts

Integers = NDArray[np.int64]
Small = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class PairCounts:
    """How often each token and each pair was met."""

    tokens: Integers
    """(V,) how often each token was met."""
    keys: NDArray[Any]
    """(P,) rising: left token x V + right token."""
    counts: Integers
    """(P,) how often each pair was met; none is 0."""

    @property
    def vocab_size(self) -> int:
        """V."""
        return len(self.tokens)

    @cached_property
    def left(self) -> Small:
        """(P,) the first token of each pair."""
        return (self.keys // self.vocab_size).astype(np.int32)

    @cached_property
    def right(self) -> Small:
        """(P,) the second token of each pair."""
        return (self.keys % self.vocab_size).astype(np.int32)

    @cached_property
    def by_left(self) -> Integers:
        """(V+1,) where the pairs begin whose first token is each one."""
        return np.searchsorted(self.left, np.arange(self.vocab_size + 1))

    @cached_property
    def order(self) -> Small:
        """(P,) the pairs in the order of their second tokens."""
        return np.argsort(self.right, kind="stable").astype(np.int32)

    @cached_property
    def by_right(self) -> Integers:
        """(V+1,) where, in `order`, the pairs begin whose second token is each one."""
        return np.searchsorted(self.right[self.order], np.arange(self.vocab_size + 1))

    def of(self, left: Integers, right: Integers) -> Integers:
        """Look up how often pairs were met, 0 for those that were not."""
        if not len(self.keys):
            return np.zeros(len(left), np.int64)
        wanted = (left * self.vocab_size + right).astype(self.keys.dtype)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.counts[place], 0)


def count_pairs(
    corpus: Corpus, *, most: int | None = None, without: tuple[Integers, Integers] | None = None
) -> PairCounts:
    """Count the tokens of a corpus and the pairs they form.

    Args:
        corpus: prepared text.
        most: tokens to read at most, some 20 million when not given; of a longer corpus, evenly spread parts.
        without: (starts, lengths), (R,) each: ranges of tokens that are left out.
    """
    size = corpus.vocab_size
    kind = np.uint32 if size <= 1 << 16 else np.uint64  # sorting small keys takes half the time
    tokens, found = np.zeros(size, np.int64), []
    begins = document_begins(corpus)
    for starts, stops in _spans(corpus, most):
        before = np.maximum(starts - 1, 0)  # the token before a span is the left one of its first pair, and no more
        ids = corpus.gather(before, stops - before)
        edges = np.concatenate([[0], np.cumsum(stops - before)])
        counted, parted = np.ones(len(ids), bool), np.zeros(len(ids), bool)
        counted[edges[:-1][before < starts]] = False
        parted[edges[:-1]] = True
        gone = np.zeros(len(ids), bool)
        for start, stop, edge in zip(before, stops, edges, strict=False):
            inside = begins[slice(*np.searchsorted(begins, [start, stop]))]
            parted[inside - start + edge] = True
            for low, high in _within(without, start, stop):
                gone[low - start + edge : high - start + edge] = True
        tokens += np.bincount(ids[counted & ~gone], minlength=size)
        joined = ~(parted[1:] | gone[1:] | gone[:-1])
        keys = (ids[:-1][joined] * size + ids[1:][joined]).astype(kind)
        found.append(np.unique(keys, return_counts=True))
    return PairCounts(tokens, *_merged(found))


def _spans(corpus: Corpus, most: int | None) -> Iterator[tuple[Integers, Integers]]:
    """Yield starts and stops of parts that don't overlap, some at a time."""
    spans = np.array(list(parts(corpus, most=most)))
    for first in range(0, len(spans), _AT_ONCE):
        yield spans[first : first + _AT_ONCE, 0], spans[first : first + _AT_ONCE, 1]


def _within(ranges: tuple[Integers, Integers] | None, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of ranges that lie between two places."""
    if ranges is None:
        return
    first, last = ranges[0], ranges[0] + ranges[1]
    for number in np.flatnonzero((first < stop) & (last > start)):
        yield max(int(first[number]), start), min(int(last[number]), stop)


def _merged(found: list[tuple[NDArray[Any], Integers]]) -> tuple[NDArray[Any], Integers]:
    """Add up the counts of equal keys."""
    keys = np.concatenate([part[0] for part in found])
    counts = np.concatenate([part[1] for part in found])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    return keys[first], np.add.reduceat(counts[order], first) if len(keys) else counts
