"""Scores of finding one's own among many by likeness, as pure functions on vectors; numpy only.

Shapes: I pairs, H hidden.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 512  # rows compared with everything at a time: bounds the table of scores at 512 x I


def unit(vectors: NDArray[Any]) -> NDArray[Any]:
    """Scale (..., H) vectors to length 1; a vector of zeros stays one."""
    scaled: NDArray[Any] = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12).astype(
        vectors.dtype
    )
    return scaled


def ranks_of_own(
    queries: NDArray[np.float32], answers: NDArray[np.float32], query_groups: ArrayLike, answer_groups: ArrayLike
) -> NDArray[np.int64]:
    """Rank each query's own answer among the answers of all by their dot product, 1 for the best.

    An equal score of another answer counts against the own one, so that vectors which are all alike find nothing.
    Answers that are right as well are left out: those of an equal query, and those equal to the own one.

    Args:
        queries: (I, H).
        answers: (I, H), each query's own in the same row.
        query_groups: (I,), equal for queries that are the same.
        answer_groups: (I,), equal for answers that are the same.

    Returns:
        (I,).
    """
    query_of, answer_of = np.asarray(query_groups), np.asarray(answer_groups)
    ranks = np.empty(len(queries), np.int64)
    for start in range(0, len(queries), _BLOCK):
        rows = slice(start, start + _BLOCK)
        scores = queries[rows] @ answers.T  # (block, I)
        own = scores[np.arange(len(scores)), np.arange(start, start + len(scores))]
        right = (query_of[rows, None] == query_of) | (answer_of[rows, None] == answer_of)
        ranks[rows] = 1 + ((scores >= own[:, None]) & ~right).sum(1)
    return ranks


def accuracy_at_1(ranks: NDArray[np.int64]) -> float:
    """Share of queries whose own answer comes first."""
    return float(np.mean(ranks == 1))


def mean_reciprocal_rank(ranks: NDArray[np.int64]) -> float:
    """Mean of 1 / rank."""
    return float(np.mean(1.0 / ranks))
