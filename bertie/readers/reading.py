"""The reading plan of a file: how it was read, in one sentence and as values that are stored with the model.

A reader fills it in while it reads. `check`, `finetune`, `evaluate`, `predict` and `search` show it. A model keeps the
plan of its training file, so that later files are read the same way, or a warning states the difference.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from bertie.files.text import shorten

Item = TypeVar("Item")

STORED = "reading"
"""Key of the plan in a model folder."""
SHOWN = 3
"""Number of left-out rows that are shown for each reason."""
_MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars (|)"}


@dataclass(frozen=True)
class LeftOut:
    """Rows that were left out for one reason."""

    reason: str
    """For example "blank lines" or "no gold label"."""
    count: int
    rows: tuple[tuple[int, str], ...] = ()
    """(line, content) of the first three."""

    @classmethod
    def of(cls, reason: str, rows: Iterable[tuple[int, str]]) -> LeftOut:
        """Count rows, given as (line, content), and keep the first three."""
        every = list(rows)
        return cls(reason, len(every), tuple(every[:SHOWN]))

    def __str__(self) -> str:
        """Return how many rows are left out and why, with the first ones."""
        shown = "".join(f"\n  line {line}: {content}" if line else f"\n  {content}" for line, content in self.rows)
        count = "1 row is" if self.count == 1 else f"{self.count:,} rows are"
        return f"{count} left out: {self.reason}{shown}"


@dataclass(frozen=True)
class Reading:
    """How one file was read."""

    file: str
    form: str = ""
    """Format: "csv", "tsv", "json", "jsonl", "parquet", "txt", "dataset", "conll", "squad" and so on."""
    encoding: str = "UTF-8"
    delimiter: str = ""
    """Separator of the columns of a text file; empty if it has none."""
    quoted: bool = False
    """Whether fields may be in quotes, with quotes inside doubled."""
    header: bool | None = None
    """Whether the first line names the columns; None for files without columns, or with names elsewhere."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Role (text, pair, label, id, words, tags, ...) to the column's name, or its number in a file without header."""
    labels: str = ""
    """Form of the labels, such as "one label a row" or "lists of labels"; empty without labels."""
    rows: int = 0
    """Number of rows that were read and kept."""
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()
    """Short phrases about anything unusual in the file."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options that a user set besides the columns, such as delimiter=semicolon."""

    @property
    def num_left_out(self) -> int:
        """Number of rows that were left out, for any reason."""
        return sum(left.count for left in self.left_out)

    def line(self) -> str:
        """Return the plan in one line."""
        parts = [f"{self.rows:,} rows"]
        parts += [f"{role} from column {name!r}" for role, name in self.columns.items()]
        if self.labels:
            parts.append(self.labels)
        if self.delimiter:
            parts.append(f"columns separated by {_MARKS.get(self.delimiter, repr(self.delimiter))}")
        if self.delimiter == "\t" and self.quoted:
            parts.append("fields in quotes")
        if self.header is not None:
            parts.append("the first line is the header" if self.header else "no header")
        if self.encoding != "UTF-8":
            parts.append(self.encoding)
        parts += self.remarks
        parts += [f"left out: {left.count:,} ({left.reason})" for left in self.left_out]
        return f"{self.file}: {', '.join(parts)}"

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reading:
        """Read the dictionary that `as_dict` returned; skip keys that this version doesn't know."""
        known = {one.name for one in fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        left = tuple(
            LeftOut(str(one["reason"]), int(one["count"]), tuple((int(row[0]), str(row[1])) for row in one["rows"]))
            for one in kept.pop("left_out", ())
        )
        remarks = tuple(str(remark) for remark in kept.pop("remarks", ()))
        return cls(**kept, left_out=left, remarks=remarks)


@dataclass(frozen=True, eq=False)
class Table(Generic[Item]):
    """The content of a file."""

    path: Path
    items: list[Item]
    mapping: dict[str, str]
    """Source of each part of an item: a column's name, or its number in a file without header."""
    reading: Reading | None = None
    """How the file was read; None if its reader doesn't record it."""


def shown_row(fields: Iterable[Any], width: int = 120) -> str:
    """Write a left-out row on one line of at most `width` characters."""
    text = " | ".join(value if isinstance(value, str) else reprlib.repr(value) for value in fields)
    return shorten(" ".join(text.split()), width)


def first_few(lines: Sequence[int], limit: int) -> str:
    """List the first `limit` line numbers for a warning; dots mean that there are more."""
    return ", ".join(map(str, lines[:limit])) + (", ..." if len(lines) > limit else "")


def learned(extra: Mapping[str, Any]) -> Reading | None:
    """Return how a model's training file was read; None if the model doesn't store it."""
    stored = extra.get(STORED)
    if not isinstance(stored, Mapping):
        return None
    try:
        return Reading.from_dict(stored)
    except (KeyError, TypeError, ValueError):
        return None  # written by hand or by another version
