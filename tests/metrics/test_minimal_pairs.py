"""Minimal pairs: what counts as right, and how pairs are counted by group."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.metrics.minimal_pairs import by_group, preferred

SCORES = st.floats(allow_nan=True, allow_infinity=True)


def test_ties_and_missing_scores_are_wrong() -> None:
    good, bad = [-1.0, -2.0, -3.0, math.nan, -1.0], [-2.0, -1.0, -3.0, -5.0, math.nan]
    assert preferred(good, bad).tolist() == [True, False, False, False, False]


@given(st.lists(st.tuples(SCORES, SCORES), max_size=20))
def test_no_pair_is_right_both_ways(pairs: list[tuple[float, float]]) -> None:
    good, bad = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert not (preferred(good, bad) & preferred(bad, good)).any()


def test_groups_keep_their_order_and_counts() -> None:
    found = by_group([True, False, True, True], ["b", "a", "b", "a"])
    assert list(found.items()) == [("b", (1.0, 2)), ("a", (0.5, 2))]
    assert by_group([], []) == {}
    with pytest.raises(ValueError, match="longer"):
        by_group([True], ["a", "b"])
