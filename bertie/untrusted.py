"""Read JSON, TOML and other small files that anyone may have written: their kind, size, encoding, depth and numbers.

Only a regular file is opened, so that a pipe without a writer can't hang a command. What is read has limits, because a
parser without them ends in a traceback, an infinity or a full memory much later, far from the file that is to blame.
Every message begins with the place. What the values mean is left to the callers.
"""

import json
import math
import os
import re
import stat
import tomllib
from pathlib import Path
from typing import Any

from bertie.errors import DataError, SettingsError

MAX_DEPTH = 100
"""Objects and lists inside one another."""
MAX_DIGITS = 300
"""Digits of one number; one with more fits no float."""
SMALL_BYTES = 16 * 2**20
"""What a file of settings, a manifest or a card may have."""
LARGE_BYTES = 512 * 2**20
"""What a vocabulary or a tokenizer may have."""
_TOML_BYTES = 2**18
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# The time tomllib needs grows with the square of a key's parts, which dots part.
_MAX_DOTS = 1000
_HALF_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def check_regular(path: str | Path, *, limit: int | None = None) -> int:
    """Make sure that a path is a regular file, before something opens it that would hang on a pipe.

    Args:
        path: the file; links are followed.
        limit: bytes it may have; None for any number.

    Returns:
        Its size in bytes.

    Raises:
        SettingsError: there is no such file, it can't be looked at, or it is a folder, a pipe, a socket or a device.
        DataError: it is larger than the limit.
    """
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, error) from error
    return _checked(found, path, limit)


def read_bytes(path: str | Path, *, limit: int = SMALL_BYTES) -> bytes:
    """Read a whole file that should be small.

    Args:
        path: a regular file; links are followed.
        limit: bytes it may have.

    Raises:
        SettingsError: there is no such file, it can't be read, or it is a folder, a pipe, a socket or a device.
        DataError: it is larger than the limit.
    """
    try:
        # Without waiting: to open a pipe would otherwise hang until somebody writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            _checked(os.fstat(descriptor), path, limit)
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if len(content) > limit:  # some files of the system say that they have no bytes
        raise _too_large(path, limit)
    return content


def read_text(path: str | Path, *, limit: int = SMALL_BYTES) -> str:
    r"""Read a whole file of UTF-8 text that should be small; a byte order mark is dropped and ``\r`` is kept.

    Args:
        path: a regular file; links are followed.
        limit: bytes it may have.

    Raises:
        SettingsError: there is no such file, it can't be read, or it is a folder, a pipe, a socket or a device.
        DataError: it is larger than the limit, or no UTF-8.
    """
    return decoded(read_bytes(path, limit=limit), str(path))


def read_json(path: str | Path, *, limit: int = SMALL_BYTES) -> Any:
    """Read a file of JSON; see ``parse_json`` and ``read_bytes``.

    Args:
        path: a regular file; links are followed.
        limit: bytes it may have.

    Raises:
        SettingsError: there is no such file, or it can't be read.
        DataError: it is no JSON, or breaks a limit.
    """
    return parse_json(read_bytes(path, limit=limit), str(path))


