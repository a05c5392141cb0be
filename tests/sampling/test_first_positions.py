"""Where training sequences begin: within the longest stage, every position often enough, by their own keys alone."""

from __future__ import annotations

import numpy as np
import pytest

from bertie.sampling.positions import first_positions
from bertie.sampling.random import stream

KEYS = stream(7, np.arange(40_000))


@pytest.mark.parametrize(("length", "longest"), [(64, 128), (32, 128), (100, 128), (5, 512)])
def test_every_position_is_reached(length: int, longest: int) -> None:
    lengths = np.full(len(KEYS), length)
    first = first_positions(KEYS, lengths, longest=longest)
    assert first.min() == 0 and first.max() == longest - length
    reached = np.zeros(longest + 1)
    np.add.at(reached, first, 1)
    np.add.at(reached, first + length, -1)
    share = np.cumsum(reached)[:longest] / len(KEYS)
    expected = length / (length + longest)
    assert share.min() > 0.8 * expected


def test_each_sequence_by_its_own_length_and_key() -> None:
    lengths = np.arange(len(KEYS)) % 64 + 1
    first = first_positions(KEYS, lengths, longest=96)
    assert (first >= 0).all() and (first + lengths <= 96).all()
    some = np.asarray([11, 4, 39_999])
    assert np.array_equal(first_positions(KEYS[some], lengths[some], longest=96), first[some])


def test_a_sequence_that_fills_the_longest_or_is_longer_begins_at_zero() -> None:
    assert not first_positions(KEYS[:50], np.full(50, 128), longest=128).any()
    assert not first_positions(KEYS[:50], np.full(50, 140), longest=128).any()
