"""Read JSON, TOML and other small files from untrusted sources, with checks of type, size, encoding, depth and numbers.

Only regular files are opened, so that a pipe without a writer can't hang a command. Content has limits: without them, a
bad file would cause a traceback, an infinity or a full memory much later, in code that doesn't know the file. Every
message starts with the file or line. Callers check what the values mean.
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
"""Levels of nested objects and lists."""
MAX_DIGITS = 300
"""Digits of one number; a longer number doesn't fit a float."""
SMALL_BYTES = 16 * 2**20
"""Limit for a settings file, a manifest or a model card."""
LARGE_BYTES = 512 * 2**20
"""Limit for a vocabulary or a tokenizer."""
_TOML_BYTES = 2**18
_FILE_TYPES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# The time of tomllib grows with the square of the number of parts of a dotted key.
_MAX_DOTS = 1000
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def check_regular(path: str | Path, *, limit: int | None = None) -> int:
    """Check that a path is a regular file; opening a pipe could hang.

    Args:
        path: the file; links are followed.
        limit: the largest size in bytes; None for no limit.

    Returns:
        Its size in bytes.

    Raises:
        SettingsError: the file doesn't exist, can't be accessed, or is a folder, a pipe, a socket or a device.
        DataError: it is larger than the limit.
    """
    try:
        status = Path(path).stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unreadable(path, error) from error
    return _check_stat(status, path, limit)


def read_bytes(path: str | Path, *, limit: int = SMALL_BYTES) -> bytes:
    """Read the whole content of a small file.

    Args:
        path: a regular file; links are followed.
        limit: the largest size in bytes.

    Raises:
        SettingsError: the file doesn't exist, can't be read, or is a folder, a pipe, a socket or a device.
        DataError: it is larger than the limit.
    """
    try:
        # O_NONBLOCK, because opening a pipe would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb") as file:
            _check_stat(os.fstat(descriptor), path, limit)
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if len(content) > limit:  # some system files report a size of 0
        raise _too_large(path, limit)
    return content


def read_text(path: str | Path, *, limit: int = SMALL_BYTES) -> str:
    r"""Read the whole text of a small UTF-8 file; a byte order mark is removed and ``\r`` is kept.

    Args:
        path: a regular file; links are followed.
        limit: the largest size in bytes.

    Raises:
        SettingsError: the file doesn't exist, can't be read, or is a folder, a pipe, a socket or a device.
        DataError: it is larger than the limit, or isn't UTF-8.
    """
    return decoded(read_bytes(path, limit=limit), str(path))


def read_json(path: str | Path, *, limit: int = SMALL_BYTES) -> Any:
    """Read a JSON file; see ``parse_json`` and ``read_bytes``.

    Args:
        path: a regular file; links are followed.
        limit: the largest size in bytes.

    Raises:
        SettingsError: the file doesn't exist or can't be read.
        DataError: it isn't valid JSON, or exceeds a limit.
    """
    return parse_json(read_bytes(path, limit=limit), str(path))


def read_object(path: str | Path, *, limit: int = SMALL_BYTES) -> dict[str, Any]:
    """Read a file that contains one JSON object.

    Args:
        path: a regular file; links are followed.
        limit: the largest size in bytes.

    Raises:
        SettingsError: the file doesn't exist or can't be read.
        DataError: it isn't valid JSON, isn't an object, or exceeds a limit.
    """
    return parse_object(read_bytes(path, limit=limit), str(path))


def parse_object(content: str | bytes, place: str) -> dict[str, Any]:
    """Parse one JSON object.

    Args:
        content: the text, or its UTF-8 bytes.
        place: the start of every message, such as ``file:line``.

    Raises:
        DataError: it isn't valid JSON, isn't an object, or exceeds a limit.
    """
    value = parse_json(content, place)
    if not isinstance(value, dict):
        raise DataError(f"{place}: a JSON object was expected here; this is {_short_repr(value)}")
    return value


def parse_json(content: str | bytes, place: str, *, data: bool = False) -> Any:
    r"""Parse JSON.

    Besides broken JSON, these are refused: NaN and infinities, which JSON doesn't have; a number too large for a float;
    a key that appears twice in an object, because programs differ in which value they use; too deep nesting; and a lone
    surrogate, which UTF-8 can't hold.

    Args:
        content: the text, or its UTF-8 bytes.
        place: the start of every message, such as ``file:line``.
        data: whether the content is data, such as a row of a table. If so, NaN and infinities as Python writes them
            and lone surrogates such as ``\ud83d`` are accepted, and the caller must handle them.

    Raises:
        DataError: it isn't valid JSON, or exceeds a limit.
    """
    text = decoded(content, place) if isinstance(content, bytes) else content.removeprefix("\ufeff")
    try:
        # Calling a Python function for each number would take most of the time of a tokenizer.json.
        decoders = _DIGIT_CHECKING if _may_have_long_number(text) else _QUICK
        value = decoders[data].decode(text)
    except RecursionError as error:
        raise _too_deep(place) from error
    except json.JSONDecodeError as error:
        reason = str(error) if text.strip() else "it is empty"
        raise DataError(f"{place}: this is not valid JSON ({reason})") from error
    except ValueError as error:
        raise DataError(f"{place}: {error}") from error
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value, place)
    if not data and _SURROGATE_ESCAPE.search(text):
        check_whole_characters(value, place)
    return value


