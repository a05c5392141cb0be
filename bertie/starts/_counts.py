"""How often pieces of a corpus occur, and how often beside each other, in one pass and in constant memory.

Of a large corpus an evenly spread share is read. Pairs never reach over the end of a document. Everything is counted in
whole numbers, so the order in which it is added up makes no difference.

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
"""Places to either side that still count as near."""
_WEIGHTS = (60, 30, 20, 15, 12)  # 1 / distance, in sixtieths
_LONG = 5_000_000  # tokens whose counting takes seconds
_CELLS = 1 << 26  # of all tables at a time, 4 bytes each
_MOST_CONTEXTS = 4096
_FEWEST_CONTEXTS = 512
_SEEN = 5  # occurrences above which a piece's neighbours say something

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pieces:
    """How often each piece occurs in what is read of a corpus."""

    occurrences: Integers
    """(V,)."""
    tokens: int
    """Tokens read."""
    documents: int
    """Documents that begin in what is read."""

    @property
    def rows(self) -> Integers:
        """(R,) the pieces that occur often enough, in ascending order."""
        return np.flatnonzero(self.occurrences > _SEEN)

    def contexts(self, tables: int) -> Integers:
        """Return the (C,) commonest of them, commonest first, as many as that number of tables has room for."""
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
    """Count which contexts stand near which pieces.

    Args:
        corpus: what was counted already.
        pieces: of it.
        beside: whether only the very next places count, each side in a table of its own; otherwise all within `REACH`,
            the nearer the more.

    Returns:
        Tables (R, C) of int32: one of both sides, or the left and the right one.
    """
    sides = 2 if beside else 1
    rows, contexts = pieces.rows, pieces.contexts(sides)
    row_of, context_of = np.full((2, corpus.vocab_size), -1)
    row_of[rows], context_of[contexts] = np.arange(len(rows)) * len(contexts), np.arange(len(contexts))
    tables = [torch.zeros(len(rows) * len(contexts), dtype=torch.int32) for _ in range(sides)]
    weights = (1,) if beside else _WEIGHTS
    begins = document_begins(corpus)
    title = "Counting neighbours" if beside else "Counting words near each other"
    quick = pieces.tokens < _LONG  # over before there is something to see
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
            own, near = row_of[tokens], context_of[tokens]
            for distance, weight in enumerate(weights, 1):
                count = min(stop - start, len(tokens) - distance)
                left, right = slice(0, count), slice(distance, distance + count)
                apart = documents[left] != documents[right]
                for table, here, there in ((tables[0], right, left), (tables[-1], left, right)):
                    key = own[here] + near[there]
                    key = key[(own[here] >= 0) & (near[there] >= 0) & ~apart]
                    _add(table, key, weight)
            bar.advance(stop - start)
    return [table.view(len(rows), len(contexts)) for table in tables]


def _add(table: Tensor, keys: Integers, weight: int) -> None:
    """Add a weight to every cell as often as it is named."""
    table.scatter_add_(0, torch.from_numpy(keys), torch.tensor(weight, dtype=torch.int32).expand(len(keys)))
