"""A corpus in memory, with what plans and samplers look at."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest


class MemoryCorpus:
    """Documents as lists of sentence lengths; token number n is 5 + n % 90."""

    def __init__(self, documents: list[list[int]]) -> None:
        lengths = [length for document in documents for length in document]
        self.sentence_lengths = np.asarray(lengths, np.int64)
        self.sentence_starts = np.concatenate([[0], np.cumsum(self.sentence_lengths)]).astype(np.int64)
        self.document_offsets = np.cumsum([0, *(len(document) for document in documents)]).astype(np.int64)
        self.num_documents = len(documents)
        self.num_tokens = int(self.sentence_starts[-1])
        self.tokens = 5 + np.arange(self.num_tokens, dtype=np.int64) % 90

    def gather(self, starts: Any, lengths: Any) -> Any:
        """Concatenate token ranges."""
        parts = [self.tokens[start : start + length] for start, length in zip(starts, lengths, strict=True)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def gather_words(self, starts: Any, lengths: Any) -> None:
        """No words were looked for."""


@pytest.fixture(scope="session")
def memory_corpus() -> Callable[[list[list[int]]], Any]:
    """Make a corpus of documents given as sentence lengths."""
    return MemoryCorpus


@pytest.fixture(scope="session")
def generated(memory_corpus: Callable[[list[list[int]]], Any]) -> Any:
    """Some 3,000 documents of 1 to 40 sentences."""
    draw = np.random.default_rng(0)
    return memory_corpus([draw.integers(1, 60, draw.integers(1, 41)).tolist() for _ in range(3000)])
