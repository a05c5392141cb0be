"""Read the values of a JSON file, either in one list or one a line, whatever its suffix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.files.compression import ByteStream
from bertie.files.text import BAD_UTF8_HINT, BadUtf8
from bertie.untrusted import parse_json

JSON = (".json", ".jsonl")
"""Suffixes of files that hold JSON."""
_MOST_BYTES = 256 * 2**20
Value = tuple[int, Any]
"""Line number, or number in the list, and value."""


def json_values(file: Path, bad_utf8: BadUtf8 = "stop") -> list[Value]:
    """Read the values of a file: the elements of one list, or one value a line, or a single value.

    Raises:
        DataError: the file is not JSON or not UTF-8.
    """
    text = _text(file, bad_utf8)
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line and not line.isspace()]
    if not lines:
        return []
    if len(lines) > 1 and _is_json(lines[0][1]):
        return [(number, _parse(line, f"{file}:{number}", "; a table has one object a line")) for number, line in lines]
    several = len(lines) > 1 or lines[0][1].lstrip().startswith("[")
    hint = " (one list of objects, or one object a line)" if several else "; a table has one object a line"
    whole = _parse(text, f"{file}" if several else f"{file}:{lines[0][0]}", hint)
    return list(enumerate(whole, 1)) if isinstance(whole, list) and not is_pair(whole) else [(lines[0][0], whole)]


def objects(file: Path, values: Sequence[Value]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the values, which must be objects.

    Raises:
        DataError: a value is not an object.
    """
    for line, value in values:
        if not isinstance(value, dict):
            raise DataError(f'{file}:{line}: each line must be an object such as {{"text": "..."}}')
        yield line, value


def is_pair(value: Any) -> bool:
    """Check for spaCy's [text, {"entities": [...]}], which is one value and not a list of values."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], dict)


def _text(file: Path, bad_utf8: BadUtf8) -> str:
    # One value may fill the whole file, often on one line. So the length of a line has no limit.
    with ByteStream(file) as stream, BufferedReader(stream) as reader:
        data = reader.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise DataError(f"{file} is larger than {_MOST_BYTES // 2**20} MiB; write one object a line and name it .jsonl")
    try:
        text = data.decode("utf-8-sig", "strict" if bad_utf8 == "stop" else "replace")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{file}:{line}: byte {error.start} is not UTF-8; fix it ({BAD_UTF8_HINT})") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_json(text: str) -> bool:
    try:
        parse_json(text, "", data=True)
    except DataError:
        return False
    return True


def _parse(text: str, where: str, hint: str) -> Any:
    try:
        return parse_json(text, where, data=True)
    except DataError as error:
        raise DataError(f"{error}{hint}") from error
