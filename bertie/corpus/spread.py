"""Which parts of a corpus are counted: all of a small one, evenly spread parts of a large one."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bertie.corpus.shards import Corpus

MOST_TOKENS = 20_000_000
"""Tokens that are counted at most: some seconds of work."""
_PART = 1 << 16  # tokens without a gap


def parts(corpus: Corpus, *, most: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield where each part begins and where it stops, in tokens.

    Args:
        corpus: what is counted.
        most: tokens of all parts together, to the nearest part; MOST_TOKENS when not given.
    """
    total = -(-corpus.num_tokens // _PART)
    read = min(total, max(1, (MOST_TOKENS if most is None else most) // _PART))
    for number in range(read):
        start = number * total // read * _PART
        yield start, min(start + _PART, corpus.num_tokens)


def document_begins(corpus: Corpus) -> npt.NDArray[np.int64]:
    """Find where documents begin, in tokens."""
    begins: npt.NDArray[np.int64] = corpus.sentence_starts[corpus.document_offsets[:-1]]
    return begins
