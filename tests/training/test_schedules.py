"""The learning rate over a run, shape by shape."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.errors import SettingsError
from bertie.schedules.trapezoid import DECAY_SHAPES
from bertie.training.schedule import learning_rate
from bertie.training.settings import ScheduleSettings

SHARES = st.floats(0.0, 0.5)


def test_linear_is_as_in_the_original_code() -> None:
    settings = ScheduleSettings()
    found = [learning_rate(fraction, 2.0, settings) for fraction in (0.0, 0.05, 0.1, 0.55, 1.0)]
    assert found == pytest.approx([0.0, 1.0, 1.8, 0.9, 0.0])


def test_trapezoid() -> None:
    settings = ScheduleSettings(warmup=0.1, shape="trapezoid", decay=0.2)
    found = [learning_rate(fraction, 2.0, settings) for fraction in (0.0, 0.05, 0.1, 0.5, 0.8, 0.9, 0.95, 1.0, 1.2)]
    assert found == pytest.approx([0.0, 1.0, 2.0, 2.0, 2.0, 1.0, 0.5, 0.0, 0.0])


def test_one_minus_sqrt() -> None:
    settings = ScheduleSettings(warmup=0.0, shape="trapezoid", decay=0.4, decay_shape="one_minus_sqrt")
    for share in (0.0, 0.01, 0.25, 0.81, 1.0):
        rate = learning_rate(0.6 + 0.4 * share, 3.0, settings)
        assert rate == pytest.approx(3.0 * (1 - math.sqrt(share)), abs=1e-6)


def test_cosine() -> None:
    settings = ScheduleSettings(warmup=0.2, shape="cosine")
    found = [learning_rate(fraction, 2.0, settings) for fraction in (0.1, 0.2, 0.4, 0.6, 1.0)]
    assert found == pytest.approx([1.0, 2.0, 1 + math.cos(math.pi / 4), 1.0, 0.0])


@pytest.mark.parametrize("decay_shape", DECAY_SHAPES)
@given(SHARES, SHARES, st.floats(0.0, 1.5), st.floats(0.0, 1.5))
def test_a_trapezoid_is_between_zero_and_the_peak(
    decay_shape: str, warmup: float, decay: float, first: float, second: float
) -> None:
    settings = ScheduleSettings(warmup, "trapezoid", decay, decay_shape)  # type: ignore[arg-type]
    early, late = (learning_rate(fraction, 0.5, settings) for fraction in sorted((first, second)))
    assert 0.0 <= early <= 0.5 and 0.0 <= late <= 0.5
    if min(first, second) >= warmup:
        assert late <= early  # it never climbs again
    if warmup <= first < 1.0 - decay - 1e-9:
        assert learning_rate(first, 0.5, settings) == 0.5


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"warmup": -0.1}, "schedule.warmup is a share of the run, 0 to 1; got -0.1"),
        ({"decay": 20.0}, "schedule.decay is a share of the run, 0 to 1; got 20.0"),
        ({"warmup": 0.5, "decay": 0.6, "shape": "trapezoid"}, "more than the whole run together"),
        ({"decay": 0.3, "shape": "cosine"}, "schedule.decay 0.3 has no effect with cosine, only with trapezoid; leave"),
        ({"decay_shape": "one_minus_sqrt"}, "decay_shape one_minus_sqrt has no effect with linear, only with trapez"),
    ],
)
def test_wrong_settings(wrong: dict, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        ScheduleSettings(**wrong)
