"""Which choice a label means: its number from 0 or from 1, its letter, its name in the file, or its text.

A whole file is read in one way. Where two ways fit every row and mean other choices, nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertie.errors import DataError, SettingsError

BASE: Final = "numbered"
"""What --columns says beside the columns: 0 or 1, the number of the first choice."""
_NUMBER = re.compile(r"([0-9]{1,9})(?:\.0)?")  # pandas writes 1.0 where a label is missing in another row
_MISSING = (None, "", "-1", -1)  # -1 is what data sets put where a label is kept secret
_WAYS: Final = {
    "name": "by the names that the choices have in the file",
    "text": "by the text of the right choice",
    "letter": "by letters",
    "0": "numbered from 0",
    "1": "numbered from 1",
}


@dataclass(frozen=True)
class Labelled:
    """A row's choices and its label as they stand there."""

    choices: Sequence[str]
    names: Sequence[str]
    """What the file calls the choices; empty where it doesn't."""
    label: Any
    where: str


def is_missing(label: Any) -> bool:
    """Tell whether a row has no label, NaN where a parquet has no number among them."""
    return bool(label != label) or (not isinstance(label, list | dict) and label in _MISSING)


def resolve(file: Path, rows: Sequence[Labelled], base: str, *, numbered_columns: bool) -> tuple[list[int | None], str]:
    """Find the number of the right choice of each row, from 0.

    Args:
        file: for messages.
        rows: of the whole file.
        base: "0" or "1" where the user said which number the first choice has; else empty.
        numbered_columns: whether the choices stand in columns that are numbered from 0, so that numbers mean these.

    Returns:
        The numbers, None for rows without a label, and how the labels are read; empty without labels.

    Raises:
        SettingsError: another base than 0 or 1.
        DataError: a label that is none of the choices, or labels that may mean several.
    """
    if base not in ("", "0", "1"):
        raise SettingsError(f"--columns {BASE}={base}: labels are numbered from 0 or from 1")
    there = [row for row in rows if not is_missing(row.label)]
    if not there:
        return [None] * len(rows), ""
    readings = [_readings(row) for row in there]
    if numbered_columns and not base:  # ending0, ending1, ...
        readings = [{way: numbers for way, numbers in one.items() if way != "1"} for one in readings]
    for row, one in zip(there, readings, strict=True):
        if any(len(numbers) > 1 for numbers in one.values()):
            raise _doubt(file, row, one, list(one))
    ways = [way for way in _WAYS if all(way in one for one in readings)]
    if base:
        ways = [way for way in ways if way not in ("0", "1") or way == base]
    if not ways:
        raise _unreadable(there, readings)
    chosen = ways[0]
    for row, one in zip(there, readings, strict=True):
        found = {number for way in ways for number in one[way]}
        if len(found) > 1:
            raise _doubt(file, row, one, ways)
    places = iter(readings)
    numbers = [None if is_missing(row.label) else min(next(places)[chosen]) for row in rows]
    return numbers, f"labels {_WAYS[chosen]}"


def _readings(row: Labelled) -> dict[str, set[int]]:
    """Return the choices that a label may mean, by the way in which it is read."""
    label, count = row.label, len(row.choices)
    said = str(int(label)) if isinstance(label, float) and label.is_integer() else str(label).strip()
    if isinstance(label, bool):
        said = str(label)
    if row.names:
        return dict(_filled({"name": {number for number, name in enumerate(row.names) if name == said}}))
    found: dict[str, set[int]] = {}
    if isinstance(label, str):  # the number 2 is no text, "2" may be one
        found["text"] = {number for number, choice in enumerate(row.choices) if choice.strip() == said}
    if number := _NUMBER.fullmatch(said):
        place = int(number[1])
        found |= {"0": {place} & set(range(count)), "1": {place - 1} & set(range(count))}
    elif len(said) == 1 and said.isascii() and said.isalpha():
        found["letter"] = {ord(said.upper()) - ord("A")} & set(range(count))
    return dict(_filled(found))


def _filled(found: Mapping[str, set[int]]) -> Iterator[tuple[str, set[int]]]:
    return ((way, numbers) for way, numbers in found.items() if numbers)


def _unreadable(rows: Sequence[Labelled], readings: Sequence[Mapping[str, set[int]]]) -> DataError:
    """Name the first label that means nothing, or that is read in another way than those before it."""
    for row, one in zip(rows, readings, strict=True):
        if not one:
            said = str(row.label).strip()
            return DataError(
                f"{row.where}: label {said!r} is none of the {len(row.choices)} choices; give its number from 0, its "
                "letter, or its text"
            )
    before = set(readings[0])
    for row, one in zip(rows, readings, strict=True):
        if not before & set(one):
            if before <= {"0", "1"} and set(one) <= {"0", "1"}:
                what = "numbers from 0 and from 1 are mixed: 0 occurs, and so does a number as large as that of choices"
            else:
                what = f"the labels before are read {' or '.join(_WAYS[way] for way in _WAYS if way in before)}"
            return DataError(
                f"{row.where}: label {str(row.label).strip()!r} is none of the {len(row.choices)} choices, if it is "
                f"read as all others; {what}"
            )
        before &= set(one)
    raise AssertionError("some label can't be read as the others")


def _doubt(file: Path, row: Labelled, one: Mapping[str, set[int]], ways: Sequence[str]) -> DataError:
    said = str(row.label).strip()
    if set(ways) == {"0", "1"}:
        return DataError(
            f"{file}: its labels are numbers, and neither 0 nor the number of choices is among them, so that they may "
            f"be counted from 0 or from 1 ({row.where}: {said}); say --columns {BASE}=0 or {BASE}=1"
        )
    numbers = sorted({number for way in ways for number in one[way]})
    found = " or ".join(f"{number} ({row.choices[number]!r})" for number in numbers)
    return DataError(
        f"{row.where}: label {said!r} may mean choice {found}; give a letter, or in JSON a number without quotes"
    )
