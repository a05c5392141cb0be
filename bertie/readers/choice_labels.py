"""Find the choice that a label means: by its number from 0 or from 1, its letter, its name in the file, or its text.

All labels of a file are read in one way. If two ways fit all rows but mean different choices, the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertie.errors import DataError, SettingsError

BASE: Final = "numbered"
"""Option of --columns besides the columns: 0 or 1, the number of the first choice."""
_NUMBER = re.compile(r"([0-9]{1,9})(?:\.0)?")  # pandas writes 1.0 if a label is missing in another row
_MISSING = (None, "", "-1", -1)  # data sets write -1 for a secret label
_WAYS: Final = {
    "name": "by the names that the choices have in the file",
    "text": "by the text of the right choice",
    "letter": "by letters",
    "0": "numbered from 0",
    "1": "numbered from 1",
}


@dataclass(frozen=True)
class Labelled:
    """A row's choices with its original label."""

    choices: Sequence[str]
    names: Sequence[str]
    """Names of the choices in the file; empty without any."""
    label: Any
    where: str


def is_missing(label: Any) -> bool:
    """Check whether a row has no label; in a Parquet column of numbers that is NaN."""
    return bool(label != label) or (not isinstance(label, list | dict) and label in _MISSING)


def resolve(file: Path, rows: Sequence[Labelled], base: str, *, numbered_columns: bool) -> tuple[list[int | None], str]:
    """Find the number of the right choice of each row, from 0.

    Args:
        file: file name for messages.
        rows: all rows of the file.
        base: "0" or "1", the number of the first choice if the user set it; otherwise "".
        numbered_columns: whether the columns of the choices are numbered from 0, so that labels mean these numbers.

    Returns:
        The numbers (None for rows without a label), and how the labels are read ("" without labels).

    Raises:
        SettingsError: the base is not 0 or 1.
        DataError: a label is none of the choices, or labels are ambiguous.
    """
    if base not in ("", "0", "1"):
        raise SettingsError(f"--columns {BASE}={base}: labels are numbered from 0 or from 1")
    labelled = [row for row in rows if not is_missing(row.label)]
    if not labelled:
        return [None] * len(rows), ""
    readings = [_readings(row) for row in labelled]
    if numbered_columns and not base:  # ending0, ending1, ...
        readings = [{way: numbers for way, numbers in one.items() if way != "1"} for one in readings]
    for row, one in zip(labelled, readings, strict=True):
        if any(len(numbers) > 1 for numbers in one.values()):
            raise _ambiguous(file, row, one, list(one))
    ways = [way for way in _WAYS if all(way in one for one in readings)]
    if base:
        ways = [way for way in ways if way not in ("0", "1") or way == base]
    if not ways:
        raise _unreadable(labelled, readings)
    chosen = ways[0]
    for row, one in zip(labelled, readings, strict=True):
        meant = {number for way in ways for number in one[way]}
        if len(meant) > 1:
            raise _ambiguous(file, row, one, ways)
    remaining = iter(readings)
    numbers = [None if is_missing(row.label) else min(next(remaining)[chosen]) for row in rows]
    return numbers, f"labels {_WAYS[chosen]}"


def _readings(row: Labelled) -> dict[str, set[int]]:
    """Return the choices that a label may mean, for each way to read it."""
    label, count = row.label, len(row.choices)
    text = str(int(label)) if isinstance(label, float) and label.is_integer() else str(label).strip()
    if isinstance(label, bool):
        text = str(label)
    if row.names:
        return dict(_filled({"name": {number for number, name in enumerate(row.names) if name == text}}))
    choices: dict[str, set[int]] = {}
    if isinstance(label, str):  # the number 2 is not a text, but "2" may be one
        choices["text"] = {number for number, choice in enumerate(row.choices) if choice.strip() == text}
    if number := _NUMBER.fullmatch(text):
        index = int(number[1])
        choices |= {"0": {index} & set(range(count)), "1": {index - 1} & set(range(count))}
    elif len(text) == 1 and text.isascii() and text.isalpha():
        choices["letter"] = {ord(text.upper()) - ord("A")} & set(range(count))
    return dict(_filled(choices))


def _filled(choices: Mapping[str, set[int]]) -> Iterator[tuple[str, set[int]]]:
    return ((way, numbers) for way, numbers in choices.items() if numbers)


def _unreadable(rows: Sequence[Labelled], readings: Sequence[Mapping[str, set[int]]]) -> DataError:
    """Build the error for the first label that means no choice, or that is read differently from those before it."""
    for row, one in zip(rows, readings, strict=True):
        if not one:
            label = str(row.label).strip()
            return DataError(
                f"{row.where}: label {label!r} is none of the {len(row.choices)} choices; give its number from 0, its "
                "letter, or its text"
            )
    before = set(readings[0])
    for row, one in zip(rows, readings, strict=True):
        if not before & set(one):
            if before <= {"0", "1"} and set(one) <= {"0", "1"}:
                what = "numbers from 0 and from 1 are mixed: both 0 and the number of choices occur"
            else:
                what = f"the earlier labels are read {' or '.join(_WAYS[way] for way in _WAYS if way in before)}"
            return DataError(
                f"{row.where}: label {str(row.label).strip()!r} is none of the {len(row.choices)} choices, if it is "
                f"read like the others; {what}"
            )
        before &= set(one)
    raise AssertionError("some label can't be read as the others")


def _ambiguous(file: Path, row: Labelled, one: Mapping[str, set[int]], ways: Sequence[str]) -> DataError:
    label = str(row.label).strip()
    if set(ways) == {"0", "1"}:
        return DataError(
            f"{file}: the labels are numbers, but neither 0 nor the number of choices occurs, so they may be counted "
            f"from 0 or from 1 ({row.where}: {label}); set --columns {BASE}=0 or {BASE}=1"
        )
    numbers = sorted({number for way in ways for number in one[way]})
    listed = " or ".join(f"{number} ({row.choices[number]!r})" for number in numbers)
    return DataError(
        f"{row.where}: label {label!r} may mean choice {listed}; write a letter, or in JSON a number without quotes"
    )
