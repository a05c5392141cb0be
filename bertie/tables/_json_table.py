"""Read tables that are one JSON value: a list of objects, an object that holds such a list, or an object of columns.

Such a file is read into memory as a whole, up to `LARGE_BYTES` characters. If it holds no rows, the error lists its
content.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.files.compression import format_suffix
from bertie.files.text import open_text
from bertie.tables.table import Opening, Rows, no_value
from bertie.untrusted import LARGE_BYTES, check_whole_characters, parse_json

_SHOWN = 6
_BY_NUMBER = "one object per row, keyed by row number"


def is_json_value(path: str | Path) -> bool:
    """Return whether a file is one JSON value rather than one object per line, judged by its first lines."""
    with open_text(path, bad_utf8="replace") as stream:
        first = next((line for line in stream if not line.isspace()), "").strip()
        if first.startswith("["):
            return True
        if not first.startswith("{"):
            return False
        try:
            value = parse_json(first, str(path), data=True)
        except DataError:
            return first in ("{", "{}") or not first.endswith("}")
        more = next((line for line in stream if not line.isspace()), None)
    if more is not None or not isinstance(value, dict):
        return False
    inner = _inner(value)
    # The only line of a .jsonl file may be a row whose values are lists.
    return inner is not None and (bool(inner[0]) or format_suffix(path) == ".json")


class JsonTable(Rows):
    """A table that is one JSON value.

    Args:
        path: the file.
        opening: how to open it.

    Raises:
        DataError: the file is not JSON, or holds no rows.
    """

    def __init__(self, path: Path, opening: Opening) -> None:
        super().__init__()
        self._path = path
        with open_text(path, bad_utf8=opening.bad_utf8) as stream:
            text = stream.read(LARGE_BYTES + 1)
            self.num_replaced, self._position = stream.num_replaced, stream.position
        if len(text) > LARGE_BYTES:
            raise DataError(
                f"{path}: one JSON value of over {LARGE_BYTES:,} characters; write one object per line (.jsonl)"
            )
        value = parse_json(text, str(path), data=True)
        check_whole_characters(value, str(path))
        self._rows, self.remarks = _rows(value, path)
        # A row may lack a column that others have.
        self.columns = list(dict.fromkeys(str(name) for row in self._rows for name in row))

    @property
    def position(self) -> int:
        """Bytes of the file on disk, compressed or not, read so far."""
        return self._position

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        """Read the rows, numbered from 1; see `Rows.rows`."""
        for number, row in enumerate(self._rows, 1):
            missing = [name for name in columns if name not in row]
            if missing:
                raise no_value(f"{self._path}:{number}", missing[0], row)
            yield number, [row[name] for name in columns]

    def sample(self, count: int) -> list[list[Any]]:
        """Return the first rows; see `Rows.sample`."""
        return [[row.get(name) for name in self.columns] for row in self._rows[:count]]

    def close(self) -> None:
        """Do nothing: the file is closed already."""


def _rows(value: Any, path: str | Path) -> tuple[list[Mapping[str, Any]], tuple[str, ...]]:
    """Return the rows of a value, and a remark on its layout."""
    if isinstance(value, list):
        return _objects(value, path), ("one JSON list",)
    inner = _inner(value)
    if inner is None:
        if isinstance(value, dict) and value and not any(isinstance(part, list | dict) for part in value.values()):
            raise DataError(
                f"{path}: one JSON object over several lines, which is a single row; put the rows into a list []"
            )
        held = ", ".join(f"{name} ({_type_name(part)})" for name, part in list(value.items())[:_SHOWN])
        raise DataError(f"{path}: no list of rows found; the file holds {held or 'an empty object'}")
    name, rows = inner
    remark = "one JSON list per column" if not name else name if name == _BY_NUMBER else f"rows from {name!r}"
    return _objects(rows, path), (remark,)


def _inner(value: Any) -> tuple[str, list[Any]] | None:
    """Find the only list of objects in an object, or build rows from an object of columns.

    Returns:
        The key of the list, "" for columns or `_BY_NUMBER`, and the rows; None if there are no rows.
    """
    if not isinstance(value, dict) or not value:
        return None
    lists = {name: part for name, part in value.items() if isinstance(part, list)}
    rows = [name for name, part in lists.items() if part and isinstance(part[0], dict)]
    if len(rows) == 1:
        return rows[0], lists[rows[0]]
    if rows:
        return None
    if value.keys() <= {"columns", "index", "data"} and {"columns", "data"} <= lists.keys():  # pandas: orient="split"
        names = [str(name) for name in lists["columns"]]
        if all(isinstance(row, list) and len(row) == len(names) for row in lists["data"]):
            return "data", [dict(zip(names, row, strict=True)) for row in lists["data"]]
    if len(value) < 2:
        return None
    if lists.keys() == value.keys() and len({len(part) for part in lists.values()}) == 1:
        return "", [dict(zip(value, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    keys = [part.keys() if isinstance(part, dict) else None for part in value.values()]
    if keys[0] and all(each == keys[0] for each in keys) and all(str(key).isdecimal() for key in keys[0]):
        return "", [{name: part[key] for name, part in value.items()} for key in keys[0]]  # pandas: the default
    if keys[0] and all(each == keys[0] for each in keys) and all(str(key).isdecimal() for key in value):
        return _BY_NUMBER, list(value.values())  # pandas: orient="index"
    return None


def _objects(rows: Sequence[Any], path: str | Path) -> list[Mapping[str, Any]]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            problem = f'each row must be an object such as {{"text": "..."}}; this is {_type_name(row)}'
            raise DataError(f"{path}:{number}: {problem}")
    return list(rows)


def _type_name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
