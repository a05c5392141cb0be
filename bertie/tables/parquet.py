"""Parquet files, through the package pyarrow (extra `data`)."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from bertie.errors import DataError, missing_extra
from bertie.native import native, said
from bertie.tables._columnar import BATCH_ROWS, Columnar, seekable
from bertie.tables.table import Format, Opening


class Parquet(Columnar):
    """An open Parquet file.

    Args:
        path: the file.
        opening: how to open it.

    Raises:
        SettingsError: pyarrow isn't installed.
        DataError: the file is damaged.
    """

    def __init__(self, path: Path, opening: Opening) -> None:
        try:
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise missing_extra("pyarrow", "data", "to read .parquet files") from error
        super().__init__(path, opening)
        with ExitStack() as resources:
            source: IO[bytes] = resources.enter_context(seekable(path))
            with native(lambda error: DataError(f"{path}: not a valid Parquet file ({said(error)})")):
                self._file = ParquetFile(source)
                schema = self._file.schema_arrow
                self.columns = list(schema.names)
                self.described = (schema.metadata or {}).get(b"huggingface", b"")
            self._resources = resources.pop_all()

    @property
    def position(self) -> int:
        """Bytes of the file on disk, compressed or not, read so far."""
        num_rows: int = self._file.metadata.num_rows
        return self._path.stat().st_size * self._row // max(1, num_rows)

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        """Yield record batches of the columns."""
        yield from self._file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False)

    def close(self) -> None:
        """Close the file."""
        self._resources.close()


FORMAT = Format((".parquet",), Parquet, is_text=False)
