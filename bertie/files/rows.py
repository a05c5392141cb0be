"""Read tables row by row in constant memory: .csv, .tsv, .jsonl and .parquet, compressed or not.

Which column means what is the business of those who read them.
"""

import csv
import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from bertie.errors import DataError, missing_extra
from bertie.files.compression import COMPRESSIONS, ByteStream, format_suffix
from bertie.files.text import BAD_UTF8_HINT, MAX_LINE_BYTES, BadUtf8, open_text

SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_PARQUET_BATCH_ROWS = 256
_SURROGATES = re.compile("[\ud800-\udfff]")


def open_rows(path: str | Path, *, bad_utf8: BadUtf8 = "stop") -> "Rows":
    """Open a table by its suffix.

    Args:
        path: a .csv (first line is the header, fields may be quoted), .tsv (first line is the header, no quoting),
            .jsonl (one object a line) or .parquet file, which may be compressed as a whole.
        bad_utf8: what to do with bytes that are not UTF-8, see ``text.open_text``.

    Returns:
        A context manager to read ``columns`` and ``rows`` from.

    Raises:
        SettingsError: there is no such file, or what reads it isn't installed.
        DataError: the file is broken.
    """
    suffix = format_suffix(path)
    if suffix in (".jsonl", ".json"):  # many data sets name their JSON lines .json
        return _JsonLines(path, bad_utf8=bad_utf8)
    if suffix == ".parquet":
        return _Parquet(path, bad_utf8=bad_utf8)
    return _Delimited(path, delimiter="\t" if suffix == ".tsv" else ",", bad_utf8=bad_utf8)


class Rows:
    """A table that is being read; made by ``open_rows``."""

    columns: list[str]
    """The names of the columns; of .jsonl, the keys of the first object; empty when the file is."""

    num_replaced = 0
    """Broken UTF-8 sequences replaced so far."""

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

    def close(self) -> None:
        """Close the file."""
        raise NotImplementedError

    def __enter__(self) -> "Rows":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Delimited(Rows):
    def __init__(self, path: str | Path, *, delimiter: str, bad_utf8: BadUtf8) -> None:
        self._path = path
        self._stream = open_text(path, bad_utf8=bad_utf8)
        if delimiter == ",":
            # The package's own limit is 131,072 characters a field; the stream bounds its lines already.
            csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
            # strict: without it, a quote that is never closed swallows the rest of the file in silence.
            self._records = self._numbered(csv.reader(self._stream, strict=True))
        else:
            self._records = ((n, line.rstrip("\n").split(delimiter)) for n, line in enumerate(self._stream, 1))
        self.columns = next((fields for _, fields in self._records), [])

    @property
    def position(self) -> int:
        return self._stream.position

    @property
    def num_replaced(self) -> int:  # type: ignore[override]
        return self._stream.num_replaced

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        indices = [self.columns.index(name) for name in columns]
        for line, fields in self._records:
            if not any(fields):
                continue
            if len(fields) != len(self.columns):
                raise DataError(
                    f"{self._path}:{line}: {len(fields)} fields, but the header names {len(self.columns)} "
                    f"({', '.join(self.columns)})"
                )
            yield line, [fields[index] for index in indices]

    def close(self) -> None:
        self._stream.close()

    def _numbered(self, reader: Any) -> Iterator[tuple[int, list[str]]]:
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise DataError(f"{self._path}:{line}: this row is no valid CSV ({error})") from error
            if fields is None:
                return
            yield line, fields


class _JsonLines(Rows):
    def __init__(self, path: str | Path, *, bad_utf8: BadUtf8) -> None:
        self._path = path
        self._strict = bad_utf8 == "stop"
        self._num_surrogates = 0
        self._stream = open_text(path, bad_utf8=bad_utf8)
        self._objects = self._read()
        self._first = next(self._objects, None)
        self.columns = [] if self._first is None else list(self._first[1])

    @property
    def position(self) -> int:
        return self._stream.position

    @property
    def num_replaced(self) -> int:  # type: ignore[override]
        return self._stream.num_replaced + self._num_surrogates

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        item = self._first
        while item is not None:
            line, values, escaped = item
            missing = [name for name in columns if name not in values]
            if missing:
                raise DataError(f"{self._path}:{line}: no {missing[0]!r} here; found: {', '.join(values)}")
            wanted = [values[name] for name in columns]
            if escaped:  # JSON can spell half a character, which no UTF-8 can hold
                wanted = [self._whole(value, name, line) for name, value in zip(columns, wanted, strict=True)]
            yield line, wanted
            item = next(self._objects, None)

    def close(self) -> None:
        self._stream.close()

    def _read(self) -> Iterator[tuple[int, dict[str, Any], bool]]:
        for line, text in enumerate(self._stream, 1):
            if text.isspace():
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise DataError(
                    f"{self._path}:{line}: this line is no valid JSON ({error}); a table has one object a line"
                ) from error
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
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise missing_extra("pyarrow", "data", "to read .parquet files") from error
        self._path = Path(path)
        self._strict = bad_utf8 == "stop"
        self._broken = ArrowException
        self._row = 0
        with ExitStack() as resources:
            source: IO[bytes] = resources.enter_context(_seekable(self._path))
            try:
                self._file = ParquetFile(source)
            except self._broken as error:
                raise DataError(f"{path}: this is no valid Parquet file ({error})") from error
            self._resources = resources.pop_all()
        self.columns = list(self._file.schema_arrow.names)

    @property
    def position(self) -> int:
        num_rows: int = self._file.metadata.num_rows
        return self._path.stat().st_size * self._row // max(1, num_rows)

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        try:
            for batch in self._file.iter_batches(_PARQUET_BATCH_ROWS, columns=list(columns), use_threads=False):
                for row in zip(*(self._values(batch.column(name)) for name in columns), strict=True):
                    self._row += 1
                    yield self._row, list(row)
        except self._broken as error:
            raise DataError(f"{self._path}: broken after row {self._row} ({error})") from error

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
