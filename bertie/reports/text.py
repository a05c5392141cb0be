"""Text that came from outside, made fit for a page: escaped, without characters no page may hold, pieces as sentences.

Knows no layout; what is escaped here may be put between tags and into quoted attributes.
"""

from collections.abc import Sequence
from html import escape

_REPLACED = "\N{REPLACEMENT CHARACTER}"
# Control characters but tab and newline, lone surrogates and non-characters: HTML and XML refuse them all.
_UNFIT = {
    **dict.fromkeys([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)], _REPLACED),
    **dict.fromkeys([*range(0xD800, 0xE000), 0xFFFE, 0xFFFF], _REPLACED),
}
_CLOSING = set(".,:;!?%)]}’”»…")
_OPENING = set("([{“«$£€#")
_JOINING = set("-–/_@’'")
_ENDINGS = {"s", "t", "re", "ve", "ll", "d", "m", "em"}


def fit(text: object) -> str:
    """Write anything as text without the characters that no page and no file of settings may hold."""
    return str(text).translate(_UNFIT)


def safe(text: object) -> str:
    """Write anything as text that a page shows as it is, and never as markup."""
    return escape(fit(text))


def shorten(text: str, width: int) -> str:
    """Cut text to a width in columns, of which an East Asian character takes two, and end it with an ellipsis."""
    used = 0
    for place, character in enumerate(text):
        used += 2 if is_wide(character) else 1
        if used > width:
            return text[: max(0, place - 1)].rstrip() + "…"
    return text


def spaced(pieces: Sequence[str]) -> list[tuple[str, bool]]:
    """Turn pieces back into something like the text they came from.

    Args:
        pieces: entries of a vocabulary; continuations begin with ##.

    Returns:
        For each piece its text, and whether a space stands before it.
    """
    found: list[tuple[str, bool]] = []
    quoted = False
    for place, piece in enumerate(pieces):
        before = pieces[place - 1] if place else ""
        after = pieces[place + 1] if place + 1 < len(pieces) else ""
        if len(piece) > 2 and piece.startswith("##"):
            found.append((piece[2:], False))
        elif piece == '"':
            found.append((piece, not quoted and place > 0))
            quoted = not quoted
        else:
            opened = before == '"' and quoted
            found.append((piece, place > 0 and not opened and not _touch(before, piece, after, pieces[: place - 1])))
    return found


def _touch(before: str, piece: str, after: str, earlier: Sequence[str]) -> bool:
    """Tell whether a piece stands against the one before it."""
    if piece in _CLOSING or before in _OPENING or is_wide(piece[:1]) or is_wide(before[-1:]):
        return True
    if before in {".", ","} and earlier and _is_number(earlier[-1]) and _is_number(piece):
        return True  # 23,000 and 2.5
    if piece in {"'", "’"}:
        return before.isalpha() and after in _ENDINGS
    if before in {"'", "’"}:
        return piece in _ENDINGS and bool(earlier) and earlier[-1].isalpha()
    if piece in _JOINING:
        return before.isalnum() and after.isalnum()
    return before in _JOINING and bool(earlier) and earlier[-1].isalnum() and piece.isalnum()


def _is_number(piece: str) -> bool:
    return piece.removeprefix("##").isdecimal()


def is_wide(character: str) -> bool:
    """Tell whether a character is one of those that stand side by side without spaces: Han, kana, full-width marks."""
    return bool(character) and ("\u2e80" <= character <= "\ua4cf" or "\uf900" <= character <= "\uffef")
