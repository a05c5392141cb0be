"""What every schedule keeps: shares between 0 and 1 that never rise, and settings that exist.

A new schedule needs nothing here.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.errors import SettingsError
from bertie.registry import choices, settings_used
from bertie.schedules.schedule import Schedule, schedule_class
from bertie.training.schedule import learning_rate
from bertie.training.settings import ScheduleSettings

SHAPES = choices("schedules")
SHARED = {"warmup", "shape", "batch_warmup", "random_positions"}
OWN = {field.name for field in fields(ScheduleSettings)} - SHARED


def test_the_choices_are_the_files() -> None:
    assert set(get_args(get_type_hints(ScheduleSettings)["shape"])) == set(SHAPES)


def test_every_setting_has_a_user() -> None:
    assert {field for shape in SHAPES for field in settings_used(schedule_class(shape))} - SHARED == OWN


@pytest.mark.parametrize("shape", SHAPES)
def test_it_states_its_settings(shape: str) -> None:
    kind = schedule_class(shape)
    assert issubclass(kind, Schedule) and kind.__module__ == f"bertie.schedules.{shape}"
    assert set(settings_used(kind)) <= OWN | {"warmup"}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_it_does_not_use_is_refused(shape: Any) -> None:
    values: dict[str, Any] = {"decay": 0.3, "decay_shape": "one_minus_sqrt"}
    assert values.keys() == OWN
    for name, value in values.items():
        if name in settings_used(schedule_class(shape)):
            ScheduleSettings(shape=shape, **{name: value})
        else:
            with pytest.raises(SettingsError, match=rf"schedule\.{name} {value} has no effect with {shape}, only with"):
                ScheduleSettings(shape=shape, **{name: value})


@pytest.mark.parametrize("shape", SHAPES)
@given(st.floats(0.0, 0.8), st.floats(0.0, 1.5), st.floats(0.0, 1.5))
def test_the_rate_rises_to_the_peak_and_never_again(shape: Any, warmup: float, first: float, second: float) -> None:
    settings = ScheduleSettings(warmup, shape)
    early, late = (learning_rate(fraction, 0.5, settings) for fraction in sorted((first, second)))
    assert 0.0 <= early <= 0.5 and 0.0 <= late <= 0.5
    if min(first, second) >= warmup:
        assert late <= early
    elif max(first, second) < warmup:
        assert early <= late


def test_an_unknown_shape() -> None:
    wrong: Any = "cosin"
    with pytest.raises(SettingsError, match="unknown schedule 'cosin'; did you mean 'cosine'"):
        ScheduleSettings(shape=wrong)
