"""Mean, deviation and t-interval of several scores: against scipy, by hand, and for scores that are none."""

from __future__ import annotations

import math
from statistics import fmean, stdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.metrics.spread import spread_of, t_quantile

stats: Any = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 9, 29, 30, 101, 1000])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_the_quantile_is_scipys(freedom: int, level: float) -> None:
    assert t_quantile(freedom, level=level) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-9)


def test_three_scores_by_hand() -> None:
    spread = spread_of([0.80, 0.82, 0.84])
    assert (spread.count, round(spread.mean, 6)) == (3, 0.82)
    assert spread.deviation == pytest.approx(0.02)
    assert spread.low is not None and spread.high is not None
    assert spread.high - 0.82 == pytest.approx(4.302653 * 0.02 / math.sqrt(3), rel=1e-6)
    assert 0.82 - spread.low == pytest.approx(spread.high - 0.82)


def test_one_score_has_no_interval_and_none_that_is_no_number() -> None:
    assert spread_of([0.5]) == spread_of([0.5]) and spread_of([0.5]).low is None
    broken = spread_of([0.5, math.nan, 0.7])
    assert math.isnan(broken.mean) and broken.count == 3 and broken.deviation is None and broken.high is None


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=9))
def test_any_scores(scores: list[float]) -> None:
    spread = spread_of(scores)
    assert spread.deviation is not None and spread.low is not None and spread.high is not None
    assert spread.mean == pytest.approx(fmean(scores), abs=1e-9)
    assert spread.deviation == pytest.approx(stdev(scores), abs=1e-9)
    assert spread.low <= spread.mean <= spread.high
