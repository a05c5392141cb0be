"""Spans of characters in texts: the texts are cut into words, and the spans are laid on these as tags.

A span that doesn't stand where it says, or ends within a word, is mended where there is one way to; what can't be is
dropped. Both are counted and said with line numbers.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.data.cells import read_cell
from bertie.data.entities import Tags, iob2
from bertie.data.items import Words
from bertie.data.offsets import CHARACTERS, UNITS, to_characters
from bertie.data.reading import first_few
from bertie.errors import DataError
from bertie.metrics.entities import Entity

_MOST_NAMED = 8  # line numbers that a warning lists
# Names of a span's start, end (left out) and label in label tools.
_PARTS = (
    ("start", "start_offset", "begin", "startOffset", "start_char"),
    ("end", "end_offset", "stop", "endOffset", "end_char"),
    ("label", "labels", "entity_group", "type", "entity_type", "tag", "class", "entity"),
)


class SpanReader:
    """Makes tagged words of the texts and spans of a file.

    Args:
        file: for messages.
        unit: what the places of spans are counted in (`offsets.py`).
    """

    def __init__(self, file: Path, unit: str = CHARACTERS) -> None:
        self._file = file
        self._unit = unit
        # What happened to spans: line of each.
        self._moved: list[int] = []
        self._recounted: list[int] = []
        self._widened: list[int] = []
        self._lost: list[int] = []
        self._overlapping: list[int] = []

    def read(self, line: int, text: Any, spans: Any) -> Words:
        """Cut a text and tag its words.

        Args:
            line: where it stands in the file.
            text: a string.
            spans: a list of {"start", "end", "label"} or [start, end, label], `end` left out, as they are or written in
                a cell; {type: {string: [[first, last]]}}, `last` included; or None where nothing is said of the text.

        Raises:
            DataError: spans of another form.
        """
        where = f"{self._file}:{line}"
        if not isinstance(text, str):
            raise DataError(f"{where}: a text is a string; this is {text!r:.60}")
        bare = cut_words(text)
        if spans is None:
            return Words(bare.words, None, line, text, bare.offsets)
        placed = []
        for span, string in read_spans(spans, where):
            found = self._place(span, string, text, line)
            placed += [] if found is None else [found]
        tags, widened, dropped = lay_on_words(placed, bare.offsets)
        self._widened += [line] * len(widened)
        self._overlapping += [line] * len(dropped)
        return Words(bare.words, tags, line, text, bare.offsets)

    def _place(self, span: Entity, string: str | None, text: str, line: int) -> Entity | None:
        """Return a span where it is in the text; None when it can't be found."""
        for unit in (self._unit, *(unit for unit in UNITS if unit != self._unit and string is not None)):
            start, end = (to_characters(text, place, unit) for place in (span.start, span.end))
            if 0 <= start < end and string in (None, text[start:end]):
                if unit != CHARACTERS and (start, end) != (span.start, span.end):
                    self._recounted.append(line)
                return Entity(span.label, start, end)
        places = [match.start() for match in re.finditer(re.escape(string), text)] if string else []
        if string is None or len(places) != 1:
            self._lost.append(line)
            return None
        self._moved.append(line)
        return Entity(span.label, places[0], places[0] + len(string))

    def warn(self) -> None:
        """Say what had to be done to the spans of the file."""
        for lines, what in (
            (self._recounted, "are counted in UTF-16 units or bytes, not in characters, and were recounted"),
            (self._moved, "had offsets that don't fit their text and were moved to the only place where it occurs"),
            (self._widened, "began or ended inside a word and were widened to whole words"),
            (self._lost, "were dropped: they lie outside the text, or their text is not at their place"),
            (self._overlapping, "were dropped: they hold no word, or overlap another span"),
        ):
            if lines:
                distinct = list(dict.fromkeys(lines))
                named = first_few(distinct, _MOST_NAMED)
                progress.warn(f"{self._file}: {len(lines)} spans {what} (line{'s' if distinct[1:] else ''} {named})")


def unit_of(file: Path, rows: Sequence[tuple[int, Any, Any]]) -> str:
    """Tell what the spans of a file are counted in, where they cut words as characters and fit as something else.

    Args:
        file: for messages.
        rows: line, text and spans of each.
    """
    wrong = dict.fromkeys(UNITS, 0)
    for line, text, spans in rows:
        if not isinstance(text, str) or not spans or text.isascii():
            continue
        bare = [span for span, string in read_spans(spans, f"{file}:{line}") if string is None]
        offsets = cut_words(text).offsets if bare else ()
        starts, ends = {start for start, _ in offsets}, {end for _, end in offsets}
        for span in bare:
            for unit in UNITS:
                start, end = (to_characters(text, place, unit) for place in (span.start, span.end))
                wrong[unit] += start not in starts or end not in ends
    best = [unit for unit in UNITS if wrong[unit] == 0]
    return best[0] if best and wrong[CHARACTERS] else CHARACTERS


