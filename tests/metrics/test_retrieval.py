"""Ranks of one's own among many, against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from bertie.metrics import retrieval
from bertie.metrics.retrieval import accuracy_at_1, mean_reciprocal_rank, ranks_of_own, unit


def plain_rank(queries: np.ndarray, answers: np.ndarray, query_of: list[int], answer_of: list[int], row: int) -> int:
    rank = 1
    for other in range(len(answers)):
        if query_of[other] == query_of[row] or answer_of[other] == answer_of[row]:
            continue
        rank += float(queries[row] @ answers[other]) >= float(queries[row] @ answers[row])
    return rank


def test_ranks_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "_BLOCK", 7)
    draw = np.random.default_rng(1)
    queries, answers = draw.integers(-3, 4, (2, 40, 5)).astype(np.float32)  # whole numbers: many exact ties
    query_of, answer_of = draw.integers(0, 30, 40).tolist(), draw.integers(0, 30, 40).tolist()
    ranks = ranks_of_own(queries, answers, query_of, answer_of)
    assert ranks.tolist() == [plain_rank(queries, answers, query_of, answer_of, row) for row in range(40)]
    assert len(set(ranks.tolist())) > 5


def test_vectors_that_are_all_alike_find_nothing() -> None:
    same = np.ones((4, 3), np.float32)
    ranks = ranks_of_own(same, same, range(4), range(4))
    assert ranks.tolist() == [4, 4, 4, 4]
    assert accuracy_at_1(ranks) == 0.0 and mean_reciprocal_rank(ranks) == 0.25


def test_what_is_right_as_well_is_left_out() -> None:
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1]]
    assert ranks_of_own(vectors, vectors, [0, 1, 2], [0, 1, 2]).tolist() == [2, 2, 1]
    assert ranks_of_own(vectors, vectors, [0, 0, 2], [0, 1, 2]).tolist() == [1, 1, 1]
    assert ranks_of_own(vectors, vectors, [0, 1, 2], [0, 0, 2]).tolist() == [1, 1, 1]


def test_unit() -> None:
    scaled = unit(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
