"""A run that is broken off and taken up again ends like an unbroken one, with every optimizer and schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertie.registry import choices
from bertie.training.settings import OptimizerSettings, ScheduleSettings


@pytest.mark.parametrize("name", choices("optimizers"))
def test_a_broken_run_ends_like_an_unbroken_one(aided_run: Callable[..., Any], tmp_path: Path, name: Any) -> None:
    whole = aided_run(optimizer=OptimizerSettings(name, layer_decay=0.7)).check_resuming(tmp_path)
    losses = [line["loss"] for line in whole.journal if line["kind"] == "train"]
    assert all(math.isfinite(loss) for loss in losses)


@pytest.mark.parametrize("shape", choices("schedules"))
def test_a_broken_run_goes_on_at_its_rate(aided_run: Callable[..., Any], tmp_path: Path, shape: Any) -> None:
    schedule = ScheduleSettings(shape=shape)
    whole = aided_run(schedule=schedule).check_resuming(tmp_path, stops=(7,))
    rates = [line["learning_rate"] for line in whole.journal if line["kind"] == "train"]
    assert len(set(rates)) > 1 and max(rates) <= 2e-2
