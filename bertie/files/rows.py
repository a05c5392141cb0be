"""Read tables row by row in constant memory: .csv, .tsv, .jsonl and .parquet, compressed or not.

The callers decide what each column means.
"""

import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from bertie.errors import DataError, missing_extra
from bertie.files.compression import COMPRESSIONS, ByteStream, format_suffix
from bertie.files.text import BAD_UTF8_HINT, BadUtf8, open_text
from bertie.native import native, said
from bertie.untrusted import parse_json

if TYPE_CHECKING:
    from bertie.files.dialect import Hints

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_PARQUET_BATCH_ROWS = 256
_HEAD_ROWS = 100
_SURROGATES = re.compile("[\ud800-\udfff]")


def open_rows(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    bad_utf8: BadUtf8 = "stop",
    ask: str = "--columns text=",
    hints: "Hints | None" = None,
) -> "Rows":
    """Open a table by its suffix.

    Args:
        path: a .csv or .tsv (see `delimited.py`), .jsonl (one object per line) or .parquet file. It may be compressed.
        columns: the user's settings for a text table: role to column name or number, and `delimited.OPTIONS`.
        bad_utf8: what to do with bytes that are not UTF-8, see ``text.open_text``.
        ask: the flag that names a column, for error messages.
        hints: how a similar file was read, such as the training set of this dev set.

    Returns:
        A context manager to read ``columns`` and ``rows`` from.

    Raises:
        SettingsError: there is no such file, or the package that reads it isn't installed.
        DataError: the file is damaged.
    """
    suffix = format_suffix(path)
    if suffix in (".jsonl", ".json"):  # many data sets name a JSON Lines file .json
        from bertie.files.json_table import JsonTable, is_json_value  # imported late: it needs Rows

        return (JsonTable if is_json_value(path) else _JsonLines)(path, bad_utf8=bad_utf8)
    if suffix == ".parquet":
        return _Parquet(path, bad_utf8=bad_utf8)
    from bertie.files.delimited import Delimited  # imported late: it needs Rows

    return Delimited(path, columns=columns or {}, bad_utf8=bad_utf8, ask=ask, hints=hints)


def no_value(where: str, name: str, found: Iterable[object]) -> DataError:
    """Build the error for a row that lacks a column that other rows have."""
    return DataError(f"{where}: no {name!r} here; found: {', '.join(map(str, found))}")


class Rows:
    """An open table; made by ``open_rows``."""

    columns: list[str]
    """The names of the columns; for .jsonl, the keys of the first 100 objects; empty for an empty file."""

    encoding = "UTF-8"
    """The encoding of its characters."""

    num_replaced = 0
    """Invalid UTF-8 sequences replaced so far."""

    delimiter = ""
    """The character that separates the columns of a text table."""

    quoted = False
    """Whether fields of a text table may be enclosed in quotes."""

    header: bool | None = None
    """Whether the first line of a text table names its columns. If not, the columns are numbered."""

    remarks: tuple[str, ...] = ()
    """Further facts for the user about how the file is read."""

    def __init__(self) -> None:
        self.empty: list[int] = []
        """Numbers of the empty lines skipped so far."""

    @property
    def position(self) -> int:
        """Bytes of the file on disk, compressed or not, read so far."""
        raise NotImplementedError

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        """Read the rows from beginning to end, once.

        Args:
            columns: the columns to return.

        Yields:
            The number of the line where the row begins (for .parquet, the row's number, from 1) and the values.

        Raises:
            DataError: a row is damaged or lacks a column.
        """
        raise NotImplementedError

    def sample(self, count: int) -> list[list[Any]]:
        """Return all columns of the first rows; a missing value is None. `rows` can't be called afterwards."""
        return [values for _, values in islice(self.rows(self.columns), count)]

    def close(self) -> None:
        """Close the file."""
        raise NotImplementedError

    def __enter__(self) -> "Rows":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _JsonLines(Rows):
    def __init__(self, path: str | Path, *, bad_utf8: BadUtf8) -> None:
        super().__init__()
        self._path = path
        self._strict = bad_utf8 == "stop"
        self._num_surrogates = 0
        self._stream = open_text(path, bad_utf8=bad_utf8)
        self._objects = self._read()
        # A row may lack a column that others have, so collect the names from the first rows.
        self._head = list(islice(self._objects, _HEAD_ROWS))
        self.columns = list(dict.fromkeys(name for _, values, _ in self._head for name in values))

    @property
    def position(self) -> int:
        return self._stream.position

    @property
    def num_replaced(self) -> int:  # type: ignore[override]
        return self._stream.num_replaced + self._num_surrogates

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        for line, values, escaped in chain(self._head, self._objects):
            missing = [name for name in columns if name not in values]
            if missing:
                raise no_value(f"{self._path}:{line}", missing[0], values)
            wanted = [values[name] for name in columns]
            if escaped:  # a JSON escape can write a lone surrogate, which UTF-8 can't encode
                wanted = [self._checked(value, name, line) for name, value in zip(columns, wanted, strict=True)]
            yield line, wanted

    def sample(self, count: int) -> list[list[Any]]:
        """Read the first rows; see `Rows.sample`."""
        rows = islice(chain(self._head, self._objects), count)
        return [[values.get(name) for name in self.columns] for _, values, _ in rows]

    def close(self) -> None:
        self._stream.close()

    def _read(self) -> Iterator[tuple[int, dict[str, Any], bool]]:
        for line, text in enumerate(self._stream, 1):
            if text.isspace():
                continue
            try:
                value = parse_json(text, f"{self._path}:{line}", data=True)
            except DataError as error:
                raise DataError(f"{error}; a JSON Lines table has one object per line") from error
            if not isinstance(value, dict):
                raise DataError(f'{self._path}:{line}: each line must be an object such as {{"text": "..."}}')
            yield line, value, "\\u" in text

    def _checked(self, value: Any, name: str, line: int) -> Any:
        """Replace lone surrogates in all strings of a value, nested ones included; or raise, if `bad_utf8` is stop."""
        if isinstance(value, list):
            return [self._checked(part, name, line) for part in value]
        if isinstance(value, dict):
            return {self._checked(key, name, line): self._checked(part, name, line) for key, part in value.items()}
        if not isinstance(value, str) or not _SURROGATES.search(value):
            return value
        if self._strict:
            raise DataError(
                f"{self._path}:{line}: {name!r} contains half a character (a lone surrogate), which is not valid text; "
                f"correct the line ({BAD_UTF8_HINT})"
            )
        text, count = _SURROGATES.subn("\ufffd", value)
        self._num_surrogates += count
        return text


