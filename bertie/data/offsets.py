"""Offsets in a text that count something other than characters: UTF-16 units, or bytes of UTF-8.

Label tools that run in a browser count UTF-16 units, of which an emoji has two; older programs count bytes.
"""

from __future__ import annotations

from typing import Final

CHARACTERS: Final = "characters"
UTF16: Final = "UTF-16 units"
UTF8: Final = "bytes of UTF-8"
UNITS: Final = (CHARACTERS, UTF16, UTF8)


def differs(text: str, unit: str) -> bool:
    """Tell whether offsets in a unit can differ from offsets in characters for this text."""
    return unit != CHARACTERS and not text.isascii() and (unit == UTF8 or any(one > "\uffff" for one in text))


def to_characters(text: str, place: int, unit: str) -> int:
    """Return the offset in characters of an offset in a unit; -1 where no character begins there."""
    if unit == CHARACTERS or text.isascii():
        return place if 0 <= place <= len(text) else -1
    coding, width = ("utf-16-le", 2) if unit == UTF16 else ("utf-8", 1)
    coded = text.encode(coding, "surrogatepass")
    if not 0 <= place * width <= len(coded):
        return -1
    try:
        return len(coded[: place * width].decode(coding))
    except UnicodeDecodeError:
        return -1
