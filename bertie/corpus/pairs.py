"""Count how often tokens follow each other in a corpus, in one pass over a bounded part of it.

A pair is two adjacent tokens of the same document. The counts are sparse: memory grows with the number of distinct
pairs, not with the square of the vocabulary.

Shapes: V vocabulary, P distinct pairs, R ranges.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.corpus.shards import Corpus
from bertie.corpus.spread import document_begins, parts

_AT_ONCE = 16  # parts read together

Integers = NDArray[np.int64]
Small = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class PairCounts:
    """The counts of tokens and pairs."""

    tokens: Integers
    """(V,) the count of each token."""
    keys: NDArray[Any]
    """(P,) left token x V + right token, ascending."""
    counts: Integers
    """(P,) the count of each pair, at least 1."""

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
        """(V+1,) for each token, the index of the first pair that begins with it."""
        return np.searchsorted(self.left, np.arange(self.vocab_size + 1))

    @cached_property
    def order(self) -> Small:
        """(P,) the indices of the pairs, sorted by their second tokens."""
        return np.argsort(self.right, kind="stable").astype(np.int32)

    @cached_property
    def by_right(self) -> Integers:
        """(V+1,) for each token, the index in `order` of the first pair that ends with it."""
        return np.searchsorted(self.right[self.order], np.arange(self.vocab_size + 1))

    def of(self, left: Integers, right: Integers) -> Integers:
        """Return the counts of pairs, 0 for pairs that do not occur."""
        if not len(self.keys):
            return np.zeros(len(left), np.int64)
        wanted = (left * self.vocab_size + right).astype(self.keys.dtype)
        index = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[index] == wanted, self.counts[index], 0)


def count_pairs(
    corpus: Corpus, *, most: int | None = None, without: tuple[Integers, Integers] | None = None
) -> PairCounts:
    """Count the tokens of a corpus and the pairs they form.

    Args:
        corpus: prepared text.
        most: the largest number of tokens to read, by default 20 million; of a longer corpus, evenly spread parts.
        without: (starts, lengths), (R,) each: ranges of tokens to leave out.
    """
    size = corpus.vocab_size
    dtype = np.uint32 if size <= 1 << 16 else np.uint64  # sorting small keys takes half the time
    tokens, counted_keys = np.zeros(size, np.int64), []
    begins = document_begins(corpus)
    for starts, stops in _spans(corpus, most):
        before = np.maximum(starts - 1, 0)  # the token before a span belongs to its first pair, but is not counted
        ids = corpus.gather(before, stops - before)
        edges = np.concatenate([[0], np.cumsum(stops - before)])
        counted, first = np.ones(len(ids), bool), np.zeros(len(ids), bool)  # first: of a span or document
        counted[edges[:-1][before < starts]] = False
        first[edges[:-1]] = True
        excluded = np.zeros(len(ids), bool)
        for start, stop, edge in zip(before, stops, edges, strict=False):
            inside = begins[slice(*np.searchsorted(begins, [start, stop]))]
            first[inside - start + edge] = True
            for low, high in _within(without, start, stop):
                excluded[low - start + edge : high - start + edge] = True
        tokens += np.bincount(ids[counted & ~excluded], minlength=size)
        paired = ~(first[1:] | excluded[1:] | excluded[:-1])
        keys = (ids[:-1][paired] * size + ids[1:][paired]).astype(dtype)
        counted_keys.append(np.unique(keys, return_counts=True))
    return PairCounts(tokens, *_merged(counted_keys))


def _spans(corpus: Corpus, most: int | None) -> Iterator[tuple[Integers, Integers]]:
    """Yield the starts and stops of non-overlapping parts, `_AT_ONCE` parts at a time."""
    spans = np.array(list(parts(corpus, most=most)))
    for first in range(0, len(spans), _AT_ONCE):
        yield spans[first : first + _AT_ONCE, 0], spans[first : first + _AT_ONCE, 1]


def _within(ranges: tuple[Integers, Integers] | None, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the intersections of ranges with [start, stop)."""
    if ranges is None:
        return
    first, last = ranges[0], ranges[0] + ranges[1]
    for number in np.flatnonzero((first < stop) & (last > start)):
        yield max(int(first[number]), start), min(int(last[number]), stop)


def _merged(counted: list[tuple[NDArray[Any], Integers]]) -> tuple[NDArray[Any], Integers]:
    """Add up the counts of equal keys."""
    keys = np.concatenate([part[0] for part in counted])
    counts = np.concatenate([part[1] for part in counted])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    return keys[first], np.add.reduceat(counts[order], first) if len(keys) else counts
