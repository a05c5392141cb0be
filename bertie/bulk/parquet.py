"""Read and write .parquet files as tables of Arrow, whose columns keep their types."""

import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertie.bulk.kinds import as_cell
from bertie.errors import DataError, missing_extra
from bertie.files.compression import COMPRESSIONS, ByteStream
from bertie.native import native, said

_BATCH_ROWS = 1024
_GROUP_ROWS = 8192  # of a row group, unless it becomes too large for the memory
_GROUP_BYTES = 32 * 2**20


def require(purpose: str) -> None:
    """Check that pyarrow is installed.

    Raises:
        SettingsError: it isn't.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise missing_extra("pyarrow", "data", purpose) from error


def num_rows(path: Path) -> int:
    """Return the number of rows of a file."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def write_head(path: Path, head: Path, count: int) -> None:
    """Write the first rows of a file as another file."""
    import pyarrow as pa
    from pyarrow import parquet

    with _opened(path) as file:
        batch = next(file.iter_batches(max(1, count), use_threads=False), None)
        table = file.schema_arrow.empty_table() if batch is None else pa.Table.from_batches([batch])
        parquet.write_table(table, head)


def tables(path: Path, counts: Iterable[int]) -> Iterator[Any]:
    """Yield the rows of a file as tables of the given numbers of rows."""
    import pyarrow as pa

    with _opened(path) as file:
        batches = file.iter_batches(_BATCH_ROWS, use_threads=False)
        rest = file.schema_arrow.empty_table()
        for count in counts:
            while rest.num_rows < count:
                batch = next(batches, None)
                if batch is None:
                    raise DataError(f"{path} changed while it was read; predict again when it is complete")
                rest = pa.concat_tables([rest, pa.Table.from_batches([batch])])
            yield rest.slice(0, count)
            rest = rest.slice(count)


def schema(path: Path) -> Any:
    """Return the columns of a file with their types."""
    with _opened(path) as file:
        types = file.schema_arrow
    # The package datasets refuses a file with more columns than its description.
    kept = {name: value for name, value in (types.metadata or {}).items() if name != b"huggingface"}
    return types.with_metadata(kept or None)


def schema_of(kinds: Mapping[str, str]) -> Any:
    """Return a schema with a column of each kind."""
    import pyarrow as pa

    simple = {
        "bool": pa.bool_(),
        "int": pa.int64(),
        "float": pa.float64(),
        "str": pa.string(),
        "json": pa.string(),
        "null": pa.string(),
    }

    def type_of(kind: str) -> Any:
        if kind.startswith("list:"):
            return pa.list_(type_of(kind.removeprefix("list:")))
        return simple[kind]

    return pa.schema([(name, type_of(kind)) for name, kind in kinds.items()])


def table_of(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, str]) -> Any:
    """Return rows as a table with a column of each kind."""
    import pyarrow as pa

    columns = [[as_cell(row.get(name), kind) for row in rows] for name, kind in kinds.items()]
    types = schema_of(kinds)
    arrays = [pa.array(values, type=one.type) for values, one in zip(columns, types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=types)


def beside(first: Any, second: Any) -> Any:
    """Return a table with the columns of both."""
    for field, column in zip(second.schema, second.columns, strict=True):
        first = first.append_column(field, column)
    return first


@contextmanager
def writer(path: Path, types: Any) -> Iterator["Groups"]:
    """Open a new file to write tables with these columns."""
    from pyarrow import parquet

    with parquet.ParquetWriter(path, types) as opened:
        groups = Groups(opened)
        yield groups
        groups.flush()


class Groups:
    """Collect tables into groups of rows, which a file is read by."""

    def __init__(self, opened: Any) -> None:
        self._opened = opened
        self._waiting: list[Any] = []

    def write(self, table: Any) -> None:
        """Add a table."""
        self._waiting.append(table)
        rows = sum(one.num_rows for one in self._waiting)
        if rows >= _GROUP_ROWS or sum(one.nbytes for one in self._waiting) >= _GROUP_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        import pyarrow as pa

        if self._waiting:
            self._opened.write_table(pa.concat_tables(self._waiting))
            self._waiting = []


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file; a compressed one is first decompressed into a temporary file."""
    from pyarrow.parquet import ParquetFile

    with ByteStream(path) as stream, tempfile.TemporaryFile() as copy:
        source: Any = path
        if path.suffix.lower() in COMPRESSIONS:
            shutil.copyfileobj(stream, copy)
            copy.seek(0)
            source = copy
        with native(lambda error: DataError(f"{path}: not a valid Parquet file ({said(error)})")):
            file = ParquetFile(source)
        with file:
            yield file