class _Parquet(Rows):
    def __init__(self, path: str | Path, *, bad_utf8: BadUtf8) -> None:
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise missing_extra("pyarrow", "data", "to read .parquet files") from error
        super().__init__()
        self._path = Path(path)
        self._strict = bad_utf8 == "stop"
        self._row = 0
        with ExitStack() as resources:
            source: IO[bytes] = resources.enter_context(_seekable(self._path))
            with native(lambda error: DataError(f"{path}: not a valid Parquet file ({said(error)})")):
                self._file = ParquetFile(source)
                self.columns = list(self._file.schema_arrow.names)
            self._resources = resources.pop_all()

    @property
    def position(self) -> int:
        num_rows: int = self._file.metadata.num_rows
        return self._path.stat().st_size * self._row // max(1, num_rows)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        with native(lambda error: DataError(f"{self._path}: damaged after row {self._row} ({said(error)})")):
            for batch in self._file.iter_batches(_PARQUET_BATCH_ROWS, columns=list(columns), use_threads=False):
                for row in zip(*(self._values(batch.column(name)) for name in columns), strict=True):
                    self._row += 1
                    yield self._row, list(row)

    def close(self) -> None:
        self._resources.close()

    def _values(self, column: Any) -> list[Any]:
        try:
            values: list[Any] = column.to_pylist()
        except UnicodeDecodeError:
            # A Parquet writer need not check that its strings are UTF-8.
            values = column.cast("binary").to_pylist()
            for index, value in enumerate(values):
                if value is not None:
                    values[index] = self._decoded(value, self._row + index + 1)
        return values

    def _decoded(self, value: bytes, row: int) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            if self._strict:
                raise DataError(
                    f"{self._path}:{row}: byte {value[error.start]:#04x} is not UTF-8; correct it ({BAD_UTF8_HINT})"
                ) from error
            text = value.decode("utf-8", "replace")
            self.num_replaced += text.count("\ufffd") - value.count("\ufffd".encode())
            return text


def _seekable(path: Path) -> IO[bytes]:
    """Open a file for random access; decompress a compressed one into a temporary file first."""
    with ByteStream(path) as stream:
        if path.suffix.lower() not in COMPRESSIONS:
            return path.open("rb")
        copy = tempfile.TemporaryFile()  # noqa: SIM115 (the caller closes it)
        try:
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
        except BaseException:
            copy.close()
            raise
        return copy
