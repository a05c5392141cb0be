"""Turn lines of plain text into documents and paragraphs: BERT's format, WikiExtractor's format, hard-wrapped lines.

The functions work on any stream of lines and hold one paragraph at a time. ``corpus.documents`` decides which format a
file has.
"""

import html
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from bertie import progress

Separator = Literal["blank-line", "file"]

_SAMPLE_LINES = 2000
_MIN_WIDTH, _MAX_WIDTH = 30, 140
_MIN_WRAPPED_LINES = 10
_MAX_JOINED_LINES = 2000
_SENTENCE_END = re.compile(r"[.!?。！？…][\"'”’」』)）\]]*$")
_IDEOGRAPH = re.compile("[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff00-\uffef]")
_WIKI_TITLE = re.compile(r'\btitle="(.*)"')


class DocumentEnd:
    """A mark after the last paragraph of a document."""


END = DocumentEnd()
Part = str | DocumentEnd


@dataclass
class Place:
    """Where the last line that a reader has passed on begins."""

    line: int = 0
    """From 1."""


def numbered(lines: Iterable[str], place: Place) -> Iterator[str]:
    """Yield lines, and write the number of each into `place`."""
    for place.line, line in enumerate(lines, 1):
        yield line


def plain_parts(lines: Iterable[str], *, separator: Separator) -> Iterator[Part]:
    """Turn lines into paragraphs, one per line, and document ends.

    Args:
        lines: the lines of one file, with wrapped lines already joined.
        separator: ``blank-line``: blank lines separate documents (BERT's format). ``file``: the file is one document.

    Yields:
        Stripped paragraphs, and ``END`` after the last one of each document.
    """
    inside = False
    for line in lines:
        paragraph = line.strip()
        if paragraph:
            inside = True
            yield paragraph
        elif inside and separator == "blank-line":
            inside = False
            yield END
    if inside:
        yield END


def is_wiki(first_line: str) -> bool:
    """Return whether a file that begins with this line is in WikiExtractor's format."""
    return first_line.startswith("<doc ")


def wiki_parts(lines: Iterable[str], *, name: str) -> Iterator[Part]:
    """Turn WikiExtractor's output into paragraphs and document ends.

    A document is the text between ``<doc ...>`` and ``</doc>``. Its first line is left out if it only repeats the
    title. A document without ``</doc>`` is kept, with a warning.

    Args:
        lines: the lines of one file.
        name: the file's name, for warnings.

    Yields:
        Stripped paragraphs, and ``END`` after the last one of each document.
    """
    title: str | None = None
    inside = False
    num_unclosed = num_outside = 0
    for line in lines:
        paragraph = line.strip()
        if line.startswith("<doc ") and paragraph.endswith(">"):
            num_unclosed += inside
            if inside:
                yield END
            inside = True
            match = _WIKI_TITLE.search(paragraph)
            title = html.unescape(match[1]).strip() if match else None
        elif paragraph == "</doc>":
            if inside:
                yield END
            inside = False
        elif paragraph and not inside:
            num_outside += 1
        elif paragraph:
            if paragraph != title:
                yield paragraph
            title = None
    if inside:
        num_unclosed += 1
        yield END
    if num_unclosed:
        progress.warn(f"{name}: {num_unclosed} documents without </doc> were kept; check that the file is complete")
    if num_outside:
        progress.warn(f"{name}: {num_outside} lines outside <doc ...> and </doc> were left out")


def join_wrapped(lines: Iterable[str], *, found: Callable[[int], None], place: Place | None = None) -> Iterator[str]:
    """Join hard-wrapped lines, so that sentences are complete again; leave other text unchanged.

    The first lines decide whether the text is wrapped. A line continues on the next line in two cases: if the next
    line's first word would not have fitted onto it, or if it is at least half full and does not end a sentence. So a
    short line ends a paragraph even if no blank line follows.

    Args:
        lines: the lines of one file.
        found: called with the width if the text is wrapped.
        place: receives the number of the first original line of each line yielded.

    Yields:
        Joined lines, and the original blank lines.
    """
    place = Place() if place is None else place
    stream = iter(lines)
    sample = list(itertools.islice(stream, _SAMPLE_LINES))
    width = wrapped_width(sample)
    lines = itertools.chain(sample, stream)
    if width is None:
        yield from numbered(lines, place)
        return
    found(width)
    parts: list[str] = []
    last = ""
    begin = 0
    for number, line in enumerate(lines, 1):
        if parts and (len(parts) >= _MAX_JOINED_LINES or not _continues(last, line, width)):
            place.line = begin
            yield "".join(parts)
            parts = []
        if not line.strip():
            place.line = number
            yield ""
            continue
        begin = begin if parts else number
        text = line.strip()
        # Chinese lines are joined without a space.
        glue = "" if not parts or (_IDEOGRAPH.match(parts[-1][-1]) and _IDEOGRAPH.match(text)) else " "
        parts.append(glue + text)
        last = line.rstrip()
    if parts:
        place.line = begin
        yield "".join(parts)


def wrapped_width(lines: list[str]) -> int | None:
    """Return the width at which a text is wrapped.

    In wrapped text, most lines end where the next word would not have fitted, and few end with a sentence.

    Args:
        lines: the first lines of a text.

    Returns:
        The width in characters, or None if the text doesn't look wrapped.
    """
    lines = [line.rstrip() for line in lines]
    lengths = sorted(len(line) for line in lines if line)
    if len(lengths) < _MIN_WRAPPED_LINES:
        return None
    width = lengths[len(lengths) * 9 // 10]
    if not _MIN_WIDTH <= width <= _MAX_WIDTH:
        return None
    pairs = [(line, following) for line, following in itertools.pairwise(lines) if line and following.strip()]
    full = [line for line, following in pairs if _is_full(line, following, width)]
    num_sentence_ends = sum(1 for line in full if _SENTENCE_END.search(line))
    # Lines wrapped at words have many lengths; the lines of a generated list often have the same length.
    ragged = len({len(line) for line in full}) > 2 or any(_IDEOGRAPH.search(line) for line in full)
    wrapped = len(full) > 0.6 * len(pairs) and num_sentence_ends < 0.5 * len(full) and ragged
    return width if wrapped and len(full) >= _MIN_WRAPPED_LINES - 1 else None


def _continues(line: str, following: str, width: int) -> bool:
    """Return whether a line of wrapped text continues on the following line."""
    if not following.strip() or len(line) > 2 * width:  # a line much longer than the width was not wrapped
        return False
    inside_sentence = len(line) >= width // 2 and not _SENTENCE_END.search(line)
    return inside_sentence or _is_full(line, following, width)


def _is_full(line: str, following: str, width: int) -> bool:
    """Return whether the following line's first word, or first Chinese character, would not have fitted onto a line."""
    word = following.split(maxsplit=1)[0]
    room_needed = 1 if _IDEOGRAPH.match(word) else 1 + len(word)
    return len(line) + room_needed > width
