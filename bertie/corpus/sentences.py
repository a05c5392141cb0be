"""Split paragraphs into sentences: Chinese by rules in this file, other languages by ``sentencex``, or line by line.

The sentences of a paragraph, joined, are the paragraph except for white space. The time is linear in the length of any
text.
"""

import re
from itertools import accumulate, pairwise
from typing import Literal

import sentencex

from bertie.errors import SettingsError
from bertie.native import failed
from bertie.registry import did_you_mean

Mode = Literal["split", "line"]

AUTO = "auto"
CHINESE = "zh"
# The languages that sentencex has rules for; it silently treats any other code as English.
LANGUAGES = (
    *("am", "ar", "bg", "bn", "ca", "da", "de", "el", "en", "es", "fi", "fr", "gu", "hi", "hy", "it"),
    *("ja", "kk", "kn", "ml", "mr", "my", "nl", "pa", "pl", "pt", "ru", "sk", "ta", "te", "uk", CHINESE),
)

_SAMPLE_CHARACTERS = 10_000
_MIN_CJK_SHARE = 0.2
_WINDOW_CHARACTERS = 10_000
_WIDE = "\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef"
_WIDE_SPACE = re.compile("[\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_CJK = re.compile(f"[{_WIDE}\U00020000-\U0002fa1f]")

# Text inside a title or brackets belongs to the sentence around it. Its length is limited, so that an opening character
# that is never closed costs little time.
_ENCLOSED = r"《[^《》]{0,80}》|〈[^〈〉]{0,80}〉|（[^（）]{0,200}）|\([^()]{0,200}\)"
# Two or more ellipsis characters end a sentence; a single one is a pause. A western mark ends a sentence only after a
# Chinese character, so that names such as "Yahoo!" stay whole.
_MARKS = rf"(?:[。！？｡]|…{{2,}}|(?<=[{_WIDE}])[!?]+)+"
_CLOSING = r"[”’」』）〕】》〉］｝)\]]*"
_UNIT = re.compile(f"{_ENCLOSED}|(?P<end>{_MARKS}{_CLOSING})")


def split(paragraph: str, *, language: str = "en", mode: Mode = "split", unsplit: list[str] | None = None) -> list[str]:
    """Split a paragraph into sentences.

    Args:
        paragraph: text without line breaks.
        language: one of ``LANGUAGES``.
        mode: ``split``, or ``line`` if each paragraph is one sentence.
        unsplit: receives the texts that sentencex failed on; each is returned as one sentence.

    Returns:
        The stripped sentences; none is empty.
    """
    if mode == "line":
        pieces = [paragraph]
    elif language == CHINESE:
        pieces = _split_chinese(paragraph)
    else:
        pieces = _segment(paragraph, language, [] if unsplit is None else unsplit)
    return [sentence for piece in pieces if (sentence := piece.strip())]


def check_language(language: str) -> None:
    """Check that there are rules for a language.

    Args:
        language: ``auto`` or a language code.

    Raises:
        SettingsError: the language is unknown.
    """
    if language != AUTO and language not in LANGUAGES:
        raise SettingsError(f"--language {language!r} is unknown; {did_you_mean(language, [AUTO, *LANGUAGES])}")


def detect_language(paragraphs: list[str]) -> str:
    """Detect Chinese by the share of Chinese characters in the first 10,000 characters of a document.

    Args:
        paragraphs: the paragraphs of the document.

    Returns:
        ``zh`` if Chinese characters and punctuation are at least a fifth of the characters except spaces, else ``en``.
    """
    num_characters = num_cjk = 0
    for paragraph in paragraphs:
        sample = paragraph[: _SAMPLE_CHARACTERS - num_characters]
        num_characters += len(sample) - sample.count(" ")
        if not sample.isascii():
            num_cjk += len(_CJK.findall(sample))
        if num_characters >= _SAMPLE_CHARACTERS:
            break
    return CHINESE if num_cjk and num_cjk >= _MIN_CJK_SHARE * num_characters else "en"


def _segment(paragraph: str, language: str, unsplit: list[str]) -> list[str]:
    """Split by sentencex, window by window, because on some text, such as a row of quotes, its time is quadratic.

    No sentence ends at the edge of a window: the last piece of a window and the first piece of the next one are joined.
    """
    if len(paragraph) <= _WINDOW_CHARACTERS:
        return _pieces(paragraph, language, unsplit)
    groups: list[list[str]] = [[]]
    for start in range(0, len(paragraph), _WINDOW_CHARACTERS):
        pieces = _pieces(paragraph[start : start + _WINDOW_CHARACTERS], language, unsplit)
        groups[-1] += pieces[:1]
        groups += [[piece] for piece in pieces[1:]]
    return ["".join(group) for group in groups]


def _pieces(text: str, language: str, unsplit: list[str]) -> list[str]:
    """Call sentencex; a text that it fails on is returned as one piece.

    A three-byte white space after punctuation makes sentencex cut inside a character and panic. So it gets the text
    with plain spaces instead.
    """
    blank = _WIDE_SPACE.sub(" ", text) if not text.isascii() else text
    try:
        pieces: list[str] = sentencex.segment(language, blank)
        if "".join(pieces) != blank:
            raise ValueError("pieces are lost")
    except BaseException as error:
        if not failed(error):
            raise
        unsplit.append(text)
        return [text]
    if blank is text:
        return pieces
    ends = [0, *accumulate(map(len, pieces))]
    return [text[start:end] for start, end in pairwise(ends)]


def _split_chinese(paragraph: str) -> list[str]:
    """Split after 。！？ and …… and the quotes and brackets that close there, but not inside titles and brackets."""
    pieces = []
    start = 0
    for match in _UNIT.finditer(paragraph):
        if match["end"] is None:
            continue
        end = match.end()
        # A straight quote is a closing one if this sentence has an odd number of them so far.
        following = paragraph[end : end + 1]
        if following in ('"', "'") and paragraph.count(following, start, end) % 2 == 1:
            end += 1
        pieces.append(paragraph[start:end])
        start = end
    pieces.append(paragraph[start:])
    return pieces
