"""Arrow's own files, through the package pyarrow (extra `data`): streams as `datasets` writes them, and Feather.

The first bytes of a file show which of the two it is, whatever its suffix. pyarrow doesn't check the content of such
files, and a false offset would lead it out of its memory, so every column is checked before it is read.
"""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bertie.errors import DataError, missing_extra
from bertie.files.compression import ByteStream
from bertie.native import native, said
from bertie.tables._columnar import BATCH_ROWS, Columnar, seekable
from bertie.tables.table import Format, Opening, Rows

_CHUNK_BYTES = 2**20
_FILE, _OLD = b"ARROW1", b"FEA1"
_END = b"\xff\xff\xff\xff\0\0\0\0"
"""The last bytes of a stream. Without this check, a file that lacks its last batches would look complete."""


class _Reader(io.BufferedReader):
    """A reader that remembers the last bytes that it returned, and takes no more memory than the file has bytes."""

    tail = b""

    def read(self, size: int | None = -1, /) -> bytes:
        parts, missing = [], size if size is not None and size >= 0 else sys.maxsize
        # One call for a false size, in a damaged file, would ask for that much memory before it reads.
        while part := super().read(min(missing, _CHUNK_BYTES)):
            parts.append(part)
            missing -= len(part)
        data = b"".join(parts)
        self.tail = (self.tail + data[-len(_END) :])[-len(_END) :]
        return data


class _Arrow(Columnar):
    """A table of Arrow's, whatever it is stored in.

    Raises:
        DataError: the file is damaged.
    """

    def __init__(self, path: Path, opening: Opening) -> None:
        super().__init__(path, opening)
        with ExitStack() as resources:
            with native(lambda error: DataError(f"{path}: not a valid Arrow file ({said(error)})")):
                schema = self._open(resources)
                self.columns = list(schema.names)
            self.described = (schema.metadata or {}).get(b"huggingface", b"")
            self._resources = resources.pop_all()

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield checked record batches of the columns."""
        import pyarrow as pa

        try:
            for batch in self._stored():
                whole = pa.RecordBatch.from_arrays([_checked(batch.column(name)) for name in columns], list(columns))
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield whole.slice(start, BATCH_ROWS)
        except MemoryError as error:
            raise DataError(
                f"{self._path}: the batch after row {self._row} needs more memory than there is; the file is damaged, "
                "or must be written in smaller batches"
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._resources.close()

    def _open(self, resources: ExitStack) -> Any:
        """Open the file and return its schema."""
        raise NotImplementedError

    def _stored(self) -> Iterator[Any]:
        """Yield the record batches as they are stored."""
        raise NotImplementedError


class _Stream(_Arrow):
    """Batches one after another."""

    @property
    def position(self) -> int:
        """Bytes of the file on disk, compressed or not, read so far."""
        return self._bytes.position

    def _open(self, resources: ExitStack) -> Any:
        from pyarrow import ipc

        self._bytes = resources.enter_context(ByteStream(self._path))
        self._source = resources.enter_context(_Reader(self._bytes))
        self._reader = ipc.open_stream(self._source)
        return self._reader.schema

    def _stored(self) -> Iterator[Any]:
        yield from self._reader
        if self._source.tail != _END or self._source.read(1):
            raise DataError(
                f"{self._path}: its end is missing after row {self._row}; the file was not written or copied completely"
            )


class _File(_Arrow):
    """Feather: batches with a list of their places at the end of the file."""

    _done = 0  # batches

    @property
    def position(self) -> int:
        """Bytes of the file on disk, compressed or not, read so far."""
        num_batches: int = self._reader.num_record_batches
        return self._path.stat().st_size * self._done // max(1, num_batches)

    def _open(self, resources: ExitStack) -> Any:
        from pyarrow import ipc

        source: Any = resources.enter_context(seekable(self._path))
        self._reader = ipc.open_file(resources.enter_context(_Reader(source)))
        return self._reader.schema

    def _stored(self) -> Iterator[Any]:
        for number in range(self._reader.num_record_batches):
            yield self._reader.get_batch(number)
            self._done += 1


def _checked(column: Any) -> Any:
    """Return a column of whose values none lies outside of the file's data.

    Strings need not be UTF-8: `Columnar` stops at such a string, or replaces its bytes.
    """
    import pyarrow as pa

    as_bytes = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary()}
    kind = as_bytes.get(column.type)
    (column if kind is None else column.view(kind)).validate(full=True)
    return column


def _open(path: Path, opening: Opening) -> Rows:
    try:
        import pyarrow as pa  # noqa: F401 (is it installed?)
    except ImportError as error:
        raise missing_extra("pyarrow", "data", f"to read {' and '.join(FORMAT.suffixes)} files") from error
    with ByteStream(path) as stream, io.BufferedReader(stream) as reader:
        first = reader.read(len(_FILE))
    if first.startswith(_OLD):
        raise DataError(f"{path}: this is version 1 of Feather; read it with pyarrow.feather and write it as version 2")
    return (_File if first == _FILE else _Stream)(path, opening)


FORMAT = Format((".arrow", ".feather"), _open, is_text=False)
