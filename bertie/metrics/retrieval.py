"""Scores of retrieval: how near the top each query's own answer ranks among all answers. Pure functions on vectors.

Shapes: I pairs, H hidden.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 512  # queries compared with all answers at a time; the table of scores is at most 512 x I


def unit(vectors: NDArray[Any]) -> NDArray[Any]:
    """Scale (..., H) vectors to length 1; a vector of zeros stays zero."""
    scaled: NDArray[Any] = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12).astype(
        vectors.dtype
    )
    return scaled


def ranks_of_own(
    queries: NDArray[np.float32], answers: NDArray[np.float32], query_groups: ArrayLike, answer_groups: ArrayLike
) -> NDArray[np.int64]:
    """Rank each query's own answer among all answers by dot product, 1 for the best.

    Another answer with an equal score ranks before the own answer, so that a model with equal vectors for all texts
    doesn't score well. Other right answers are left out: those of an equal query, and those equal to the own answer.

    Args:
        queries: (I, H).
        answers: (I, H), each query's own answer in the same row.
        query_groups: (I,) equal numbers for equal queries.
        answer_groups: (I,) equal numbers for equal answers.

    Returns:
        (I,) ranks.
    """
    query_of, answer_of = np.asarray(query_groups), np.asarray(answer_groups)
    ranks = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), _BLOCK):
        rows = slice(start, start + _BLOCK)
        scores = queries[rows] @ answers.T  # (block, I)
        own_scores = scores[np.arange(len(scores)), np.arange(start, start + len(scores))]
        right = (query_of[rows, None] == query_of) | (answer_of[rows, None] == answer_of)
        ranks[rows] = 1 + ((scores >= own_scores[:, None]) & ~right).sum(1)
    return ranks


def accuracy_at_1(ranks: NDArray[np.int64]) -> float:
    """Return the share of queries whose own answer has rank 1."""
    return float(np.mean(ranks == 1))


def mean_reciprocal_rank(ranks: NDArray[np.int64]) -> float:
    """Return the mean of 1 / rank."""
    return float(np.mean(1.0 / ranks))
