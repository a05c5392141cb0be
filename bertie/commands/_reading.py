"""Reading plans in commands: store with a model how its training file was read, and describe it in reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bertie.readers.reading import STORED, Reading, learned


def carried(reading: Reading | None) -> dict[str, Any]:
    """Return a reading plan for storage with a model, without rows of the table, which may be private."""
    if reading is None:
        return {}
    left_out = tuple(replace(one, rows=()) for one in reading.left_out)
    return {STORED: replace(reading, file=Path(reading.file).name, left_out=left_out).as_dict()}


def said(extra: Mapping[str, Any]) -> str:
    """Return a model's reading plan as one line; empty if it has none."""
    plan = learned(extra)
    return "" if plan is None else plan.line()
