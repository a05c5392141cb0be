"""Label words by spans of characters: cut the texts into words, and turn the spans into tags or runs of these.

A span with wrong offsets, or one that ends within a word, is corrected if there is only one way to. Other wrong spans
are dropped. Warnings count both, with line numbers.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.errors import DataError
from bertie.items.words import Words
from bertie.metrics.entities import Entity
from bertie.readers.cells import read_cell
from bertie.readers.entities import Tags, iob2
from bertie.readers.offsets import CHARACTERS, UNITS, to_characters
from bertie.readers.reading import first_few

WORDS = "words"
"""The unit of offsets that count words."""
_MOST_NAMED = 8  # line numbers that a warning lists at most
# Names that label tools use for a span's start, its end (exclusive) and its label.
_PARTS = (
    ("start", "start_offset", "begin", "startOffset", "start_char"),
    ("end", "end_offset", "stop", "endOffset", "end_char"),
    ("label", "labels", "entity_group", "type", "entity_type", "tag", "class", "entity"),
)


class SpanReader:
    """A reader of texts and spans that returns tagged words.

    Args:
        file: file name for messages.
        unit: unit of the spans' offsets (`offsets.py`), or `WORDS`.
        overlapping: whether to keep all spans in `Words.spans`; otherwise those that overlap a longer one are dropped.
    """

    def __init__(self, file: Path, unit: str = CHARACTERS, *, overlapping: bool = False) -> None:
        self._file = file
        self._unit = unit
        self._keeps_all = overlapping
        # The line of each span that was corrected or dropped.
        self._moved: list[int] = []
        self._recounted: list[int] = []
        self._widened: list[int] = []
        self._lost: list[int] = []
        self._overlapping: list[int] = []
        self._empty: list[int] = []

    def read(self, line: int, text: Any, spans: Any) -> Words:
        """Cut a text into words and tag them.

        Args:
            line: line of the text in the file.
            text: a string.
            spans: a list of {"start", "end", "label"} or [start, end, label], with exclusive `end`, also if written as
                text in a cell; {type: {string: [[first, last]]}}, with inclusive `last`; or None for a text without
                labels.

        Raises:
            DataError: the text or the spans have another form.
        """
        if not isinstance(text, str):
            raise DataError(f"{self._file}:{line}: a text must be a string; got {text!r:.60}")
        return self.label(replace(cut_words(text), line=line), spans)

    def label(self, bare: Words, spans: Any) -> Words:
        """Label the words of an item; `spans` as in `read`."""
        if spans is None:
            return bare
        text, offsets, line = bare.whole_text(), bare.word_offsets(), bare.line
        located_spans = []
        for span, string in read_spans(spans, f"{self._file}:{line}", many=self._keeps_all):
            located = self._on_text(span, offsets) if self._unit == WORDS else self._locate(span, string, text, line)
            self._lost += [line] if located is None else []
            located_spans += [] if located is None else [located]
        tags, widened, dropped = lay_on_words(located_spans, offsets)
        if not self._keeps_all:
            self._widened += [line] * len(widened)
            self._overlapping += [line] * len(dropped)
            return replace(bare, label=tags)
        kept: set[Entity] = set()
        for span in dict.fromkeys(located_spans):
            words = words_of(span, offsets)
            self._empty += [line] if words is None else []
            if words is not None:
                kept.add(words)
                self._widened += [line] if _cuts(span, words, offsets) else []
        in_order = sorted(kept, key=lambda words: (words.start, -words.end, words.label))
        return replace(bare, label=tags, spans=tuple(in_order))

    @staticmethod
    def _on_text(span: Entity, offsets: Sequence[tuple[int, int]]) -> Entity | None:
        """Return the characters of a span that counts words; None if there are no such words."""
        if not 0 <= span.start < span.end <= len(offsets):
            return None
        return Entity(span.label, offsets[span.start][0], offsets[span.end - 1][1])

    def _locate(self, span: Entity, string: str | None, text: str, line: int) -> Entity | None:
        """Return a span with its characters in the text; None if they can't be found."""
        for unit in (self._unit, *(unit for unit in UNITS if unit != self._unit and string is not None)):
            start, end = (to_characters(text, offset, unit) for offset in (span.start, span.end))
            if 0 <= start < end and string in (None, text[start:end]):
                if unit != CHARACTERS and (start, end) != (span.start, span.end):
                    self._recounted.append(line)
                return Entity(span.label, start, end)
        starts = [match.start() for match in re.finditer(re.escape(string), text)] if string else []
        if string is None or len(starts) != 1:
            return None
        self._moved.append(line)
        return Entity(span.label, starts[0], starts[0] + len(string))

    def warn(self) -> None:
        """Warn of the spans of the file that were corrected or dropped."""
        for lines, what in (
            (self._recounted, "had offsets in UTF-16 units or bytes, which were converted to characters"),
            (self._moved, "had offsets that don't fit their text and were moved to its only occurrence"),
            (self._widened, "began or ended inside a word and were widened to whole words"),
            (self._lost, "were dropped: they are outside the text, or their text is not at their offsets"),
            (self._overlapping, "were dropped: they contain no word, or overlap another span"),
            (self._empty, "were dropped: they contain no word"),
        ):
            if lines:
                distinct = list(dict.fromkeys(lines))
                named = first_few(distinct, _MOST_NAMED)
                progress.warn(f"{self._file}: {len(lines)} spans {what} (line{'s' if distinct[1:] else ''} {named})")


