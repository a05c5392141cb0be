"""Turn rows of a file into items of a task: the beginning of the file decides the columns, once for all rows.

The task's own reader reads the beginning as it reads a whole file. Further rows go through the same reader with these
columns, some hundred at a time.
"""

import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.bulk.head import Head
from bertie.bulk.sources import Row, Source, open_source
from bertie.errors import BertieError, DataError, SettingsError
from bertie.files.compression import format_suffix
from bertie.readers.frames import write
from bertie.readers.reading import Reading
from bertie.tasks._lookup import read_items
from bertie.tasks.task import Task

_HEAD_ROWS = 5000  # as many lines as the detection of columns looks at
_MOST_UNREADABLE = 100  # rows of the beginning that may be left out of the detection
_EXAMPLES = 20  # good rows that a reader sees again with every part, because it decides the form of cells by several
# Roles of right answers, which a prediction doesn't need. A broken one must not make a row unusable.
_GOLD = {"label", "tags", "spans", "answers", "start", "end", "impossible", "answerable", "id"}


class ItemReader:
    """Read rows as items of a task.

    Args:
        task: the task.
        path: the file.
        columns: the user's roles and options of columns.
        like: how the model's training file was read.

    Raises:
        SettingsError: the file can't be opened, lacks a column, or has items of several rows.
        DataError: the columns can't be recognised.
    """

    def __init__(self, task: Task, path: Path, columns: Mapping[str, str] | None, like: Reading | None) -> None:
        self._task, self._path = task, path
        self._opened = ExitStack()
        self._folder = Path(self._opened.enter_context(tempfile.TemporaryDirectory(prefix="bertie-")))
        try:
            with open_source(path, columns or {}, like) as source:
                mapping = {"text": "text"} if format_suffix(path) == ".txt" else self._detected(source, columns, like)
                self._columns = {role: _named(name, source) for role, name in mapping.items()}
                names = set(source.columns)
            parts = [[name] if name in names else name.split("+") for name in self._columns.values()]
            self.needed = [part.strip() for names_of_role in parts for part in names_of_role]
            self._examples: list[Row] = []
            self._examples = self._readable(columns or {}, like)
        except BaseException:
            self.close()
            raise

    def read(self, rows: Sequence[Row]) -> list[Any]:
        """Return the item of each row; an error text, as `DataError`, in place of an item that can't be made."""
        found: dict[int, Any] = {}
        whole: list[int] = []
        for number, row in enumerate(rows):
            missing = next((name for name in self.needed if name not in row.values), None)
            if row.error:
                found[number] = DataError(row.error)
            elif missing is not None:
                names = ", ".join(map(str, row.values)) or "nothing"
                found[number] = DataError(f"{row.place}: no {missing!r} here; found: {names}")
            else:
                whole.append(number)
        for number, item in zip(whole, by_halves([rows[number] for number in whole], self._made), strict=True):
            found[number] = item
        return [found[number] for number in range(len(rows))]

    def close(self) -> None:
        """Remove the temporary files."""
        self._opened.close()

    def __enter__(self) -> "ItemReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _made(self, rows: Sequence[Row]) -> list[Any]:
        """Return the items of complete rows.

        Raises:
            DataError: one of them can't be read.
        """
        shown = [*self._examples, *rows]
        file = self._folder / "rows.jsonl"
        write([{name: row.values[name] for name in self.needed} for row in shown], file)
        try:
            with progress.without_notes(), progress.collected():
                items = list(read_items(self._task, file, columns=self._columns).items)
        except BertieError as error:
            text = re.sub(rf"{re.escape(str(file))}(:\d+)?:? *", "", str(error))
            raise DataError(f"{rows[0].place}: {text}") from error
        if len(items) != len(shown):
            raise DataError(f"{rows[0].place}: the task reads {len(items) - len(self._examples)} items here, not one")
        return items[len(self._examples) :]

    def _readable(self, columns: Mapping[str, str], like: Reading | None) -> list[Row]:
        """Return the first rows of the file that can be read."""
        with open_source(self._path, columns, like) as source:
            rows = list(islice(source.rows(self.needed), _EXAMPLES))
        return [row for row, item in zip(rows, self.read(rows), strict=True) if not isinstance(item, DataError)]

    def _detected(self, source: Source, columns: Mapping[str, str] | None, like: Reading | None) -> dict[str, str]:
        """Return the column of each role but those of right answers, as the task reads the beginning of the file."""
        head = Head.of(self._path, source, _HEAD_ROWS)
        for _ in range(_MOST_UNREADABLE):
            file = head.write(self._folder)
            try:
                with progress.without_notes(), progress.collected() as warnings:
                    table = read_items(self._task, file, columns=columns, like=like)
                break
            except BertieError as error:
                if not (isinstance(error, DataError) and head.left_out(str(error))):
                    raise type(error)(head.translated(str(error))) from error
        else:
            raise DataError(
                f"{self._path}: {_MOST_UNREADABLE} of the first {_HEAD_ROWS:,} rows can't be read; choose another "
                "column by --columns"
            )
        if "sentence" in table.mapping or not len(head) / 2 <= len(table.items) <= 2 * len(head):
            raise SettingsError(
                f"{self._path}: --out needs one row for each item, but {len(head):,} rows hold {len(table.items):,} "
                "items; leave --out out to print the predictions"
            )
        if table.reading is not None:
            plan = table.reading.line().replace(f"{table.reading.rows:,} rows", f"the first {len(head):,} rows", 1)
            progress.note(head.translated(plan))
        for warning in warnings:
            progress.warn(head.translated(warning))
        return {role: name for role, name in table.mapping.items() if role not in _GOLD and "negative" not in role}


def by_halves(things: Sequence[Any], make: Callable[[Sequence[Any]], Sequence[Any]]) -> list[Any]:
    """Make something of each thing, and put the DataError in its place where that fails.

    Args:
        things: what to make it of.
        make: makes all of some things, or raises DataError if one of them is bad.
    """
    if not things:
        return []
    try:
        return list(make(things))
    except DataError as error:
        if len(things) == 1:
            return [error]
    middle = len(things) // 2
    return [*by_halves(things[:middle], make), *by_halves(things[middle:], make)]


def _named(name: str, source: Source) -> str:
    """Return the name of a column, or of several joined by "+", that may be given by number."""
    if name in source.by_number:
        return source.by_number[name]
    parts = name.split("+")
    known = all(part in source.by_number for part in parts)
    return "+".join(source.by_number[part] for part in parts) if known else name
