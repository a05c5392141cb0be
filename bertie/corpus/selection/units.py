"""Turn text into units to compare: words in lower case, and single characters where no spaces separate words.

Two texts are the same text if `normalized` makes them equal. Their similarity is the Jaccard similarity of their sets
of shingles: the number of shingles in both, divided by the number in either.
"""

import re
import unicodedata

SHINGLE = 5
"""Units of a shingle, as in Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better"."""

# Chinese characters, kana, and the scripts of Thai, Lao, Burmese and Khmer, which set no spaces between words.
_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_ASCII_UNIT = re.compile(r"[a-z0-9_]+")
_UNIT = re.compile(rf"[{_WITHOUT_SPACES}]|[^\W{_WITHOUT_SPACES}]+")


def normalized(text: str) -> str:
    r"""Return a text without differences of case, Unicode form and white space.

    >>> normalized("The  \uff23at\nsat.") == "the cat sat."
    True
    """
    text = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return " ".join(text.split())


def units_of(text: str) -> list[str]:
    """Return the units of a normalized text; punctuation is left out.

    >>> units_of("bert, 2018: 北京!")
    ['bert', '2018', '北', '京']
    """
    return (_ASCII_UNIT if text.isascii() else _UNIT).findall(text)


def shingles_of(units: list[str]) -> list[str]:
    """Return the shingles of a text, each joined by spaces; a shorter text is a single shingle, none is empty.

    >>> shingles_of(["a", "b", "c", "d", "e", "f"])
    ['a b c d e', 'b c d e f']
    """
    if len(units) <= SHINGLE:
        return [" ".join(units)] if units else []
    return list(map(" ".join, zip(*(units[place:] for place in range(SHINGLE)), strict=False)))
