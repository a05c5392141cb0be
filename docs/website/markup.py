"""Write texts of help and docstrings, types and defaults as Markdown."""

import re
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Union

_ROOT = Path(__file__).parents[2]
_CODE = re.compile(r"(``[^`]+``|`[^`]+`)")
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9.-]*[a-z0-9]")
_PAGE = re.compile(r"docs/([\w/]+)\.md(#[\w-]+)?")
_WORDS = {int: "INT", float: "FLOAT", str: "STR", Path: "PATH"}


def prose(text: str) -> str:
    """Return a text of help or of a docstring as Markdown: `code` stays, flags become code, and pages become links."""
    parts = _CODE.split(text)
    return "".join(part if index % 2 else _plain(part) for index, part in enumerate(parts))


def _plain(text: str) -> str:
    escaped = _FLAG.sub(r"`\g<0>`", re.sub(r"([*<|])", r"\\\1", text))
    return _PAGE.sub(
        lambda page: page[0] if not _exists(page[1]) else f"[{page[0]}](/{page[1]}.md{page[2] or ''})", escaped
    )


def _exists(page: str) -> bool:
    return (_ROOT / "docs" / f"{page}.md").is_file()


def code(text: str) -> str:
    """Return a text as a code span, also if it has a vertical bar and stands in a table."""
    return f"`{text}`".replace("|", "\\|")


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table; there may be no line breaks in its cells."""
    names = list(head)
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(' '.join(cell.split()) for cell in line)} |" for line in lines)


def members(annotation: Any) -> list[Any]:
    """Return the types that an annotation is made of, without None."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return members(parts[0])
    if origin in (Union, types.UnionType):
        return [member for part in parts for member in members(part)]
    return [] if annotation is type(None) else [annotation]


def value(annotation: Any) -> str:
    """Return what a flag with this type takes, such as PATH or INT,INT,...; empty for a switch."""
    return "|".join(dict.fromkeys(filter(None, map(_value, members(annotation)))))


def _value(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is bool:
        return ""
    if origin is Literal:
        return "|".join(map(str, parts))
    if origin is dict:
        return "KEY=VALUE,..."
    if origin is tuple:
        return "INT,INT,..." if parts[0] is int else f"{value(parts[0])} ..."
    return _WORDS.get(annotation, "STR")


def default(given: Any) -> str:
    """Return a default as one types it; empty for none."""
    if given is None or given == () or given == {}:
        return ""
    if isinstance(given, bool):
        return str(given).lower()
    return " ".join(map(str, given)) if isinstance(given, tuple) else str(given)
