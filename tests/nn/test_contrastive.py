"""The contrastive loss against the formula written out, and what it must not take for a negative."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from bertie.nn.contrastive import contrastive

DRAW = torch.Generator().manual_seed(3)
TEXTS, PAIRS, NEGATIVES = (torch.randn(count, 6, generator=DRAW) for count in (4, 4, 3))


def loss(
    texts: Tensor, candidates: Tensor, text_names: list[int], candidate_names: list[int], *, symmetric: bool = False
) -> float:
    total, _ = contrastive(
        texts,
        candidates,
        text_names=torch.tensor(text_names),
        candidate_names=torch.tensor(candidate_names),
        scale=5.0,
        symmetric=symmetric,
    )
    return float(total)


def plain(own: Tensor, other: Tensor, rows: int) -> float:
    total = 0.0
    for row in range(rows):
        scores = [5.0 * float(cosine_similarity(own[row], candidate, dim=0)) for candidate in other]
        total -= scores[row] - math.log(sum(map(math.exp, scores)))
    return total


def test_the_formula() -> None:
    candidates = torch.cat([PAIRS, NEGATIVES])
    names = [0, 1, 2, 3], [4, 5, 6, 7, 8, 9, 10]
    forth, back = plain(TEXTS, candidates, 4), plain(PAIRS, TEXTS, 4)
    assert loss(TEXTS, candidates, *names) == pytest.approx(forth, rel=1e-5)
    assert loss(TEXTS, candidates, *names, symmetric=True) == pytest.approx((forth + back) / 2, rel=1e-5)
    assert plain(TEXTS, PAIRS, 4) < forth  # hard negatives count


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    ("text_names", "candidate_names"),
    [
        ([0, 0, 1], [2, 3, 4]),  # one text with two pairs: each is right for both
        ([0, 1, 2], [3, 3, 4]),  # one pair of two texts
        ([0, 1, 2], [1, 3, 4]),  # the pair of the first is the second text itself
    ],
)
def test_what_is_right_as_well_is_no_negative(
    text_names: list[int], candidate_names: list[int], symmetric: bool
) -> None:
    """A batch in which only items 0 and 1 could be each other's negatives: without them each stands beside item 2."""
    texts, pairs = TEXTS[:3], PAIRS[:3]
    rows: list[list[int]] = [[0, 2], [1, 2], [0, 1, 2]]
    if candidate_names[0] == 1:
        rows[0] = [0, 1, 2]  # the second pair is a negative of the first text, but not the other way round
    expected = 0.0
    for row, kept in enumerate(rows):
        scores = {column: 5.0 * float(cosine_similarity(texts[row], pairs[column], dim=0)) for column in kept}
        expected -= scores[row] - math.log(sum(map(math.exp, scores.values())))
    if symmetric:
        back = 0.0
        for column in range(3):
            kept = [row for row in range(3) if column in rows[row]]
            scores = {row: 5.0 * float(cosine_similarity(texts[row], pairs[column], dim=0)) for row in kept}
            back -= scores[column] - math.log(sum(map(math.exp, scores.values())))
        expected = (expected + back) / 2
    assert loss(texts, pairs, text_names, candidate_names, symmetric=symmetric) == pytest.approx(expected, rel=1e-5)


def test_a_hard_negative_equal_to_an_answer_is_none() -> None:
    candidates = torch.cat([PAIRS, PAIRS[:1]])
    names = [0, 1, 2, 3], [4, 5, 6, 7]
    with_it = loss(TEXTS[:1], torch.cat([PAIRS[:1], PAIRS[:1]]), [0], [4, 4])
    assert with_it == pytest.approx(0.0, abs=1e-6)  # nothing is left to tell it from
    assert loss(TEXTS, candidates, names[0], [*names[1], 4]) > loss(TEXTS, PAIRS, *names)  # for the others it is one


def test_half_precision_does_not_reach_the_cosines() -> None:
    names = [0, 1, 2, 3], [4, 5, 6, 7]
    with torch.autocast("cpu", torch.bfloat16):
        rounded = loss(TEXTS, PAIRS, *names)
    assert rounded == loss(TEXTS, PAIRS, *names)


def test_how_many_find_their_own() -> None:
    vectors = torch.eye(3)
    names = {"text_names": torch.arange(3), "candidate_names": torch.arange(3, 6)}
    assert int(contrastive(vectors, vectors, **names, scale=20.0, symmetric=True)[1]) == 3
    assert int(contrastive(vectors, vectors[[1, 0, 2]], **names, scale=20.0, symmetric=True)[1]) == 1
