"""The reading plan of a file: how it was read, said in one sentence and kept with the model.

A reader fills it in while it reads. `check`, `finetune`, `evaluate`, `predict` and `search` show the same plan, and a
model keeps the one of its training file, so that later files are read the same way or the difference is said.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from bertie.files.text import shorten

STORED = "reading"
"""Under this name a plan travels with a model."""
SHOWN = 3
"""Rows of a kind that are shown in full."""
_MARKS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars (|)"}


@dataclass(frozen=True)
class LeftOut:
    """Rows that were not read, for one reason."""

    reason: str
    """Such as "blank lines" or "no gold label"."""
    count: int
    rows: tuple[tuple[int, str], ...] = ()
    """Line and content of the first three."""

    @classmethod
    def of(cls, reason: str, rows: Iterable[tuple[int, str]]) -> LeftOut:
        """Count rows, given as (line, content), and keep the first three."""
        every = list(rows)
        return cls(reason, len(every), tuple(every[:SHOWN]))

    def __str__(self) -> str:
        """Say how many rows are left out and why, and show the first ones."""
        shown = "".join(f"\n  line {line}: {content}" if line else f"\n  {content}" for line, content in self.rows)
        count = "1 row is" if self.count == 1 else f"{self.count:,} rows are"
        return f"{count} left out: {self.reason}{shown}"


@dataclass(frozen=True)
class Reading:
    """How a file was read."""

    file: str
    form: str = ""
    """What kind of file: "csv", "tsv", "json", "jsonl", "parquet", "txt", "dataset", "conll", "squad" and the like."""
    encoding: str = "UTF-8"
    delimiter: str = ""
    """What separates the columns of a text file; empty where nothing does."""
    quoted: bool = False
    """Whether fields are quoted where they need to be, with quotes inside doubled."""
    header: bool | None = None
    """Whether the first line names the columns; None for files that name them elsewhere, or have no columns."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Role (text, pair, label, id, words, tags, ...) to the column's name, or its number in a file without header."""
    labels: str = ""
    """Form of the labels, such as "one label a row" or "lists of labels"; empty without labels."""
    rows: int = 0
    """Rows that were read and kept."""
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()
    """Whatever else a reader of the plan should know, a short phrase each."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What a user set beside the columns, such as delimiter=semicolon."""

    @property
    def num_left_out(self) -> int:
        """Rows that were not read, for whatever reason."""
        return sum(left.count for left in self.left_out)

    def line(self) -> str:
        """Say the plan in one line."""
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
        """Read what `as_dict` returned; keys that this version doesn't know are passed over."""
        known = {one.name for one in fields(cls)}
        given = {name: value for name, value in values.items() if name in known}
        left = tuple(
            LeftOut(str(one["reason"]), int(one["count"]), tuple((int(row[0]), str(row[1])) for row in one["rows"]))
            for one in given.pop("left_out", ())
        )
        remarks = tuple(str(remark) for remark in given.pop("remarks", ()))
        return cls(**given, left_out=left, remarks=remarks)


def shown_row(fields: Iterable[Any], width: int = 120) -> str:
    """Write a row that was left out on one line, cut to so many characters."""
    text = " | ".join(value if isinstance(value, str) else reprlib.repr(value) for value in fields)
    return shorten(" ".join(text.split()), width)


def first_few(lines: Sequence[int], most: int) -> str:
    """List the first lines that a warning names; dots say that there are more."""
    return ", ".join(map(str, lines[:most])) + (", ..." if len(lines) > most else "")


def learned(extra: Mapping[str, Any]) -> Reading | None:
    """Return how a model's training file was read, as stored with the model; None where nothing is stored."""
    stored = extra.get(STORED)
    if not isinstance(stored, Mapping):
        return None
    try:
        return Reading.from_dict(stored)
    except (KeyError, TypeError, ValueError):
        return None  # written by hand or by another version: the file speaks for itself