def read_object(path: str | Path, *, limit: int = SMALL_BYTES) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Args:
        path: a regular file; links are followed.
        limit: bytes it may have.

    Raises:
        SettingsError: there is no such file, or it can't be read.
        DataError: it is no JSON, no object, or breaks a limit.
    """
    return parse_object(read_bytes(path, limit=limit), str(path))


def parse_object(content: str | bytes, place: str) -> dict[str, Any]:
    """Parse one JSON object.

    Args:
        content: the text, or its UTF-8 bytes.
        place: what opens every message, such as ``file:line``.

    Raises:
        DataError: it is no JSON, no object, or breaks a limit.
    """
    value = parse_json(content, place)
    if not isinstance(value, dict):
        raise DataError(f"{place}: a JSON object was expected here; this is {_shown(value)}")
    return value


def parse_json(content: str | bytes, place: str, *, data: bool = False) -> Any:
    r"""Parse JSON.

    Refused beside broken JSON: NaN and the infinities, which JSON doesn't have; a number that fits no float; one key
    twice in an object, because programs differ in which of the two they take; too much depth; and a lone surrogate,
    which no UTF-8 can hold.

    Args:
        content: the text, or its UTF-8 bytes.
        place: what opens every message, such as ``file:line``.
        data: whether this is data, such as a row of a table: NaN and the infinities are kept, as Python writes them,
            and so is a lone surrogate such as ``\ud83d``; the caller sees to them.

    Raises:
        DataError: it is no JSON, or breaks a limit.
    """
    text = decoded(content, place) if isinstance(content, bytes) else content.removeprefix("\ufeff")
    try:
        # A call of Python for each number would take longer than all else in a tokenizer.json.
        decoders = _COUNTING if _may_have_long_number(text) else _QUICK
        value = decoders[data].decode(text)
    except RecursionError as error:
        raise _too_deep(place) from error
    except json.JSONDecodeError as error:
        reason = str(error) if text.strip() else "it is empty"
        raise DataError(f"{place}: this is no valid JSON ({reason})") from error
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value, place)
    if not data and _HALF_ESCAPE.search(text):
        check_whole_characters(value, place)
    return value


def check_whole_characters(value: Any, place: str) -> None:
    r"""Refuse a lone surrogate, which JSON can spell (``\ud83d``) and no UTF-8 can hold.

    Args:
        value: what ``parse_json`` gave.
        place: what opens the message.

    Raises:
        DataError: there is one in it, however deep.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: it holds half a character (a lone surrogate), which is no text") from error


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a file of settings in TOML.

    Args:
        path: a regular file; links are followed.

    Raises:
        SettingsError: there is no such file, it can't be read, is no TOML, or breaks a limit.
    """
    try:
        text = read_text(path, limit=_TOML_BYTES)
        for number, line in enumerate(text.split("\n"), 1):
            if line.count(".") > _MAX_DOTS:
                raise DataError(f"{path}:{number}: this line has more than {_MAX_DOTS} dots; split it")
        value = tomllib.loads(text)
        _check_depth(value, str(path))
    except RecursionError as error:
        raise SettingsError(str(_too_deep(str(path)))) from error
    except DataError as error:
        raise SettingsError(f"{error}; a file of settings is TOML") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    except ValueError as error:  # from int: more digits than Python reads
        raise SettingsError(f"{path}: {_too_long()}") from error
    return value


def decoded(content: bytes, place: str) -> str:
    """Return UTF-8 bytes as text, without a byte order mark.

    Args:
        content: the bytes.
        place: what opens the message.

    Raises:
        DataError: they are no UTF-8.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{place}: this is UTF-16, not UTF-8; convert it with: iconv -f UTF-16 -t UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 text at byte {error.start} ({content[error.start]:#04x})") from error


def _checked(found: os.stat_result, path: str | Path, limit: int | None) -> int:
    if not stat.S_ISREG(found.st_mode):
        kind = _KINDS.get(stat.S_IFMT(found.st_mode), "no file")
        raise SettingsError(f"{path} is {kind}; a regular file is needed here")
    if limit is not None and found.st_size > limit:
        raise _too_large(path, limit, found.st_size)
    return found.st_size


def _unreadable(path: str | Path, error: OSError | ValueError) -> SettingsError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SettingsError(f"{path}: no such file")
    if isinstance(error, IsADirectoryError):
        return SettingsError(f"{path} is a folder; a regular file is needed here")
    return SettingsError(f"can't read {path}: {error.strerror if isinstance(error, OSError) else error}")


def _too_large(path: str | Path, limit: int, size: int | None = None) -> DataError:
    found = "more" if size is None else f"{size:,} bytes"
    return DataError(f"{path} has {found}; a file of this name has at most {limit:,} bytes, so it is something else")


def _too_deep(place: str) -> DataError:
    return DataError(f"{place}: nested too deeply; at most {MAX_DEPTH} objects and lists may be inside one another")


def _too_long() -> str:
    return f"a number has more than {MAX_DIGITS} digits, which is too many; put text in quotes"


def _check_depth(value: Any, place: str) -> None:
    """Go down level by level: a function that calls itself would fail at what is looked for here."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for node in level for child in _nodes(node)]
        if not level:
            return
    raise _too_deep(place)


def _nodes(node: Any) -> list[Any]:
    """List the objects and lists that lie directly in a value."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    kinds = set(map(type, children))  # a vocabulary holds numbers alone, and this tells it without a step for each
    return [] if kinds.isdisjoint((dict, list)) else [child for child in children if isinstance(child, dict | list)]


def _may_have_long_number(text: str) -> bool:
    """Tell whether there can be a number of too many digits: it would fill one of the stretches looked at."""
    return any(text[start : start + _STRETCH].isdigit() for start in range(0, len(text), _STRETCH))


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(_too_long())
    return int(digits)


def _fraction(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {digits:.40} is too large")
    return value


def _constant(name: str) -> Any:
    raise ValueError(f"JSON has no number {name}; leave the value out, or write null")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for number, name in enumerate(names) if name in names[:number])
        raise ValueError(f"the key {double!r:.60} appears twice in one object; remove one")
    return found


def _shown(value: Any) -> str:
    return "null" if value is None else f"{value!r:.60}"


def _decoders(**parts: Any) -> tuple[json.JSONDecoder, json.JSONDecoder]:
    """Make the strict decoder, and the one for data."""
    usual = {"parse_float": _fraction, "object_pairs_hook": _object, **parts}
    return json.JSONDecoder(parse_constant=_constant, **usual), json.JSONDecoder(**usual)


_STRETCH = MAX_DIGITS // 2
_COUNTING, _QUICK = _decoders(parse_int=_whole), _decoders()
