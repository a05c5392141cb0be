"""The kinds of values in a column, which become its type in a .parquet file, and a value's form in each format.

A kind is null, bool, int, float, str, json, or list: followed by the kind of the list's elements. Objects, and columns
whose values have different kinds, are json: text in JSON.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from bertie.readers.frames import plain

_LARGEST = 2**63


def kind_of(value: Any) -> str:
    """Return the kind of a value.

    >>> kind_of([1, 2.5, None])
    'list:float'
    """
    if value is None or value != value:  # JSON has no NaN
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -_LARGEST <= value < _LARGEST else "json"
    if isinstance(value, float):
        return "float"
    if isinstance(value, str):
        return "str"
    if isinstance(value, list | tuple):
        inner = "null"
        for part in value:
            inner = joint(inner, kind_of(part))
        return "json" if inner.endswith("json") else f"list:{inner}"
    return "json"


def joint(first: str, second: str) -> str:
    """Return the kind of a column that has values of two kinds.

    >>> joint("int", "float"), joint("str", "int"), joint("list:null", "list:str")
    ('float', 'json', 'list:str')
    """
    if first == second or second == "null":
        return first
    if first == "null":
        return second
    if {first, second} == {"int", "float"}:
        return "float"
    if first.startswith("list:") and second.startswith("list:"):
        inner = joint(first.removeprefix("list:"), second.removeprefix("list:"))
        return "json" if inner.endswith("json") else f"list:{inner}"
    return "json"


def is_kind(text: object) -> bool:
    """Return whether a text names a kind."""
    return isinstance(text, str) and text.split("list:")[-1] in ("null", "bool", "int", "float", "str", "json")


def widened(kinds: dict[str, str], rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Add the columns and kinds of further rows to `kinds`, and return it."""
    for row in rows:
        for name, value in row.items():
            known = kinds.get(name)
            kinds[name] = kind_of(value) if known is None else joint(known, kind_of(value))
    return kinds


def merged(kinds: dict[str, str], others: Mapping[str, str]) -> None:
    """Add the kinds of another part to `kinds`."""
    for name, kind in others.items():
        kinds[name] = joint(kinds.get(name, "null"), kind)


def as_json(value: Any) -> str:
    """Write a value as JSON; half a character (a lone surrogate) is escaped, and NaN is null."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()


def as_field(value: Any) -> str:
    """Write a value as a field of a text table: text as it is, nothing for null, and JSON for the rest."""
    value = plain(value)
    if value is None:
        return ""
    return whole(value) if isinstance(value, str) else as_json(value)


def as_cell(value: Any, kind: str) -> Any:
    """Return a value as a .parquet column of this kind holds it."""
    value = plain(value)
    if value is None:
        return None
    if kind == "json":
        return as_json(value)
    if kind == "float":
        return float(value)
    if kind.startswith("list:"):
        return [as_cell(part, kind.removeprefix("list:")) for part in value]
    return whole(value) if isinstance(value, str) else value


def whole(text: str) -> str:
    r"""Write half a character, which UTF-8 can't hold, as an escape such as ``\ud83d``."""
    return text.encode("utf-8", "backslashreplace").decode()