def unit_of(file: Path, rows: Sequence[tuple[int, Any, Any]]) -> str:
    """Return the unit of a file's offsets: characters, unless these cut words and another unit doesn't.

    Args:
        file: file name for messages.
        rows: (line, text, spans) of each row.
    """
    wrong = dict.fromkeys(UNITS, 0)
    for line, text, spans in rows:
        if not isinstance(text, str) or not spans or text.isascii():
            continue
        bare = [span for span, string in read_spans(spans, f"{file}:{line}", many=True) if string is None]
        offsets = cut_words(text).offsets if bare else ()
        starts, ends = {start for start, _ in offsets}, {end for _, end in offsets}
        for span in bare:
            for unit in UNITS:
                start, end = (to_characters(text, offset, unit) for offset in (span.start, span.end))
                wrong[unit] += start not in starts or end not in ends
    best = [unit for unit in UNITS if wrong[unit] == 0]
    return best[0] if best and wrong[CHARACTERS] else CHARACTERS


def counts_words(file: Path, rows: Sequence[tuple[int, Any, Any]]) -> bool:
    """Check whether the offsets of a file count words: as characters they cut words, as words they fit all rows.

    Args:
        file: file name for messages.
        rows: (line, list of words, spans) of each row.
    """
    cut = False
    for line, words, spans in rows:
        if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words) or not spans:
            continue
        offsets = Words(tuple(words)).word_offsets()
        starts, ends = {start for start, _ in offsets}, {end for _, end in offsets}
        for span, _ in read_spans(spans, f"{file}:{line}", many=True):
            if not 0 <= span.start < span.end <= len(offsets):
                return False
            cut = cut or span.start not in starts or span.end not in ends
    return cut


def read_spans(value: Any, where: str, *, many: bool = False) -> Iterator[tuple[Entity, str | None]]:
    """Yield each span with its string, or None if the file doesn't give it.

    A span with `many` labels is yielded once for each; without `many` it is an error.
    """
    if isinstance(value, str):
        try:
            value = read_cell(value) if value.strip() else []
        except ValueError as error:
            raise DataError(f"{where}: the spans can't be read, {error}: {value!r:.60}") from error
    if isinstance(value, Mapping):
        for label, strings in value.items():
            for string, ranges in _pairs(strings, where):
                for characters in ranges if isinstance(ranges, list) else [ranges]:
                    first, last = _numbers(characters, where)
                    yield Entity(label, first, last + 1), string
        return
    if not isinstance(value, list):
        raise DataError(f"{where}: spans must be a list, or types with their strings and offsets; got {value!r:.60}")
    for span in value:
        if isinstance(span, Mapping):
            parts, text = _parts(span), span.get("text")
        else:
            parts, text = list(span) if isinstance(span, list | tuple) else [], None
        labels = parts[2] if len(parts) == 3 and isinstance(parts[2], list) else parts[2:]
        if len(parts) == 3 and len(labels) != 1 and not (many and labels):
            raise DataError(f"{where}: a span must have one label; got {labels!r:.60}")
        if len(parts) != 3 or not all(isinstance(label, str) and label for label in labels):
            raise DataError(
                f'{where}: a span must be {{"start": 0, "end": 5, "label": "PER"}} or [0, 5, "PER"]; got {span!r:.60}'
            )
        start, end = _numbers(parts[:2], where)
        for label in labels:
            yield Entity(label, start, end), text if isinstance(text, str) else None


