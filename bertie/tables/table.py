"""The contract of `tables/`: open a table by its suffix, and read its rows in constant memory, compressed or not.

A format is a file of this folder that holds a `Format` named `FORMAT`: its suffixes, and what opens a file as `Rows`.
The callers decide what each column means.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from bertie import registry
from bertie.errors import DataError
from bertie.files.compression import format_suffix
from bertie.files.text import BadUtf8


@dataclass(frozen=True)
class Hints:
    """How a similar file was read. It decides if the lines of a text table are ambiguous."""

    delimiter: str
    header: bool
    names: tuple[str, ...]
    """Names or numbers of the columns that were used."""


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How to open a table. Each format uses what concerns it."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """The user's settings for a text table: role to column name or number, and `delimited.OPTIONS`."""
    bad_utf8: BadUtf8 = "stop"
    """What to do with bytes that are not UTF-8, see ``files.text.open_text``."""
    ask: str = "--columns text="
    """The flag that names a column, for error messages."""
    hints: Hints | None = None
    """How a similar file was read, such as the training set of this dev set."""


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

    described = b""
    """The description of the columns by the package `datasets`, in JSON; empty without one."""

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
            The number of the line where the row begins (in a file without lines, the row's number, from 1) and the
            values.

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


@dataclass(frozen=True)
class Format:
    """A format of tables."""

    suffixes: tuple[str, ...]
    """Suffixes of its files, in lower case and without a compression. Such files are also found in folders."""
    open: Callable[[Path, Opening], Rows]
    """Opens a file. It raises DataError if the file is damaged, SettingsError if there is none or a package lacks."""
    vague: tuple[str, ...] = ()
    """Suffixes of files that may hold something else. They are read as tables if a user names them."""
    is_text: bool = True
    """Whether its files are lines of text, in which the place of a byte tells a user something."""


def open_rows(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    bad_utf8: BadUtf8 = "stop",
    ask: str = Opening.ask,
    hints: Hints | None = None,
) -> Rows:
    """Open a table by its suffix; it may be compressed.

    Args:
        path: a file with one of the `suffixes`. A file with another one is read as delimited text.
        columns: see `Opening`, as the rest.
        bad_utf8: what to do with bytes that are not UTF-8.
        ask: the flag that names a column.
        hints: how a similar file was read.

    Returns:
        A context manager to read ``columns`` and ``rows`` from.

    Raises:
        SettingsError: there is no such file, or the package that reads it isn't installed.
        DataError: the file is damaged.
    """
    opening = Opening(columns=columns or {}, bad_utf8=bad_utf8, ask=ask, hints=hints)
    return format_of(path).open(Path(path), opening)


def format_of(path: str | Path) -> Format:
    """Return the format of a file by its suffix; delimited text for an unknown one."""
    suffix = format_suffix(path)
    known = (form for form in formats() if suffix in (*form.suffixes, *form.vague))
    delimited: Format = registry.load("tables", "delimited").FORMAT
    return next(known, delimited)


@cache
def formats() -> tuple[Format, ...]:
    """Return all formats, those of text first."""
    found: list[Format] = [registry.load("tables", name).FORMAT for name in registry.choices("tables")]
    return tuple(sorted(found, key=lambda form: not form.is_text))


def suffixes(*, vague: bool = False) -> tuple[str, ...]:
    """Return the suffixes of all formats.

    Args:
        vague: whether to add, at the end, those of files that may hold something else.
    """
    clear = [suffix for form in formats() for suffix in form.suffixes]
    return (*clear, *(suffix for form in formats() for suffix in form.vague if vague))


def no_value(where: str, name: str, found: Iterable[object]) -> DataError:
    """Build the error for a row that lacks a column that other rows have."""
    return DataError(f"{where}: no {name!r} here; found: {', '.join(map(str, found))}")
