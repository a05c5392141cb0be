"""Tables that the package pyarrow reads in batches of columns."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from bertie.errors import DataError
from bertie.files.compression import COMPRESSIONS, ByteStream
from bertie.files.text import BAD_UTF8_HINT
from bertie.native import native, said
from bertie.tables.table import Opening, Rows, no_value

BATCH_ROWS = 256


class Columnar(Rows):
    """An open table whose rows come in batches of columns.

    Args:
        path: the file.
        opening: how to open it.
    """

    def __init__(self, path: Path, opening: Opening) -> None:
        super().__init__()
        self._path = path
        self._strict = opening.bad_utf8 == "stop"
        self._row = 0

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield pyarrow's record batches of at most about `BATCH_ROWS` rows, with at least these columns."""
        raise NotImplementedError

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        """Read the rows, numbered from 1; see `Rows.rows`."""
        if missing := [name for name in columns if name not in self.columns]:
            raise no_value(str(self._path), missing[0], self.columns)
        with native(lambda error: DataError(f"{self._path}: damaged after row {self._row} ({said(error)})")):
            for batch in self.batches(columns):
                for row in zip(*(self._values(batch.column(name)) for name in columns), strict=True):
                    self._row += 1
                    yield self._row, list(row)

    def _values(self, column: Any) -> list[Any]:
        try:
            values: list[Any] = column.to_pylist()
        except UnicodeDecodeError:
            # A writer need not check that its strings are UTF-8.
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


def seekable(path: Path) -> IO[bytes]:
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
