"""What a look at data has to say before any work with it: findings, and the verdict that follows from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""An error stops the work, a warning spoils or may spoil it, a note is good to know."""
_SHOWN = 5  # places that a finding names


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing."""

    severity: Severity
    what: str
    """What was found, in words and numbers."""
    where: str
    """File, lines or offsets."""
    remedy: str = ""
    """What to do about it; empty when nothing needs doing."""


def verdict(findings: Sequence[Finding]) -> str:
    """Say in a few words whether data can be used."""
    counts = {severity: sum(found.severity == severity for found in findings) for severity in ("error", "warning")}
    more = f"{counts['warning']} more {_things(counts['warning'])} to look at"
    if counts["error"]:
        errors = f"{counts['error']} error{'s' if counts['error'] > 1 else ''}"
        return f"can't be used: {errors}{f', {more}' if counts['warning'] else ''}"
    return f"{counts['warning']} {_things(counts['warning'])} to look at" if counts["warning"] else "fine"


def _things(count: int) -> str:
    return "thing" if count == 1 else "things"


def places(file: object, numbers: Iterable[object], *, unit: str = "", total: int | None = None) -> str:
    """Name the first lines of many: "a.tsv: lines 3, 8, 9 and 5 more".

    Args:
        file: its name.
        numbers: of lines, or names of items.
        unit: what they are, in the singular; "line" for numbers and "item" for names when empty.
        total: how many there are, where `numbers` are the first of them only.
    """
    every = list(numbers)
    if not every:
        return str(file)
    count = len(every) if total is None else total
    kind = unit or ("line" if isinstance(every[0], int) else "item")
    shown = ", ".join(map(str, every[:_SHOWN]))
    more = f" and {count - _SHOWN:,} more" if count > _SHOWN else ""
    return f"{file}: {kind}{'s' if count > 1 else ''} {shown}{more}"
