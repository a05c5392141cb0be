"""The results of a data check: findings, and the verdict that follows from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
"""An error makes the data unusable, a warning says that results may suffer, a note only informs."""
_SHOWN = 5  # lines or items that a finding lists


@dataclass(frozen=True)
class Finding:
    """One observation about the data."""

    severity: Severity
    what: str
    """The observation, in words and numbers."""
    where: str
    """File, lines or offsets."""
    remedy: str = ""
    """What to do about it; empty if no action is needed."""


def verdict(findings: Sequence[Finding]) -> str:
    """Return a phrase that says whether the data can be used."""
    counts = {severity: sum(found.severity == severity for found in findings) for severity in ("error", "warning")}
    warnings = f"{counts['warning']} {_plural('warning', counts['warning'])}"
    if counts["error"]:
        errors = f"{counts['error']} {_plural('error', counts['error'])}"
        return f"can't be used: {errors}{f', {warnings}' if counts['warning'] else ''}"
    return warnings if counts["warning"] else "fine"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def places(file: object, numbers: Iterable[object], *, unit: str = "", total: int | None = None) -> str:
    """List the first of many lines or items of a file.

    >>> places("a.tsv", [3, 8, 9, 11, 12, 20])
    'a.tsv: lines 3, 8, 9, 11, 12 and 1 more'

    Args:
        file: the file.
        numbers: line numbers or item names.
        unit: the noun for them, in the singular; by default "line" for numbers and "item" for names.
        total: the number of all of them, if `numbers` has only the first ones.
    """
    listed = list(numbers)
    if not listed:
        return str(file)
    count = len(listed) if total is None else total
    noun = unit or ("line" if isinstance(listed[0], int) else "item")
    shown = ", ".join(map(str, listed[:_SHOWN]))
    more = f" and {count - _SHOWN:,} more" if count > _SHOWN else ""
    return f"{file}: {noun}{'s' if count > 1 else ''} {shown}{more}"
