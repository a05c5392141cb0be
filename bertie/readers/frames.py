"""Read Python's own tables and columns: pandas, polars, Arrow, `datasets`, lists of dictionaries or of pairs.

This module imports none of these libraries. It recognises their objects by their methods. A table is written as .jsonl
and then read like any file, so that the same rules find columns and labels.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, time
from importlib import import_module
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.errors import BertieError, DataError, SettingsError
from bertie.items.text import Text

TABLES = frozenset({"train", "dev", "probe", "file", "texts"})
"""Parameters of commands that take tables."""
_written: set[Path] = set()  # temporary files that hold tables during a call
_FRAMES = ("to_dicts", "to_pylist", "to_dict", "__arrow_c_stream__", "__dataframe__", "__iter__")


def is_table(value: Any) -> bool:
    """Check whether a value has rows and named columns, or is a list of rows.

    Args:
        value: any value.
    """
    if isinstance(value, str | bytes | Path):
        return False
    if isinstance(value, Mapping):
        return bool(value) and all(_is_column(column) for column in value.values())
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(row, Mapping) for row in value)
    named = hasattr(value, "columns") or hasattr(value, "column_names")
    return (named and any(hasattr(value, name) for name in _FRAMES)) or hasattr(value, "__dataframe__")


def is_row(value: Any) -> bool:
    """Check whether a value is a single row: a mapping from names to values that are not columns, one of them a string.

    Args:
        value: any value.
    """
    return (
        isinstance(value, Mapping)
        and not is_table(value)
        and all(isinstance(name, str) for name in value)
        and any(isinstance(part, str) for part in value.values())
    )


def as_texts(value: Any) -> Any:
    """Return a single column (a Series, an Arrow or numpy array) as a list, and any other value unchanged.

    Raises:
        DataError: the value is an array of several columns or a set, or an entry is missing or empty.
    """
    values = _entries(value)
    if values is value:
        return value
    missing = [number for number, text in enumerate(map(plain, values), 1) if text is None or not str(text).strip()]
    if missing:
        raise DataError(f"there is no text in {_rows(missing)} (empty, None or NaN); fill or drop such rows")
    return values


def _entries(value: Any) -> Any:
    """Return a single column as a list, and any other value unchanged."""
    if isinstance(value, set | frozenset):
        raise DataError("a set has no order, so predictions could not be matched to texts; pass a list")
    if isinstance(value, str | bytes | Mapping | Sequence | Iterator):
        return value
    if getattr(value, "ndim", 1) != 1:
        raise DataError(f"texts are one column; got an array of shape {tuple(getattr(value, 'shape', ()))}")
    convert = next((name for name in ("to_pylist", "to_list", "tolist") if hasattr(value, name)), None)
    if convert is None:
        return value
    return getattr(value, convert)()


def write(value: Any, path: Path, *, pairs: bool = False) -> int:
    """Write a table as .jsonl.

    Args:
        value: a table (see `is_table`), or a list of texts, of (text, label) or of (text, pair, label).
        path: path of the file.
        pairs: whether two strings are two texts instead of a text and its label.

    Returns:
        The number of rows.

    Raises:
        DataError: the value is not a table, it has no rows, or two columns have one name.
    """
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for row in _records(value, pairs=pairs):
            cells = {str(name): plain(cell) for name, cell in row.items()}
            if len(cells) < len(row):
                raise DataError(f"several columns have the same name: {', '.join(map(str, row))}")
            stream.write(json.dumps(cells, ensure_ascii=False).encode("utf-8", "backslashreplace").decode() + "\n")
            count += 1
    if not count:
        raise DataError("the table has no rows")
    return count


@contextmanager
def as_file(value: Any, name: str = "the table", *, pairs: bool = False) -> Iterator[Path]:
    """Write a table to a temporary file; in messages, the name of the table replaces the path.

    Args:
        value: see `write`.
        name: the user's name for the table.
        pairs: see `write`.
    """
    with tempfile.TemporaryDirectory(prefix="bertie-") as folder:
        path = Path(folder) / "table.jsonl"
        _written.add(path)
        try:
            write(value, path, pairs=pairs)
            with progress.renamed(str(path), name):
                yield path
        except BertieError as error:
            message = re.sub(re.escape(str(path)) + r":(\d+)", rf"{name}, row \1", str(error)).replace(str(path), name)
            message = re.sub(r"--columns (\S+)", lambda match: f"columns={_columns(match[1])}", message)
            raise type(error)(message) from error
        finally:
            _written.discard(path)


def is_written(path: Path | None) -> bool:
    """Check whether a file is a temporary file that holds a Python table."""
    return path in _written


def called(path: Path) -> str:
    """Return the user's name for a file, which may hold a Python table."""
    return "the table" if is_written(path) else str(path)