def _parts(span: Mapping[str, Any]) -> list[Any]:
    """Return start, end and label, or labels, of a span, in the naming of any label tool."""
    return [next((span[name] for name in names if span.get(name) is not None), None) for names in _PARTS]


def _pairs(strings: Any, where: str) -> list[tuple[str, Any]]:
    if not isinstance(strings, Mapping):
        raise DataError(f"{where}: a type's spans must be {{string: [[first, last]]}}; got {strings!r:.60}")
    return list(strings.items())


def _numbers(characters: Any, where: str) -> tuple[int, int]:
    """Check a pair of offsets and return it."""
    if isinstance(characters, list) and len(characters) == 2 and all(type(number) is int for number in characters):
        return characters[0], characters[1]
    raise DataError(f"{where}: a span's offsets must be two whole numbers; got {characters!r:.60}")


def cut_words(text: str) -> Words:
    """Cut a text like BERT's basic tokenizer: at white space, around each Chinese character and punctuation mark."""
    edges: list[tuple[int, int]] = []
    start = None  # of the word that is open
    for index, character in enumerate(text):
        kind = _kind(character)
        if kind != "part" and start is not None:
            edges.append((start, index))
            start = None
        if kind == "alone":
            edges.append((index, index + 1))
        elif kind == "part" and start is None:
            start = index
    if start is not None:
        edges.append((start, len(text)))
    return Words(tuple(text[start:end] for start, end in edges), None, 0, text, tuple(edges))


# The blocks that the tokenizers package and the original code treat as Chinese characters (the package leaves out
# U+2B820 to U+2B91F). Both treat kana and hangul as letters.
_IDEOGRAPHS = re.compile(
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f]"
)
_ASCII_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@cache
def _kind(character: str) -> str:
    """Classify a character as `space`, as a word `alone`, or as `part` of a word; control characters are parts."""
    category = unicodedata.category(character)
    if character in "\t\n\r" or (character.isspace() and category != "Cc"):
        return "space"
    alone = character in _ASCII_PUNCTUATION or category.startswith("P") or _IDEOGRAPHS.match(character)
    return "alone" if alone else "part"


def words_of(span: Entity, offsets: Sequence[tuple[int, int]]) -> Entity | None:
    """Return the run of words that a span of characters touches; None if it touches none."""
    first = bisect_right(offsets, span.start, key=lambda word: word[1])
    end = bisect_left(offsets, span.end, key=lambda word: word[0])
    return Entity(span.label, first, end) if first < end else None


def _cuts(span: Entity, words: Entity, offsets: Sequence[tuple[int, int]]) -> bool:
    """Check whether a span begins or ends within one of its words."""
    return span.start > offsets[words.start][0] or span.end < offsets[words.end - 1][1]


def lay_on_words(
    spans: Sequence[Entity], offsets: Sequence[tuple[int, int]]
) -> tuple[Tags, list[Entity], list[Entity]]:
    """Tag the words that spans of characters cover.

    Spans that end at words come first, the longest before the others. Then come spans that cut a word. They are widened
    to whole words if these are free. White space at the ends of a span is ignored.

    Args:
        spans: entities whose `start` and `end` count characters.
        offsets: characters [start, end) of each word, rising.

    Returns:
        IOB2 tags, the spans that were widened, and the spans that were dropped: without words, or overlapping another.
    """
    taken: list[Entity] = []
    widened: list[Entity] = []
    dropped: list[Entity] = []
    fitting: list[tuple[bool, int, int, Entity, Entity]] = []  # sorted into the order of tagging
    for span in dict.fromkeys(spans):
        on_words = words_of(span, offsets)
        if on_words is None:
            dropped.append(span)
            continue
        cuts = _cuts(span, on_words, offsets)
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
