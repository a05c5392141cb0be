"""Reading plans in commands: files are read as the model's training file was, and plans stand in what is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.data.items import Table, part
from bertie.data.reading import Reading
from bertie.tasks.task import Task, read_items

_KEY = "reading"


def labelled_table(
    kind: type[Task], path: Path, columns: dict[str, str] | None, limit: int | None, *, like: Reading | None = None
) -> Table[Any]:
    """Read a labelled table, or a part of it."""
    table = read_items(kind, path, columns=columns, labelled=True, like=like)
    if limit is None or limit >= len(table.items):
        return table
    chosen = replace(table, items=part(table.items, limit))
    progress.note(f"{path}: {limit:,} of {len(table.items):,} items are used")
    return chosen


def learned(extra: Mapping[str, Any]) -> Reading | None:
    """Return how a model's training file was read, out of what travels with the model; None where it isn't there."""
    stored = extra.get(_KEY)
    if not isinstance(stored, Mapping):
        return None
    try:
        return Reading.from_dict(stored)
    except (KeyError, TypeError, ValueError):
        return None  # written by hand or by another version: the file speaks for itself


def carried(reading: Reading | None) -> dict[str, Any]:
    """Return a plan as it travels with a model: without the rows themselves, which are nobody else's business."""
    if reading is None:
        return {}
    left = tuple(replace(one, rows=()) for one in reading.left_out)
    return {_KEY: replace(reading, file=Path(reading.file).name, left_out=left).as_dict()}


def said(extra: Mapping[str, Any]) -> str:
    """Return the plan in one line; empty without one."""
    plan = learned(extra)
    return "" if plan is None else plan.line()