def check_whole_characters(value: Any, place: str) -> None:
    r"""Check that a value has no lone surrogate, which JSON can write (``\ud83d``) but UTF-8 can't.

    Args:
        value: a value of ``parse_json``.
        place: the start of the message.

    Raises:
        DataError: there is one in the value, at any depth.
    """
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{place}: it contains half a character (a lone surrogate), which is not valid text") from error


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a settings file in TOML.

    Args:
        path: a regular file; links are followed.

    Raises:
        SettingsError: the file doesn't exist, can't be read, isn't valid TOML, or exceeds a limit.
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
        raise SettingsError(f"{error}; a settings file must be TOML") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    except ValueError as error:  # int() refuses very long numbers
        raise SettingsError(f"{path}: {_too_long()}") from error
    return value


def decoded(content: bytes, place: str) -> str:
    """Decode UTF-8 bytes and remove a byte order mark.

    Args:
        content: the bytes.
        place: the start of the message.

    Raises:
        DataError: they aren't UTF-8.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError(f"{place}: this is UTF-16, not UTF-8; convert it with: iconv -f UTF-16 -t UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8 text at byte {error.start} ({content[error.start]:#04x})") from error


def _check_stat(status: os.stat_result, path: str | Path, limit: int | None) -> int:
    if not stat.S_ISREG(status.st_mode):
        file_type = _FILE_TYPES.get(stat.S_IFMT(status.st_mode), "no file")
        raise SettingsError(f"{path} is {file_type}; a regular file is needed here")
    if limit is not None and status.st_size > limit:
        raise _too_large(path, limit, status.st_size)
    return status.st_size


def _unreadable(path: str | Path, error: OSError | ValueError) -> SettingsError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return SettingsError(f"{path}: no such file")
    if isinstance(error, IsADirectoryError):
        return SettingsError(f"{path} is a folder; a regular file is needed here")
    return SettingsError(f"can't read {path}: {error.strerror if isinstance(error, OSError) else error}")


def _too_large(path: str | Path, limit: int, size: int | None = None) -> DataError:
    amount = "too many" if size is None else f"{size:,}"
    return DataError(f"{path} has {amount} bytes; at most {limit:,} are allowed for such a file")


def _too_deep(place: str) -> DataError:
    return DataError(f"{place}: nested too deeply; at most {MAX_DEPTH} levels of objects and lists are allowed")


def _too_long() -> str:
    return f"a number has more than {MAX_DIGITS} digits; if it is text, put it in quotes"


def _check_depth(value: Any, place: str) -> None:
    """Refuse a value that is nested too deeply; level by level, because deep nesting would overflow a recursion."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for node in level for child in _nodes(node)]
        if not level:
            return
    raise _too_deep(place)


def _nodes(node: Any) -> list[Any]:
    """Return the objects and lists directly inside a value."""
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    types = set(map(type, children))  # fast for a vocabulary, which holds only numbers
    return [] if types.isdisjoint((dict, list)) else [child for child in children if isinstance(child, dict | list)]


def _may_have_long_number(text: str) -> bool:
    """Check whether the text may have a number with too many digits: it would fill one of these chunks."""
    return any(text[start : start + _CHUNK].isdigit() for start in range(0, len(text), _CHUNK))


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
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for number, name in enumerate(names) if name in names[:number])
        raise ValueError(f"the key {repeated!r:.60} appears twice in one object; remove one")
    return result


def _short_repr(value: Any) -> str:
    return "null" if value is None else f"{value!r:.60}"


def _decoders(**parts: Any) -> tuple[json.JSONDecoder, json.JSONDecoder]:
    """Return a strict decoder and one for data."""
    common = {"parse_float": _fraction, "object_pairs_hook": _object, **parts}
    return json.JSONDecoder(parse_constant=_constant, **common), json.JSONDecoder(**common)


_CHUNK = MAX_DIGITS // 2
_DIGIT_CHECKING, _QUICK = _decoders(parse_int=_whole), _decoders()
