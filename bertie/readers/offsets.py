"""Convert text offsets that count UTF-16 units or UTF-8 bytes to offsets in characters.

Label tools that run in a browser count UTF-16 units, of which an emoji has two. Older programs count bytes.
"""

from __future__ import annotations

from typing import Final

CHARACTERS: Final = "characters"
UTF16: Final = "UTF-16 units"
UTF8: Final = "bytes of UTF-8"
UNITS: Final = (CHARACTERS, UTF16, UTF8)


def differs(text: str, unit: str) -> bool:
    """Check whether offsets in a unit can differ from offsets in characters for this text."""
    return unit != CHARACTERS and not text.isascii() and (unit == UTF8 or any(one > "\uffff" for one in text))


def to_characters(text: str, offset: int, unit: str) -> int:
    """Convert an offset in `unit` to an offset in characters; -1 if no character begins there.

    >>> to_characters("öl", 2, UTF8)
    1
    >>> to_characters("öl", 1, UTF8)
    -1
    """
    if unit == CHARACTERS or text.isascii():
        return offset if 0 <= offset <= len(text) else -1
    coding, width = ("utf-16-le", 2) if unit == UTF16 else ("utf-8", 1)
    coded = text.encode(coding, "surrogatepass")
    if not 0 <= offset * width <= len(coded):
        return -1
    try:
        return len(coded[: offset * width].decode(coding))
    except UnicodeDecodeError:
        return -1
