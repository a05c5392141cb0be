"""Lines of plain text to documents and paragraphs: BERT's form, WikiExtractor's form, hard-wrapped lines.

Works on any stream of lines and holds one paragraph at a time. Which file is in which form is decided in
``corpus.documents``.
"""

import html
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
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
    """Stands between the paragraphs of one document and those of the next."""


END = DocumentEnd()
Part = str | DocumentEnd


def plain_parts(lines: Iterable[str], *, separator: Separator) -> Iterator[Part]:
    """Turn lines into paragraphs, one a line, and document ends.

    Args:
        lines: the lines of one file; wrapped ones joined already.
        separator: ``blank-line``: blank lines part documents (BERT's own form). ``file``: the file is one document.

    Yields:
        Paragraphs without spaces around them, and ``END`` after a document's last one.
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
    """Tell whether a file that begins with this line is in WikiExtractor's form."""
    return first_line.startswith("<doc ")


def wiki_parts(lines: Iterable[str], *, name: str) -> Iterator[Part]:
    """Turn WikiExtractor's output into paragraphs and document ends.

    A document is what stands between ``<doc ...>`` and ``</doc>``; its first line, when it only says the title once
    more, is left out. A document that is never closed is kept, with a warning.

    Args:
        lines: the lines of one file.
        name: the file's name, for warnings.

    Yields:
        Paragraphs without spaces around them, and ``END`` after a document's last one.
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
        progress.warn(f"{name}: {num_unclosed} documents without </doc>, kept as they are (was the file cut off?)")
    if num_outside:
        progress.warn(f"{name}: {num_outside} lines outside <doc ...> and </doc> left out")


def join_wrapped(lines: Iterable[str], *, found: Callable[[int], None]) -> Iterator[str]:
    """Join lines that were broken to fit a width, so that sentences are whole again; leave other text alone.

    Whether the text is wrapped is judged by its first lines. A line goes on in the next one when
    that one's first word wouldn't have fitted behind it, and when it is at least half full and ends in the middle of a
    sentence. So a paragraph ends at a short line even without a blank one behind it.

    Args:
        lines: the lines of one file.
        found: told the width when the text is wrapped.

    Yields:
        Joined lines, and blank lines where they were.
    """
    stream = iter(lines)
    sample = list(itertools.islice(stream, _SAMPLE_LINES))
    width = wrapped_width(sample)
    lines = itertools.chain(sample, stream)
    if width is None:
        yield from lines
        return
    found(width)
    parts: list[str] = []
    last = ""
    for line in lines:
        if parts and (len(parts) >= _MAX_JOINED_LINES or not _goes_on(last, line, width)):
            yield "".join(parts)
            parts = []
        if not line.strip():
            yield ""
            continue
        text = line.strip()
        # Chinese has no space where a line was broken.
        glue = "" if not parts or (_IDEOGRAPH.match(parts[-1][-1]) and _IDEOGRAPH.match(text)) else " "
        parts.append(glue + text)
        last = line.rstrip()
    if parts:
        yield "".join(parts)


def wrapped_width(lines: list[str]) -> int | None:
    """Tell the width that text was wrapped at.

    Args:
        lines: the first lines of a text.

    Returns:
        The width in characters, or None when the text doesn't look wrapped: in wrapped text most lines end where the
        next word wouldn't have fitted any more, and seldom at the end of a sentence.
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
    # Wrapping at words makes lines of many lengths; those of a list made by a program are often alike.
    ragged = len({len(line) for line in full}) > 2 or any(_IDEOGRAPH.search(line) for line in full)
    wrapped = len(full) > 0.6 * len(pairs) and num_sentence_ends < 0.5 * len(full) and ragged
    return width if wrapped and len(full) >= _MIN_WRAPPED_LINES - 1 else None


def _goes_on(line: str, following: str, width: int) -> bool:
    """Tell whether a line of wrapped text goes on in the following one."""
    if not following.strip() or len(line) > 2 * width:  # a line far beyond the width wasn't wrapped
        return False
    inside_sentence = len(line) >= width // 2 and not _SENTENCE_END.search(line)
    return inside_sentence or _is_full(line, following, width)


def _is_full(line: str, following: str, width: int) -> bool:
    """Tell whether the following line's first word (a Chinese character is a word) found no room behind this line."""
    word = following.split(maxsplit=1)[0]
    room_needed = 1 if _IDEOGRAPH.match(word) else 1 + len(word)
    return len(line) + room_needed > width