def taking_tables(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a command accept tables in place of files.

    Args:
        function: the command's Python function.
    """
    names = list(inspect.signature(function).parameters)
    takes = TABLES & set(names)
    if not takes:
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        positional = dict(zip(names, args, strict=False))
        if len(positional) < len(args) or positional.keys() & kwargs.keys():
            return function(*args, **kwargs)  # raises the usual TypeError
        arguments = {**positional, **kwargs}
        pairs = arguments.get("task") == "embedding"
        with ExitStack() as stack:
            for name in takes & arguments.keys():
                value = arguments[name]
                if name == "texts" and not is_table(value):
                    arguments[name] = [value] if isinstance(value, str) else as_texts(value)
                elif is_table(value) or (name != "texts" and isinstance(value, list)):
                    path = stack.enter_context(as_file(value, "the table" if name == "texts" else name, pairs=pairs))
                    del arguments[name]
                    arguments["file" if name == "texts" else name] = path
            return function(**arguments)

    return call


def items_of(value: Any, read: Callable[..., Any], columns: Mapping[str, str] | None = None) -> list[Any]:
    """Read a table as items of a task, one for each row.

    Args:
        value: the table.
        read: the task's function that reads a file.
        columns: part of an item to column name; None: detect the columns.

    Raises:
        DataError: some rows have no text, so that there could not be one prediction for each row.
    """
    with as_file(value) as path:
        items = list(read(path, columns=columns).items)
        with path.open(encoding="utf-8") as stream:
            count = sum(1 for _ in stream)
        if all(isinstance(item, Text) for item in items):
            empty = {item.line for item in items if not f"{item.text}{item.pair or ''}".strip()}
            lost = sorted(set(range(1, count + 1)) - {item.line for item in items} | empty)
            if lost:
                raise DataError(f"there is no text in {_rows(lost)} of the table; fill or drop such rows")
        return items


def _records(value: Any, *, pairs: bool) -> Iterable[Mapping[Any, Any]]:
    """Return the rows of a table as dictionaries."""
    if isinstance(value, Mapping):
        columns = {name: list(_entries(column)) for name, column in value.items()}
        if len({len(column) for column in columns.values()}) > 1:
            raise DataError("the columns differ in length: " + ", ".join(f"{n} {len(c)}" for n, c in columns.items()))
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if isinstance(value, list | tuple):
        return [_row(row, number, pairs=pairs) for number, row in enumerate(value, 1)]
    if hasattr(value, "collect") and not hasattr(value, "to_dicts"):
        raise DataError(f"a {type(value).__name__} has no rows yet; call .collect() on it")
    if hasattr(value, "to_dicts"):
        return value.to_dicts()  # type: ignore[no-any-return]
    if hasattr(value, "to_pylist"):
        return value.to_pylist()  # type: ignore[no-any-return]
    if hasattr(value, "columns") and hasattr(value, "to_dict"):
        names = [str(name) for name in value.columns]
        if len(set(names)) < len(names):
            raise DataError(f"several columns have the same name: {', '.join(names)}")
        return value.to_dict("records")  # type: ignore[no-any-return]
    if hasattr(value, "column_names") and hasattr(value, "__iter__"):
        return value  # type: ignore[no-any-return]
    try:
        arrow = import_module("pyarrow")
        source = value if hasattr(value, "__arrow_c_stream__") else None
        if source is None:
            source = import_module("pyarrow.interchange").from_dataframe(value)
        return arrow.table(source).to_pylist()  # type: ignore[no-any-return]
    except ImportError as error:
        raise SettingsError(
            f"pyarrow is needed to read a {type(value).__name__}; install it, or pass a list of dictionaries"
        ) from (error)


def _row(row: Any, number: int, *, pairs: bool) -> Mapping[Any, Any]:
    """Name the parts of a row that is a dictionary, a text, a tuple, or a `Text`."""
    if isinstance(row, Mapping):
        return row
    if isinstance(row, str):
        return {"text": row}
    if isinstance(row, Text):
        named = {"text": row.text, "pair": row.pair, "label": row.label, "id": row.id or None}
        return {name: cell for name, cell in named.items() if cell is not None}
    if isinstance(row, tuple | list) and len(row) == 2:
        both = pairs and isinstance(row[1], str)
        return {"text": row[0], ("pair" if both else "label"): row[1]}
    if isinstance(row, tuple | list) and len(row) == 3:
        return {"text": row[0], "pair": row[1], "label": row[2]}
    raise DataError(
        f"row {number} is {type(row).__name__}; a row is a dictionary, a text, (text, label) or (text, pair, label)"
    )


def _is_column(value: Any) -> bool:
    if isinstance(value, str | bytes | Mapping):
        return False
    return isinstance(value, list | tuple) or hasattr(value, "tolist") or hasattr(value, "to_pylist")


def plain(cell: Any) -> Any:
    """Turn a cell into a JSON value; missing values of every library become None."""
    if cell is None or isinstance(cell, str | bool | int):
        return cell
    if type(cell).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(cell, float):
        return float(cell) if math.isfinite(cell) else None
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "backslashreplace")
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, Mapping):
        return {str(name): plain(part) for name, part in cell.items()}
    if isinstance(cell, list | tuple | set | frozenset):
        return [plain(part) for part in cell]
    if hasattr(cell, "tolist"):
        return plain(cell.tolist())
    if hasattr(cell, "to_list"):
        return plain(cell.to_list())
    return str(cell)


def _rows(numbers: Sequence[int]) -> str:
    shown = ", ".join(f"{number:,}" for number in numbers[:5])
    more = "" if len(numbers) <= 5 else f" and {len(numbers) - 5:,} others"
    return f"row{'s' if len(numbers) > 1 else ''} {shown}{more}"


def _columns(columns: str) -> str:
    """Write `text=NAME,label=NAME` as a Python dictionary."""
    pairs = [pair.partition("=") for pair in columns.rstrip(";.,").split(",")]
    return "{" + ", ".join(f'"{role}": "{name}"' for role, _, name in pairs) + "}"
