"""Write rows with their predictions: one file for each suffix of `--out`."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from bertie.bulk import parquet
from bertie.bulk.kinds import as_field, as_json
from bertie.errors import SettingsError
from bertie.files.compression import COMPRESSIONS, format_suffix, written

SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
_MARKS = {".csv": ",", ".tsv": "\t"}

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Columns:
    """The columns of the file to write, each with its kind, in their order."""

    own: Mapping[str, str]
    """Those of the rows."""
    added: Mapping[str, str]
    """Those of the predictions."""
    types: Any = None
    """Schema of the rows' columns if they are tables of Arrow."""


Write = Callable[[Any, Rows], None]
"""Writes some rows and their added columns; the rows are dictionaries, or a table of Arrow if the schema is given."""


def check(out: Path) -> None:
    """Check that a file can be written by its suffix.

    Raises:
        SettingsError: the suffix is unknown, or a package isn't installed.
    """
    suffix, compression = format_suffix(out), out.suffix.lower()
    if suffix not in SUFFIXES:
        raise SettingsError(
            f"--out {out}: the suffix must be one of {', '.join(SUFFIXES)}; the text forms also with "
            f"{', '.join(COMPRESSIONS)}"
        )
    if suffix == ".parquet" and compression in COMPRESSIONS:
        raise SettingsError(f"--out {out}: a .parquet file is compressed inside; leave out {compression}")
    if suffix == ".parquet":
        parquet.require("to write .parquet files")


def opened(path: Path, out: Path, columns: Columns) -> AbstractContextManager[Write]:
    """Open a new file at `path` in the format of `out`."""
    suffix, compression = format_suffix(out), out.suffix.lower()
    if suffix == ".parquet":
        return _parquet(path, columns)
    text = _objects if suffix == ".jsonl" else _fields
    return text(path, compression if compression in COMPRESSIONS else "", columns, _MARKS.get(suffix, ""))


@contextmanager
def _objects(path: Path, compression: str, columns: Columns, mark: str) -> Iterator[Write]:
    del mark
    empty = dict.fromkeys(columns.added)
    with written(path, compression) as stream:

        def write(own: Rows, added: Rows) -> None:
            both = zip(own, added, strict=True)
            _write(stream, [as_json({**row, **empty, **more}) for row, more in both])

        yield write


@contextmanager
def _fields(path: Path, compression: str, columns: Columns, mark: str) -> Iterator[Write]:
    special = re.compile(f'[{mark}"\r\n]|^ | $|^$')

    def line(values: Sequence[Any]) -> str:
        fields = [as_field(value) for value in values]
        # An empty field is quoted only where the line would be blank without it.
        blank = not any(fields)
        return mark.join(
            '"' + field.replace('"', '""') + '"' if (field or blank) and special.search(field) else field
            for field in fields
        )

    with written(path, compression) as stream:
        _write(stream, [line([*columns.own, *columns.added])])

        def write(own: Rows, added: Rows) -> None:
            rows = zip(own, added, strict=True)
            _write(stream, [line([*map(row.get, columns.own), *map(more.get, columns.added)]) for row, more in rows])

        yield write


@contextmanager
def _parquet(path: Path, columns: Columns) -> Iterator[Write]:
    types = parquet.schema_of(columns.own) if columns.types is None else columns.types
    for one in parquet.schema_of(columns.added):
        types = types.append(one)
    with parquet.writer(path, types) as groups:

        def write(own: Any, added: Rows) -> None:
            table = own if columns.types is not None else parquet.table_of(own, columns.own)
            groups.write(parquet.beside(table, parquet.table_of(added, columns.added)))

        yield write


def _write(stream: IO[bytes], lines: Sequence[str]) -> None:
    stream.write("".join(f"{line}\n" for line in lines).encode("utf-8"))