def read_spans(value: Any, where: str) -> Iterator[tuple[Entity, str | None]]:
    """Yield each span with the string that it should be, where that is said."""
    if isinstance(value, str):
        try:
            value = read_cell(value) if value.strip() else []
        except ValueError as error:
            raise DataError(f"{where}: the spans can't be read, {error}: {value!r:.60}") from error
    if isinstance(value, Mapping):
        for label, strings in value.items():
            for string, places in _pairs(strings, where):
                for place in places if isinstance(places, list) else [places]:
                    first, last = _numbers(place, where)
                    yield Entity(label, first, last + 1), string
        return
    if not isinstance(value, list):
        raise DataError(f"{where}: spans are a list, or types with their strings and places; this is {value!r:.60}")
    for span in value:
        if isinstance(span, Mapping):
            parts, said = _parts(span, where), span.get("text")
        else:
            parts, said = list(span) if isinstance(span, list | tuple) else [], None
        if len(parts) != 3 or not isinstance(parts[2], str) or not parts[2]:
            raise DataError(
                f'{where}: a span is {{"start": 0, "end": 5, "label": "PER"}} or [0, 5, "PER"]; this is {span!r:.60}'
            )
        start, end = _numbers(parts[:2], where)
        yield Entity(parts[2], start, end), said if isinstance(said, str) else None


def _parts(span: Mapping[str, Any], where: str) -> list[Any]:
    """Return start, end and label of a span by whatever names label tools give them."""
    parts = [next((span[name] for name in names if span.get(name) is not None), None) for names in _PARTS]
    several = parts[2]
    if isinstance(several, list):
        if len(several) != 1:
            raise DataError(f"{where}: a span has one label; this has {several!r:.60}")
        parts[2] = several[0]
    return parts


def _pairs(strings: Any, where: str) -> list[tuple[str, Any]]:
    if not isinstance(strings, Mapping):
        raise DataError(f"{where}: a type's spans are {{string: [[first, last]]}}; this is {strings!r:.60}")
    return list(strings.items())


def _numbers(place: Any, where: str) -> tuple[int, int]:
    """Check two numbers of characters."""
    if isinstance(place, list) and len(place) == 2 and all(type(number) is int for number in place):
        return place[0], place[1]
    raise DataError(f"{where}: a span's place is two whole numbers; this is {place!r:.60}")


def cut_words(text: str) -> Words:
    """Cut a text as BERT's basic tokenizer does: at white space, each Chinese character and punctuation mark alone."""
    edges: list[tuple[int, int]] = []
    start = None  # of the word that is open
    for place, character in enumerate(text):
        kind = _kind(character)
        if kind != "part" and start is not None:
            edges.append((start, place))
            start = None
        if kind == "alone":
            edges.append((place, place + 1))
        elif kind == "part" and start is None:
            start = place
    if start is not None:
        edges.append((start, len(text)))
    return Words(tuple(text[start:end] for start, end in edges), None, 0, text, tuple(edges))


# The blocks that the tokenizers package takes for Chinese characters, as the original code does (save for U+2B820 to
# U+2B91F, which it leaves out); kana and hangul are letters to both.
_IDEOGRAPHS = re.compile(
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f]"
)
_ASCII_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@cache
def _kind(character: str) -> str:
    """Tell whether a character is a `space`, a word `alone`, or `part` of one, as control characters are."""
    category = unicodedata.category(character)
    if character in "\t\n\r" or (character.isspace() and category != "Cc"):
        return "space"
    alone = character in _ASCII_PUNCTUATION or category.startswith("P") or _IDEOGRAPHS.match(character)
    return "alone" if alone else "part"


def lay_on_words(
    spans: Sequence[Entity], offsets: Sequence[tuple[int, int]]
) -> tuple[Tags, list[Entity], list[Entity]]:
    """Tag the words that spans of characters cover.

    Spans that end where words end come first, the longest of them before others; then those that cut a word, widened to
    whole words where these are free. White space at a span's ends counts for nothing.

    Args:
        spans: their `start` and `end` are characters.
        offsets: characters of each word, rising.

    Returns:
        IOB2 tags, the spans that were widened, and those that were dropped: on no word, or on another span's.
    """
    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    taken: list[Entity] = []
    widened: list[Entity] = []
    dropped: list[Entity] = []
    fitting: list[tuple[bool, int, int, Entity, Entity]] = []  # in the order in which they are laid
    for span in dict.fromkeys(spans):
        on_words = Entity(span.label, bisect_right(ends, span.start), bisect_left(starts, span.end))
        if on_words.start >= on_words.end:
            dropped.append(span)
            continue
        cuts = span.start > starts[on_words.start] or span.end < ends[on_words.end - 1]
        fitting.append((cuts, on_words.start - on_words.end, on_words.start, span, on_words))
    used = [False] * len(offsets)
    for cuts, _, _, span, on_words in sorted(fitting, key=lambda one: one[:3]):
        if any(used[on_words.start : on_words.end]):
            dropped.append(span)
            continue
        used[on_words.start : on_words.end] = [True] * (on_words.end - on_words.start)
        taken.append(on_words)
        if cuts:
            widened.append(span)
    return iob2(sorted(taken, key=lambda entity: entity.start), len(offsets)), widened, dropped
