"""Choose the parts of a corpus to count: all of a small corpus, evenly spread parts of a large one."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from bertie.corpus.shards import Corpus

MOST_TOKENS = 20_000_000
"""The largest number of tokens to count: some seconds of work."""
_PART = 1 << 16  # tokens of one part


def parts(corpus: Corpus, *, most: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield the start and the end of each part, in tokens.

    Args:
        corpus: the corpus to count.
        most: the largest number of tokens in all parts, rounded down to whole parts; MOST_TOKENS by default.
    """
    total = -(-corpus.num_tokens // _PART)
    read = min(total, max(1, (MOST_TOKENS if most is None else most) // _PART))
    for number in range(read):
        start = number * total // read * _PART
        yield start, min(start + _PART, corpus.num_tokens)


def document_begins(corpus: Corpus) -> npt.NDArray[np.int64]:
    """Return the first token of each document."""
    begins: npt.NDArray[np.int64] = corpus.sentence_starts[corpus.document_offsets[:-1]]
    return begins
