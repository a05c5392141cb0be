"""Read the rows of a .txt, .csv, .tsv, .jsonl or .parquet file in order, each with all its columns.

A row that can't be read doesn't end the file: it has an error and what could be read of it. Only a file whose rows
can't be told apart any more, such as a .csv with an open quote, raises an error.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any

from bertie.bulk import parquet
from bertie.errors import DataError, SettingsError
from bertie.files.compression import COMPRESSIONS, format_suffix
from bertie.files.text import open_text, shorten
from bertie.readers.following import hints
from bertie.readers.reading import Reading
from bertie.tables.delimited import Delimited
from bertie.tables.table import Rows, open_rows
from bertie.untrusted import parse_json

SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
_HEAD_ROWS = 100  # objects of a .jsonl whose keys are its columns from the start
_SHOWN = 200  # characters of a line that an error repeats


@dataclass(frozen=True)
class Row:
    """One row of a file."""

    line: int
    """Number of its first line, from 1; for .parquet, the number of the row."""
    values: Mapping[str, Any]
    """Its columns; without those that couldn't be read."""
    error: str = ""
    """Why the row can't be read; empty if it can."""
    unit: str = "line"
    """What `line` counts."""

    @property
    def place(self) -> str:
        """Where the row is, such as "line 7"."""
        return f"{self.unit} {self.line}"


class Source:
    """An open file of rows; made by `open_source`. It is read once, from beginning to end."""

    columns: list[str]
    """Its columns, each name once. A .jsonl may have more in later rows."""
    num_rows: int | None = None
    """Number of its rows, where the file says so."""
    by_number: Mapping[str, str] = {}
    """Number of a column to its name, where columns are chosen by number."""

    def rows(self, columns: Iterable[str] | None = None) -> Iterator[Row]:
        """Read the rows.

        Args:
            columns: the columns that the caller needs. None: all. Rows may have others as well.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close the file."""
        raise NotImplementedError

    def __enter__(self) -> "Source":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_source(path: Path, columns: Mapping[str, str], like: Reading | None) -> Source:
    """Open a file of rows by its suffix.

    Args:
        path: the file; it may be compressed.
        columns: the user's roles and options of columns.
        like: how the model's training file was read.

    Raises:
        SettingsError: there is no such file, its format isn't read row by row, or a package isn't installed.
        DataError: the file is damaged or ambiguous.
    """
    suffix = format_suffix(path)
    if suffix == ".txt":
        return _Lines(path)
    if suffix == ".jsonl":
        return _Objects(path)
    if suffix not in SUFFIXES:
        raise SettingsError(
            f"{path}: --out needs a file of rows: {', '.join(SUFFIXES)}, each also compressed "
            f"({', '.join(COMPRESSIONS)}); leave --out out to print the predictions"
        )
    table = open_rows(path, columns=columns, hints=hints(like))
    return _Fields(path, table) if isinstance(table, Delimited) else _Columns(path, table)


class _Lines(Source):
    """One text a line."""

    def __init__(self, path: Path) -> None:
        self.columns = ["text"]
        self._stream = open_text(path)

    def rows(self, columns: Iterable[str] | None = None) -> Iterator[Row]:
        del columns
        for line, text in enumerate(self._stream, 1):
            yield Row(line, {"text": text.rstrip("\n")})

    def close(self) -> None:
        self._stream.close()


class _Objects(Source):
    """One JSON object a line; blank lines are no rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = open_text(path)
        self._rows = self._read()
        self._head = list(islice(self._rows, _HEAD_ROWS))
        self.columns = list(dict.fromkeys(name for row in self._head for name in row.values))

    def rows(self, columns: Iterable[str] | None = None) -> Iterator[Row]:
        del columns
        return chain(self._head, self._rows)

    def _read(self) -> Iterator[Row]:
        for line, text in enumerate(self._stream, 1):
            if text.isspace():
                continue
            try:
                value = parse_json(text, f"line {line}", data=True)
            except DataError as error:
                yield Row(line, {}, f"{error}: {shorten(text.strip(), _SHOWN)}")
                continue
            if isinstance(value, dict):
                yield Row(line, value)
            else:
                yield Row(line, {}, f"line {line}: not an object: {shorten(text.strip(), _SHOWN)}")

    def close(self) -> None:
        self._stream.close()


class _Fields(Source):
    """Rows of a text table."""

    def __init__(self, path: Path, table: Delimited) -> None:
        self._path, self._table = path, table
        self.columns = unique(table.names if table.header else table.columns)
        if table.columns != table.names:
            self.by_number = dict(zip(table.columns, self.columns, strict=False))

    def rows(self, columns: Iterable[str] | None = None) -> Iterator[Row]:
        del columns
        width = self._table.width
        for line, fields in self._table.records(empty=True):
            values = dict(zip(self.columns, fields, strict=False))
            if len(fields) == width:
                yield Row(line, values)
                continue
            beyond = "".join(f"; beyond them: {shorten(field, _SHOWN)!r}" for field in fields[width : width + 1])
            yield Row(line, values, f"line {line}: {len(fields)} fields, but there are {width} columns{beyond}")

    def close(self) -> None:
        self._table.close()


class _Columns(Source):
    """Rows of a .parquet file."""

    def __init__(self, path: Path, table: Rows) -> None:
        self._table = table
        self.columns = list(table.columns)
        self.num_rows = parquet.num_rows(path)

    def rows(self, columns: Iterable[str] | None = None) -> Iterator[Row]:
        wanted = self.columns if columns is None else [name for name in self.columns if name in set(columns)]
        for line, values in self._table.rows(wanted):
            yield Row(line, dict(zip(wanted, values, strict=True)), unit="row")

    def close(self) -> None:
        self._table.close()


def unique(names: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """Make names differ from each other and from those taken: a repeated one gets _2, _3 and so on.

    >>> unique(["text", "score", "text"], taken=["score"])
    ['text', 'score_2', 'text_2']
    """
    used = set(taken)
    chosen: list[str] = []
    for name in names:
        free, number = name, 1
        while free in used:
            number += 1
            free = f"{name}_{number}"
        used.add(free)
        chosen.append(free)
    return chosen
