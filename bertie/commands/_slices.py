"""What the commands share that run a slice of their job."""

import inspect
import shlex
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.commands.command import Report
from bertie.runners.slice import Slice, folder_of, num_complete


def changed(settings: Any) -> dict[str, Any]:
    """Return the fields of settings that differ from their defaults."""
    return {one.name: value for one in fields(settings) if (value := getattr(settings, one.name)) != one.default}


def changed_flags(command: Callable[..., Any], flags: dict[str, Any], *, without: tuple[str, ...]) -> dict[str, Any]:
    """Return the flags of a call that differ from the command's defaults, without some of them."""
    defaults = {name: parameter.default for name, parameter in inspect.signature(command).parameters.items()}
    return {name: value for name, value in flags.items() if name not in without and value != defaults[name]}


def slice_report(out: Path, place: Slice, seconds: float, *, is_new: bool) -> Report:
    """Return the report of one slice.

    Args:
        out: the command's output.
        place: the slice.
        seconds: how long it took.
        is_new: false if the slice was complete already.
    """
    if not is_new:
        progress.note(f"slice {place.index} of {place.of} is complete already; nothing to do")
    complete = num_complete(out)
    return Report(
        title=f"Slice --index {place.index} --of {place.of} of {out}",
        values={
            "folder": str(folder_of(out) / place.name),
            "index": place.index,
            "of": place.of,
            "complete_slices": complete,
            "seconds": seconds,
        },
        next_command=f"bertie seal {shlex.quote(str(out))}" if complete == place.of else None,
    )
