"""Find exact and near duplicates among fingerprints; of equal or similar documents the first is kept.

Near duplicates come from locality-sensitive hashing (Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
chapter 3): signatures are cut into bands, and documents with an equal band are compared by their whole signatures. A
document is a near duplicate if its similarity to an earlier document that was kept reaches the threshold. So a chain of
ever less similar documents keeps more than its first.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from bertie.corpus.selection.fingerprints import HASHES

LEAST_SIMILARITY = 0.3
"""Below it, most pairs of documents would have to be compared."""
_FOUND = 0.99  # the least probability that two documents at the threshold share a band
_COMPARED = 4  # documents that a bucket of equal bands remembers: its first ones, and the latest
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying is one-to-one; equal keys are compared anyway

Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Shortened = npt.NDArray[np.uint16]
"""Signatures with the lowest 16 bits of each hash: unequal hashes look equal with a probability of 1.5e-5."""
Blocks = Callable[[], Iterator[Shortened]]
"""Reads the signatures of all documents from the beginning, block by block: (n, HASHES)."""


@dataclass(frozen=True, eq=False)
class Copies:
    """The duplicates found."""

    documents: Integers
    """(D,) their numbers, ascending."""
    kept: Integers
    """(D,) for each the number of the kept document that it repeats."""
    similarities: npt.NDArray[np.float32]
    """(D,) the estimated similarity to it."""


def exact_copies(digests: npt.NDArray[np.uint64], eligible: Mask) -> Copies:
    """Find documents whose normalized text equals that of an earlier one.

    Args:
        digests: (N, 2) the hash of each document.
        eligible: (N,) which documents to compare.
    """
    numbers = np.flatnonzero(eligible)
    low, high = digests[numbers, 0], digests[numbers, 1]
    order = np.lexsort((low, high))  # stable: equal documents stay in their order
    low, high, numbers = low[order], high[order], numbers[order]
    repeats = np.zeros(len(order), bool)
    repeats[1:] = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
    firsts = numbers[np.maximum.accumulate(np.where(repeats, 0, np.arange(len(order))))] if len(order) else numbers
    documents, kept = numbers[repeats], firsts[repeats]
    by_number = np.argsort(documents)
    return Copies(documents[by_number], kept[by_number], np.ones(len(documents), np.float32))


def near_copies(blocks: Blocks, eligible: Mask, similarity: float) -> Copies:
    """Find documents that are similar to an earlier one that is kept.

    Args:
        blocks: the signatures of all N documents; they are read several times.
        eligible: (N,) which documents to compare.
        similarity: the least estimated Jaccard similarity of duplicates.
    """
    documents, buckets = _shared_buckets(blocks, eligible, similarity)
    candidates, begins = np.unique(documents, return_index=True)
    signatures = _signatures_of(blocks, candidates)
    edges = [*begins.tolist(), len(documents)]
    remembered = np.full((int(buckets.max(initial=-1)) + 1, _COMPARED), -1, np.int32)
    found: list[tuple[int, int, float]] = []
    for candidate, (begin, end) in enumerate(pairwise(edges)):
        own = buckets[begin:end]
        earlier = np.unique(remembered[own])
        earlier = earlier[earlier >= 0]
        if len(earlier):
            estimates = (signatures[earlier] == signatures[candidate]).mean(axis=1)
            best = int(estimates.argmax())
            if estimates[best] >= similarity:
                found.append((candidate, int(earlier[best]), float(estimates[best])))
                continue
        free = np.minimum((remembered[own] >= 0).sum(axis=1), _COMPARED - 1)
        remembered[own, free] = candidate
    table = np.array(found, np.float64).reshape(-1, 3)
    copies, kept = (candidates[table[:, column].astype(np.int64)] for column in (0, 1))
    return Copies(copies, kept, table[:, 2].astype(np.float32))


def bands(similarity: float) -> tuple[int, int]:
    """Return the number of bands and the hashes of a band.

    Long bands find few unrelated pairs. These are the longest with which two documents at the threshold share a band
    with a probability of at least 0.99.

    >>> bands(0.8)
    (21, 6)
    """
    for rows in range(HASHES, 1, -1):
        count = HASHES // rows
        if 1 - (1 - similarity**rows) ** count >= _FOUND:
            return count, rows
    return HASHES, 1


def _shared_buckets(blocks: Blocks, eligible: Mask, similarity: float) -> tuple[Integers, Integers]:
    """Return for each band that a document shares with another: the document, ascending, and the bucket's number."""
    count, rows = bands(similarity)
    documents: list[Integers] = []
    buckets: list[Integers] = []
    num_buckets = 0
    keys = np.empty(len(eligible), np.uint64)
    for band in range(count):
        place = 0
        for block in blocks():
            part = keys[place : place + len(block)]
            part[:] = 0
            for column in range(band * rows, (band + 1) * rows):
                part *= _FACTOR
                part += block[:, column]
            place += len(block)
        numbers = np.flatnonzero(eligible)
        numbers = numbers[np.argsort(keys[numbers], kind="stable")]
        equal = keys[numbers[1:]] == keys[numbers[:-1]]
        shared = np.zeros(len(numbers), bool)
        shared[1:] |= equal
        shared[:-1] |= equal
        begins = np.ones(len(numbers), bool)
        begins[1:] = ~equal
        own = np.cumsum(begins[shared])
        documents.append(numbers[shared])
        buckets.append(num_buckets + own - 1)
        num_buckets += int(own[-1]) if len(own) else 0
    all_documents, all_buckets = np.concatenate(documents), np.concatenate(buckets)
    order = np.argsort(all_documents, kind="stable")
    return all_documents[order], all_buckets[order]


def _signatures_of(blocks: Blocks, numbers: Integers) -> Shortened:
    """Return the signatures of some documents, whose numbers ascend."""
    signatures: npt.NDArray[Any] = np.empty((len(numbers), HASHES), np.uint16)
    place = 0
    for block in blocks():
        begin, end = np.searchsorted(numbers, [place, place + len(block)])
        signatures[begin:end] = block[numbers[begin:end] - place]
        place += len(block)
    return signatures
