"""The items that tasks learn from and predict for: texts, words, questions and choices, one frozen dataclass each.

Every class has `label`, the right answer in its source (None: unlabelled), and `line`, its line there. The modules
`table`, `words`, `questions` and `choices` read files into items. This module neither reads nor encodes.
"""

import re
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from bertie.data.random import permutation
from bertie.data.reading import Reading
from bertie.errors import DataError, SettingsError
from bertie.metrics.entities import Entity, entities

Item = TypeVar("Item")

_WIDE = re.compile("[\u2e80-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff9f\uffe0-\uffef\U00020000-\U0003ffff]")
"""Characters of scripts without spaces: Han, kana, and their marks."""


@dataclass(frozen=True)
class Text:
    """A text, or a pair of texts."""

    text: str
    pair: str | None = None
    label: str | tuple[str, ...] | None = None
    """One label, or a tuple for an item that may have any number of labels."""
    line: int = 0
    """Line in the item's file, from 1; 0 if it comes from elsewhere."""
    negatives: tuple[str, ...] = ()
    """Texts that must be distinguished from `pair`, for embeddings."""
    id: str = field(default="", repr=False, compare=False)
    """Name of the item in its file; empty without such a column. Models don't learn from it."""


@dataclass(frozen=True)
class Words:
    """A text cut into words; each word gets a tag."""

    words: tuple[str, ...]
    label: tuple[str, ...] | None = None
    """One tag for each word, IOB2 (B-PER I-PER O)."""
    line: int = 0
    text: str = ""
    """The whole text that `offsets` refer to. If empty, the joined words: with spaces, but not within Chinese."""
    offsets: tuple[tuple[int, int], ...] = ()
    """First character of each word and the one after its last; computed from the joined words when empty."""
    spans: tuple[Entity, ...] | None = None
    """All labelled runs of words, which may overlap, where the file was read for them. `label` has no overlapping."""

    def labelled_spans(self) -> tuple[Entity, ...] | None:
        """Return the labelled runs of words: `spans`, or without them the entities of the tags; None if unlabelled."""
        if self.spans is not None or self.label is None:
            return self.spans
        return tuple(entities(self.label))

    def places(self, spans: Sequence[Entity]) -> list[tuple[int, int, str]]:
        """Return (first character, end, label) in `whole_text` of each run of words."""
        offsets = word_offsets(self)
        return [(offsets[first][0], offsets[end - 1][1], label) for label, first, end in spans]


@dataclass(frozen=True)
class Answer:
    """A range of characters in a context."""

    text: str
    start: int
    """First character in the context; -1 if unknown, so that only scores can use the answer."""


@dataclass(frozen=True)
class Question:
    """A question about a context."""

    text: str
    context: str
    label: tuple[Answer, ...] | None = None
    """Right answers, any of which is correct; empty for a question that the context doesn't answer."""
    id: str = ""
    line: int = 0


@dataclass(frozen=True)
class Choice:
    """A text and several continuations, one of which is right."""

    text: str
    choices: tuple[str, ...]
    label: str | None = None
    """Number of the right choice, from 0."""
    line: int = 0
    lead: str = ""
    """Beginning that all choices continue, such as a question about the text; it is put in front of each choice."""
    id: str = field(default="", repr=False, compare=False)
    """Name of the item in its file; empty without such a column."""


@dataclass(frozen=True, eq=False)
class Table(Generic[Item]):
    """The content of a file."""

    path: Path
    items: list[Item]
    mapping: dict[str, str]
    """Source of each part of an item: a column's name, or its number in a file without header."""
    reading: Reading | None = None
    """How the file was read; None if its reader doesn't record it."""


def part(items: Sequence[Item], count: int, *, seed: int = 0) -> list[Item]:
    """Draw `count` items at random and return them in their order; with one seed, a larger part holds the smaller ones.

    Raises:
        SettingsError: the count is below 1.
    """
    if count < 1:
        raise SettingsError(f"a part of a table (--train-limit, --dev-limit) needs at least 1 item; got {count}")
    return [items[number] for number in sorted(permutation(seed, 0, len(items))[:count].tolist())]


def row(item: Text | Words) -> dict[str, Any]:
    """Return an item as a row of a JSON Lines table, whatever format it was read from."""
    if isinstance(item, Words):
        return {"tokens": item.words, "tags": item.label}
    pair = {} if item.pair is None else {"pair": item.pair}
    return {"text": item.text, **pair, "label": item.label}


def unlabelled(item: Any) -> Any:
    """Return an item of any class without its label."""
    if getattr(item, "label", None) is None and getattr(item, "spans", None) is None:
        return item
    return replace(item, label=None, spans=None) if isinstance(item, Words) else replace(item, label=None)


def sides(item: Any) -> tuple[str, str | None]:
    """Return the text of an item of any class, and its second text or None."""
    if isinstance(item, str):
        return item, None
    if isinstance(item, tuple):
        return str(item[0]), str(item[1])
    if isinstance(item, Question):
        return item.text, item.context
    if isinstance(item, Words):
        return whole_text(item), None
    if isinstance(item, Choice):
        return f"{item.text} {item.lead}".strip(), "  /  ".join(item.choices)
    return str(getattr(item, "text", item)), getattr(item, "pair", None)


def whole_text(item: Words) -> str:
    """Return the text that contains the words."""
    return item.text or "".join(f"{space}{word}" for space, word in _with_spaces(item.words))


def word_offsets(item: Words) -> Sequence[tuple[int, int]]:
    """Return the characters [start, end) of each word in `whole_text`.

    >>> word_offsets(Words(("Ann", "slept", ".")))
    [(0, 3), (4, 9), (10, 11)]
    """
    if item.offsets or not item.words:
        return item.offsets
    edges, offset = [], 0
    for space, word in _with_spaces(item.words):
        offset += len(space)
        edges.append((offset, offset + len(word)))
        offset += len(word)
    return edges


def _with_spaces(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each word after its separator: a space, but none between Chinese or Japanese words."""
    before = ""
    for index, word in enumerate(words):
        is_close = index == 0 or (_WIDE.match(before[-1:]) and _WIDE.match(word))
        yield "" if is_close else " ", word
        before = word


def texts(items: Sequence[Any]) -> tuple[list[str], list[str | None] | None]:
    """Split items (strings, pairs of strings or `Text`) into first and second texts; None if no item has a second.

    Raises:
        DataError: an item is of another type.
    """
    for number, item in enumerate(items, 1):
        if not isinstance(item, str | Text) and not (isinstance(item, tuple) and len(item) == 2):
            raise DataError(f"text {number} is {reprlib.repr(item)}; give a string, a tuple of two strings, or a Text")
    whole = [item if isinstance(item, Text) else Text(item) if isinstance(item, str) else Text(*item) for item in items]
    second = [item.pair for item in whole]
    return [item.text for item in whole], second if any(pair is not None for pair in second) else None
