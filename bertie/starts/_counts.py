"""Count how often pieces occur in a corpus, and how often pairs of them occur near each other.

Each count takes one pass and constant memory. Of a large corpus only an evenly spread share is read. Pairs never cross
the end of a document. Counts are integers, so the order of addition makes no difference.

Shapes: V vocabulary, R rows, C contexts, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertie import progress
from bertie.corpus.shards import Corpus
from bertie.corpus.spread import document_begins, parts

REACH = 5
"""Largest distance, in tokens, at which two pieces count as near."""
_WEIGHTS = (60, 30, 20, 15, 12)  # 60 / distance
_LONG = 5_000_000  # tokens; counting more takes seconds
_CELLS = 1 << 26  # the most in all tables together, 4 bytes each
_MOST_CONTEXTS = 4096
_FEWEST_CONTEXTS = 512
_SEEN = 5  # a piece must occur more often for its neighbours to be informative

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pieces:
    """Counts of the pieces in the tokens that were read from a corpus."""

    occurrences: Integers
    """(V,) count of each piece."""
    tokens: int
    """Number of tokens read."""
    documents: int
    """Number of documents that begin in these tokens."""

    @property
    def rows(self) -> Integers:
        """(R,) ids of the pieces that occur often enough, ascending."""
        return np.flatnonzero(self.occurrences > _SEEN)

    def contexts(self, tables: int) -> Integers:
        """Return (C,) ids of the most frequent rows, most frequent first, as many as so many tables have room for."""
        rows = self.rows
        room = min(_MOST_CONTEXTS, max(_FEWEST_CONTEXTS, _CELLS // tables // max(1, len(rows))))
        return rows[np.argsort(-self.occurrences[rows], kind="stable")][:room]


def count_pieces(corpus: Corpus) -> Pieces:
    """Count the pieces of a corpus, or of an evenly spread share of a large one."""
    occurrences, tokens, documents = np.zeros(corpus.vocab_size, np.int64), 0, 0
    begins = document_begins(corpus)
    for start, stop in parts(corpus):
        occurrences += np.bincount(corpus.gather([start], [stop - start]), minlength=corpus.vocab_size)
        tokens += stop - start
        documents += int(np.diff(np.searchsorted(begins, [start, stop]))[0])
    return Pieces(occurrences, tokens, documents)


def count_pairs(corpus: Corpus, pieces: Pieces, *, beside: bool) -> list[Tensor]:
    """Count how often each context occurs near each piece.

    Args:
        corpus: prepared text.
        pieces: counts of its pieces.
        beside: count only direct neighbours, in one table for each side. Otherwise count all within `REACH` in one
            table, weighted by 1 / distance.

    Returns:
        Tables (R, C) of int32: one for both sides, or one for the left and one for the right side.
    """
    sides = 2 if beside else 1
    rows, contexts = pieces.rows, pieces.contexts(sides)
    row_of, context_of = np.full((2, corpus.vocab_size), -1)
    row_of[rows], context_of[contexts] = np.arange(len(rows)) * len(contexts), np.arange(len(contexts))
    tables = [torch.zeros(len(rows) * len(contexts), dtype=torch.int32) for _ in range(sides)]
    weights = (1,) if beside else _WEIGHTS
    begins = document_begins(corpus)
    title = "Counting neighbours" if beside else "Counting words near each other"
    quick = pieces.tokens < _LONG  # too short for a progress bar
    with (
        progress.Bar(title, total=None, unit="")
        if quick
        else progress.bar(title, total=pieces.tokens, unit="tokens") as bar
    ):
        for start, stop in parts(corpus):
            end = min(stop + len(weights), corpus.num_tokens)
            tokens = corpus.gather([start], [end - start])
            first, last = np.searchsorted(begins, [start, end])
            documents = np.zeros(end - start, np.int32)
            documents[begins[first:last] - start] = 1
            np.cumsum(documents, out=documents)
            row, column = row_of[tokens], context_of[tokens]
            for distance, weight in enumerate(weights, 1):
                count = min(stop - start, len(tokens) - distance)
                left, right = slice(0, count), slice(distance, distance + count)
                crosses = documents[left] != documents[right]  # the end of a document
                for table, piece, context in ((tables[0], right, left), (tables[-1], left, right)):
                    cell = row[piece] + column[context]
                    cell = cell[(row[piece] >= 0) & (column[context] >= 0) & ~crosses]
                    _add(table, cell, weight)
            bar.advance(stop - start)
    return [table.view(len(rows), len(contexts)) for table in tables]


def _add(table: Tensor, cells: Integers, weight: int) -> None:
    """Add a weight to each cell, once for each time that it occurs in `cells`."""
    table.scatter_add_(0, torch.from_numpy(cells), torch.tensor(weight, dtype=torch.int32).expand(len(cells)))
