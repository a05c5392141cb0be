"""Draws without a state: right ranges, right shares, one number for one key."""

import numpy as np
import pytest

from bertie.sampling.random import binomial_half, integers, permutation, stream, uniform

COUNT = 200_000


def test_uniform_and_independent_of_neighbours() -> None:
    values = uniform(stream(7, np.arange(COUNT)))
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 5 / (12 * COUNT) ** 0.5
    shares = np.histogram(values, 64)[0]
    assert abs(shares - COUNT / 64).max() < 5 * (COUNT / 64) ** 0.5
    for step in (1, 2, 64):
        assert abs(np.corrcoef(values[:-step], values[step:])[0, 1]) < 5 / COUNT**0.5


def test_parts_of_a_key_all_matter() -> None:
    keys = [stream(*parts)[0] for parts in ((0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 0), (0, 0, 1), (0, 1, 0))]
    assert len(set(keys)) == len(keys)
    assert stream(3, 4)[0] == stream(stream(3), 4)[0] or stream(3, 4)[0] == stream(3, np.array([4]))[0]


def test_integers_fill_their_range() -> None:
    values = integers(stream(1, np.arange(COUNT)), 3, 10)
    assert set(values.tolist()) == set(range(3, 10))
    assert abs(np.bincount(values)[3:] - COUNT / 7).max() < 5 * (COUNT / 7) ** 0.5


@pytest.mark.parametrize("tosses", [0, 1, 5, 64, 65, 300])
def test_heads(tosses: int) -> None:
    heads = binomial_half(stream(5, np.arange(20_000)), np.full(20_000, tosses))
    assert heads.min() >= 0
    assert heads.max() <= tosses
    assert abs(heads.mean() - tosses / 2) < 5 * (tosses / 4 / 20_000) ** 0.5 + 1e-9
    assert heads.var() == pytest.approx(tosses / 4, rel=0.06)


def test_permutations() -> None:
    order = permutation(0, 0, 1000)
    assert sorted(order.tolist()) == list(range(1000))
    assert not np.array_equal(order, permutation(0, 1, 1000))
    assert np.array_equal(order, permutation(0, 0, 1000))
