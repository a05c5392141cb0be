"""Prepare text for HTML pages: escape it, replace invalid characters, and join pieces into readable sentences.

Escaped text may be inserted between tags and into quoted attributes.
"""

import json
from collections.abc import Sequence
from html import escape

_REPLACED = "\N{REPLACEMENT CHARACTER}"
# Control characters except tab and newline, lone surrogates and noncharacters: invalid in HTML and XML.
_UNFIT = {
    **dict.fromkeys([*range(0x09), 0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)], _REPLACED),
    **dict.fromkeys([*range(0xD800, 0xE000), 0xFFFE, 0xFFFF], _REPLACED),
}
_CLOSING = set(".,:;!?%)]}’”»…")
_OPENING = set("([{“«$£€#")
_JOINING = set("-–/_@’'")
_ENDINGS = {"s", "t", "re", "ve", "ll", "d", "m", "em"}


def fit(text: object) -> str:
    """Convert a value to text without the characters that are invalid in a page or a settings file."""
    return str(text).translate(_UNFIT)


def quoted(text: str) -> str:
    """Return the text as a quoted string of JSON, which is one of YAML too; characters that no file holds are shown."""
    return json.dumps(fit(text), ensure_ascii=False)


def safe(text: object) -> str:
    """Convert a value to escaped text, which a page shows literally and never as markup."""
    return escape(fit(text))


def shorten(text: str, width: int) -> str:
    """Truncate text to a width in columns, with an ellipsis at the end; an East Asian character takes two columns."""
    used = 0
    for index, character in enumerate(text):
        used += 2 if is_wide(character) else 1
        if used > width:
            return text[: max(0, index - 1)].rstrip() + "…"
    return text


def spaced(pieces: Sequence[str]) -> list[tuple[str, bool]]:
    """Restore the spaces between pieces, approximately as in the original text.

    Args:
        pieces: entries of a vocabulary; continuations begin with ##.

    Returns:
        For each piece its text, and whether a space precedes it.
    """
    texts: list[tuple[str, bool]] = []
    quoted = False
    for index, piece in enumerate(pieces):
        before = pieces[index - 1] if index else ""
        after = pieces[index + 1] if index + 1 < len(pieces) else ""
        if len(piece) > 2 and piece.startswith("##"):
            texts.append((piece[2:], False))
        elif piece == '"':
            texts.append((piece, not quoted and index > 0))
            quoted = not quoted
        else:
            opened = before == '"' and quoted
            texts.append((piece, index > 0 and not opened and not _touch(before, piece, after, pieces[: index - 1])))
    return texts


def _touch(before: str, piece: str, after: str, earlier: Sequence[str]) -> bool:
    """Return whether there is no space between a piece and the piece before it."""
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
    """Return whether a character is written without spaces around it: Han, kana, full-width punctuation."""
    return bool(character) and ("\u2e80" <= character <= "\ua4cf" or "\uf900" <= character <= "\uffef")
