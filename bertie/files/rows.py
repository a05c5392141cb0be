"""Read tables row by row in constant memory: .csv, .tsv, .jsonl and .parquet, compressed or not.

Which column means what is the business of those who read them.
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
        path: a .csv or .tsv (see `delimited.py`), .jsonl (one object a line) or .parquet file, which may be compressed
            as a whole.
        columns: what the user says of a text table: the role of each column, by name or number, and how it is read.
        bad_utf8: what to do with bytes that are not UTF-8, see ``text.open_text``.
        ask: the flag by which a user names a column, for messages.
        hints: how a file that this one is like was read.

    Returns:
        A context manager to read ``columns`` and ``rows`` from.

    Raises:
        SettingsError: there is no such file, or what reads it isn't installed.
        DataError: the file is broken.
    """
    suffix = format_suffix(path)
    if suffix in (".jsonl", ".json"):  # many data sets name their JSON lines .json
        from bertie.files.json_table import JsonTable, is_json_value  # it derives from Rows

        return (JsonTable if is_json_value(path) else _JsonLines)(path, bad_utf8=bad_utf8)
    if suffix == ".parquet":
        return _Parquet(path, bad_utf8=bad_utf8)
    from bertie.files.delimited import Delimited  # it derives from Rows

    return Delimited(path, columns=columns or {}, bad_utf8=bad_utf8, ask=ask, hints=hints)


def no_value(where: str, name: str, found: Iterable[object]) -> DataError:
    """Say that a row lacks a column that others have."""
    return DataError(f"{where}: no {name!r} here; found: {', '.join(map(str, found))}")


class Rows:
    """A table that is being read; made by ``open_rows``."""

    columns: list[str]
    """The names of the columns; of .jsonl, the keys of the first object; empty when the file is."""

    encoding = "UTF-8"
    """What its characters are written in."""

    num_replaced = 0
    """Broken UTF-8 sequences replaced so far."""

    delimiter = ""
    """What separates the columns of a text table."""

    quoted = False
    """Whether fields of a text table may stand in quotes."""

    header: bool | None = None
    """Whether the first line of a text table names its columns; its columns are numbers otherwise."""

    remarks: tuple[str, ...] = ()
    """What else is to be said of how the file is read."""

    def __init__(self) -> None:
        self.empty: list[int] = []
        """Lines without content that were passed over so far."""

    @property
    def position(self) -> int:
        """Bytes of the file, as it lies on disk, read so far."""
        raise NotImplementedError

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        """Read the rows from beginning to end, once.

        Args:
            columns: the columns wanted.

        Yields:
            The number of the line where the row begins (of .parquet: the row's number, from 1) and the values.

        Raises:
            DataError: a row is broken or lacks a column.
        """
        raise NotImplementedError

    def sample(self, count: int) -> list[list[Any]]:
        """Read the first rows, all columns; a value that a row lacks is None. No row can be read after that."""
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
        # A row may lack a column that others have: the names are those of the first rows together.
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
            if escaped:  # JSON can spell half a character, which no UTF-8 can hold
                wanted = [self._whole(value, name, line) for name, value in zip(columns, wanted, strict=True)]
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
                raise DataError(f"{error}; a table has one object a line") from error
            if not isinstance(value, dict):
                raise DataError(f'{self._path}:{line}: each line must be an object such as {{"text": "..."}}')
            yield line, value, "\\u" in text

    def _whole(self, value: Any, name: str, line: int) -> Any:
        """Return a value whose strings, how deep they ever lie, are whole characters."""
        if isinstance(value, list):
            return [self._whole(part, name, line) for part in value]
        if isinstance(value, dict):
            return {self._whole(key, name, line): self._whole(part, name, line) for key, part in value.items()}
        if not isinstance(value, str) or not _SURROGATES.search(value):
            return value
        if self._strict:
            raise DataError(
                f"{self._path}:{line}: {name!r} holds half a character (a lone surrogate), which is no text; mend it "
                f"({BAD_UTF8_HINT})"
            )
        whole, count = _SURROGATES.subn("\ufffd", value)
        self._num_surrogates += count
        return whole


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
            with native(lambda error: DataError(f"{path}: this is no valid Parquet file ({said(error)})")):
                self._file = ParquetFile(source)
                self.columns = list(self._file.schema_arrow.names)
            self._resources = resources.pop_all()

    @property
    def position(self) -> int:
        num_rows: int = self._file.metadata.num_rows
        return self._path.stat().st_size * self._row // max(1, num_rows)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        with native(lambda error: DataError(f"{self._path}: broken after row {self._row} ({said(error)})")):
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
            # Nothing makes a writer of Parquet check what it calls text.
            values = column.cast("binary").to_pylist()
            for place, value in enumerate(values):
                if value is not None:
                    values[place] = self._decoded(value, self._row + place + 1)
        return values

    def _decoded(self, value: bytes, row: int) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            if self._strict:
                raise DataError(
                    f"{self._path}:{row}: byte {value[error.start]:#04x} is not UTF-8; mend it ({BAD_UTF8_HINT})"
                ) from error
            text = value.decode("utf-8", "replace")
            self.num_replaced += text.count("\ufffd") - value.count("\ufffd".encode())
            return text


def _seekable(path: Path) -> IO[bytes]:
    """Open a file that must be read from its end: a compressed one through a temporary copy."""
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
