"""Read lists and mappings that a table holds as text: as JSON, in Python's notation (pandas), or in numpy's.

A .csv has no lists, so programs write them as text. Python would read numpy's `['a' 'b']` as the one string `ab`. So
such cells need their own reader. Any other text, or an incomplete list, is refused.
"""

import ast
import re
from typing import Any, Final

from bertie.errors import DataError
from bertie.untrusted import parse_json

_MAX_DEPTH = 20
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
    |(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>[^\W\d][\w.-]*)
    |(?P<mark>[][(){},:=]))""",
    re.VERBOSE | re.DOTALL,
)
_BLANK = re.compile(r"\s*")
_NAMES: Final = {"True": True, "False": False, "None": None, "true": True, "false": False, "null": None}
_NOT_A_NUMBER = {"nan", "NaN"}
_CALLS = re.compile(r"(?:np\.|numpy\.)?(?:array|str_|bool_?|u?int\d+|float\d+)|list|tuple")
_ENDS = {"[": "]", "(": ")", "{": "}"}


def is_listed(text: str) -> bool:
    """Check whether a text is written as a list or a mapping: whether brackets enclose it."""
    bare = text.strip()
    start = 6 if bare.startswith("array(") else 0
    return len(bare) > 1 and bare[start : start + 1] in ("[", "{", "(") and bare[-1] in "]})"


def read_cell(text: str) -> Any:
    """Read a list, tuple (as a list) or mapping of strings, numbers, booleans and None.

    >>> read_cell("['a' 'b']")
    ['a', 'b']

    Raises:
        ValueError: the text is none of these; the message gives the reason.
    """
    try:
        value = parse_json(text, "a cell", data=True)
    except DataError:
        value = _Cell(text).read()
    if not isinstance(value, list | dict):
        raise ValueError("it is not a list")
    return value


class _Cell:
    """A parser for Python's and numpy's notation."""

    def __init__(self, text: str) -> None:
        self._text = text.strip()
        self._offset = 0
        self._kind, self._token = "", ""
        self._advance()

    def read(self) -> Any:
        value = self._value(0)
        if self._kind:
            raise ValueError(f"something follows the list: {self._token!r:.20}")
        return value

    def _advance(self) -> None:
        """Step to the next token; at the end, kind and token are empty."""
        if _BLANK.fullmatch(self._text, self._offset):
            self._kind, self._token = "", ""
            return
        match = _TOKEN.match(self._text, self._offset)
        if match is None:
            rest = self._text[self._offset :].lstrip()
            left_out = rest.startswith(("...", "\u2026"))
            raise ValueError("values are replaced by '...'" if left_out else f"it can't be read from {rest!r:.20} on")
        self._kind = match.lastgroup or ""
        self._token = match[self._kind]
        self._offset = match.end()

    def _take(self, mark: str) -> bool:
        """Step over a mark if it is the current token."""
        if self._kind == "mark" and self._token == mark:
            self._advance()
            return True
        return False

    def _value(self, depth: int) -> Any:
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        kind, token = self._kind, self._token
        if not kind:
            raise ValueError("it ends too early")
        self._advance()
        if kind == "string":
            return _string(token)
        if kind == "number":
            return float(token) if re.search("[.eE]", token) else int(token)
        if kind == "name":
            return self._named(token, depth)
        if token in ("[", "("):
            return self._list(_ENDS[token], depth)
        if token == "{":
            return self._mapping(depth)
        raise ValueError(f"{token!r} is in place of a value")

    def _named(self, name: str, depth: int) -> Any:
        if name in _NAMES:
            return _NAMES[name]
        if name in _NOT_A_NUMBER:
            return float("nan")
        if not _CALLS.fullmatch(name) or not self._take("("):
            raise ValueError(f"{name!r:.40} has no quotes")
        value = self._value(depth + 1)
        while self._take(","):  # as in array([1], dtype=int32)
            while self._kind in ("name", "string") or (self._kind == "mark" and self._token == "="):
                self._advance()
        if not self._take(")"):
            raise ValueError("a bracket is not closed")
        return value

    def _list(self, end: str, depth: int) -> list[Any]:
        """Read values separated by commas or, as numpy writes them, by white space alone."""
        values: list[Any] = []
        num_commas = 0
        while not self._take(end):
            values.append(self._value(depth + 1))
            num_commas += self._take(",")
        if num_commas not in (0, len(values), len(values) - 1):
            raise ValueError("a comma is missing")
        if end == ")" and len(values) == 1 and not num_commas:
            raise ValueError("one value in round brackets is not a list")
        return values

    def _mapping(self, depth: int) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        while not self._take("}"):
            key = self._value(depth + 1)
            if not isinstance(key, str | int) or not self._take(":"):
                raise ValueError("a key with a colon is missing")
            values[key] = self._value(depth + 1)
            if not self._take(",") and not (self._kind == "mark" and self._token == "}"):
                raise ValueError("a comma is missing")
        return values


def _string(token: str) -> str:
    if "\\" not in token:
        return token[1:-1]
    try:
        value = ast.literal_eval(token.replace("\r", "\\r").replace("\n", "\\n"))
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"a string in it can't be read: {token!r:.20}") from error
    if not isinstance(value, str):
        raise ValueError(f"a string in it can't be read: {token!r:.20}")
    return value
