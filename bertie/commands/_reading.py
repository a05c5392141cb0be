"""Reading plans in commands: files are read as the model's training file was, and plans stand in what is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bertie.data.reading import STORED, Reading, learned


def carried(reading: Reading | None) -> dict[str, Any]:
    """Return a plan as it travels with a model: without the rows themselves, which may be private."""
    if reading is None:
        return {}
    left = tuple(replace(one, rows=()) for one in reading.left_out)
    return {STORED: replace(reading, file=Path(reading.file).name, left_out=left).as_dict()}


def said(extra: Mapping[str, Any]) -> str:
    """Return the plan in one line; empty without one."""
    plan = learned(extra)
    return "" if plan is None else plan.line()
