"""Numbers and axes of reports: few digits, right units, round ticks that hold the data for every float."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.reports.figures import compact, duration, is_share, name_of, number, percent, percent_tick, shown
from bertie.reports.scale import LARGEST, Scale, drawable, enclosing, fitting, logarithmic

sizes = st.floats(-LARGEST, LARGEST)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *((0, "0"), (12, "12"), (1234, "1,234"), (1234.5, "1,234"), (2.71828, "2.718"), (0.25, "0.25")),
        *((-3.5, "-3.5"), (5e-5, "5e-5"), (0.00025, "0.00025"), (1.23456e-9, "1.23e-9"), (2e20, "2e+20")),
    ],
)
def test_number(value: float, written: str) -> None:
    assert number(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        *((0, "0"), (999, "999"), (12_000, "12k"), (2500, "2.5k"), (3_361_661, "3.36M"), (4e10, "40G")),
        *((999_600, "1M"), (999_400, "999k"), (-12_000, "-12k"), (7e12, "7T")),
    ],
)
def test_compact(value: float, written: str) -> None:
    assert compact(value) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "0%"), (1, "100%"), (0.4912, "49.1%"), (0.9999, "100.0%"), (0.0001, "<0.1%"), (-0.25, "-25.0%")],
)
def test_percent(value: float, written: str) -> None:
    assert percent(value) == written


def test_percent_ticks_have_no_needless_digits() -> None:
    assert [percent_tick(value) for value in (0, 0.025, 0.2, 1)] == ["0%", "2.5%", "20%", "100%"]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        *((0.25, "0.25 s"), (12, "12 s"), (59.96, "60 s"), (60, "1 min"), (291.5, "4 min 52 s")),
        *((3599.7, "1 h 0 min"), (5400, "1 h 30 min"), (200_000, "2 d 7 h")),
    ],
)
def test_duration(seconds: float, written: str) -> None:
    assert duration(seconds) == written


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        *(("dev_mlm_accuracy", 0.4912, "49.1%"), ("macro_f1", 0.5, "50.0%"), ("learning_rate", 5e-5, "5e-5")),
        *(("seconds", 90.0, "1 min 30 s"), ("minutes", 1.5, "1 min 30 s"), ("tokens", 40_040_000, "40M")),
        *(("steps", 10_000, "10,000"), ("loss", math.nan, "–"), ("loss", None, "–"), ("done", True, "yes")),
        *(("accuracy", 88.0, "88"), ("state", "finished", "finished"), ("loss", math.inf, "–")),
    ],
)
def test_figures_have_their_units(name: str, value: object, written: str) -> None:
    assert shown(name, value) == written


def test_names() -> None:
    assert name_of("dev_mlm_loss") == "MLM loss, dev"
    assert name_of("macro_f1") == "Macro F1"
    assert name_of("seconds") == "Time"
    assert name_of("dev_") == "Dev"
    assert is_share("dev_nsp_accuracy") and not is_share("learning_rate") and not is_share("loss")


@given(sizes, sizes)
def test_linear_axes_hold_the_data(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    for scale in (enclosing(low, high), fitting(low, high)):
        _is_sound(scale)
        assert len(scale.ticks) <= 12
        for value in (low, high):
            assert -1e-6 <= scale.share(value) <= 1 + 1e-6


@given(st.floats(1e-200, LARGEST), st.floats(1e-200, LARGEST))
def test_logarithmic_axes_hold_the_data(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    scale = logarithmic(low, high)
    _is_sound(scale)
    assert 2 <= len(scale.ticks) <= 8
    for value in (low, high):
        if drawable(value, log=True):
            assert -1e-6 <= scale.share(value) <= 1 + 1e-6


def _is_sound(scale: Scale) -> None:
    assert math.isfinite(scale.low) and math.isfinite(scale.high) and scale.low < scale.high
    assert list(scale.ticks) == sorted(set(scale.ticks))
    assert all(-1e-6 <= scale.share(tick) <= 1 + 1e-6 for tick in scale.ticks)


def test_ticks_are_round() -> None:
    assert enclosing(2.6, 10.2).ticks == (2, 4, 6, 8, 10, 12)
    assert enclosing(0.001, 0.49).ticks == (0, 0.2, 0.4, 0.6)
    assert enclosing(0, 5e-5).ticks == (0, 2e-5, 4e-5, 6e-5)
    assert enclosing(3, 3).low < 3 < enclosing(3, 3).high
    assert fitting(0, 574).ticks == (0, 200, 400) and fitting(0, 574).high == 574
    assert logarithmic(0.8, 15).ticks == (0.5, 1, 2, 5, 10, 20)
    assert logarithmic(1e-6, 1e3).ticks == (1e-6, 1e-4, 1e-2, 1, 100)


def test_what_has_no_place() -> None:
    assert not any(drawable(value) for value in (None, math.nan, math.inf, -math.inf, 1e200))
    assert drawable(0.0) and not drawable(0.0, log=True) and not drawable(-1.0, log=True)
