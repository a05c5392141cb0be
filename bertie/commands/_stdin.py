"""Texts typed or piped into a command, one a line."""

import sys

from bertie.errors import DataError, SettingsError


def lines_of_stdin(otherwise: str) -> list[str]:
    """Read standard input to its end.

    Args:
        otherwise: what to say at a terminal, where nothing was piped in.

    Raises:
        SettingsError: standard input is a terminal.
        DataError: it is empty, or no UTF-8.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise SettingsError(otherwise)
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input is not UTF-8 at byte {error.start}") from error
    if not text:
        raise DataError("standard input is empty")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
