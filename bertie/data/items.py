"""What tasks learn from and answer about: texts, words, questions, choices; one frozen dataclass a kind.

Every kind has `label`, what its source says is right (None: nothing is said), and `line`, where it stands there. Files
become items in `table`, `words`, `questions` and `choices`; nothing here reads or encodes.
"""

import re
import reprlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from bertie.data.random import permutation
from bertie.data.reading import Reading
from bertie.errors import DataError, SettingsError

Item = TypeVar("Item")

_WIDE = re.compile("[\u2e80-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff9f\uffe0-\uffef\U00020000-\U0003ffff]")
"""Characters of scripts without spaces: Han, kana, and their marks."""


@dataclass(frozen=True)
class Text:
    """A text, or a pair of texts."""

    text: str
    pair: str | None = None
    label: str | tuple[str, ...] | None = None
    """One label; a tuple for an item that may have any number of them."""
    line: int = 0
    """Where it stands in its file, from 1; 0 when it comes from elsewhere."""
    negatives: tuple[str, ...] = ()
    """Texts that the second one must be told from, for embeddings."""
    id: str = field(default="", repr=False, compare=False)
    """What its file calls it; empty without such a column. It is nothing to learn from."""


@dataclass(frozen=True)
class Words:
    """A text cut into words, each of which gets a tag."""

    words: tuple[str, ...]
    label: tuple[str, ...] | None = None
    """One tag a word, IOB2 (B-PER I-PER O)."""
    line: int = 0
    text: str = ""
    """The whole text that `offsets` count in; the words joined when empty, by spaces but not within Chinese."""
    offsets: tuple[tuple[int, int], ...] = ()
    """First character of each word and the one after its last; worked out from joined words when empty."""


@dataclass(frozen=True)
class Answer:
    """A run of characters of a context."""

    text: str
    start: int
    """First character in the context; -1 where it isn't known, so that only scores can use the answer."""


@dataclass(frozen=True)
class Question:
    """A question about a context."""

    text: str
    context: str
    label: tuple[Answer, ...] | None = None
    """Right answers, any of which will do; an empty tuple for a question that the context doesn't answer."""
    id: str = ""
    line: int = 0


@dataclass(frozen=True)
class Choice:
    """A text and several ways to go on, one of which is right."""

    text: str
    choices: tuple[str, ...]
    label: str | None = None
    """Number of the right one, from 0."""
    line: int = 0
    lead: str = ""
    """What every choice goes on from, such as a question about the text; it is put in front of each."""
    id: str = field(default="", repr=False, compare=False)
    """What its file calls it; empty without such a column."""


@dataclass(frozen=True, eq=False)
class Table(Generic[Item]):
    """What a file held."""

    path: Path
    items: list[Item]
    mapping: dict[str, str]
    """What each part of an item was read from: a column's name, or its number in a file without header."""
    reading: Reading | None = None
    """How the file was read; None where its reader doesn't say."""


def part(items: Sequence[Item], count: int, *, seed: int = 0) -> list[Item]:
    """Draw so many items from all over a table, in their order; a larger part of one seed holds the smaller ones.

    Raises:
        SettingsError: fewer than one.
    """
    if count < 1:
        raise SettingsError(f"a part of a table (--train-limit, --dev-limit) has at least 1 item; got {count}")
    return [items[number] for number in sorted(permutation(seed, 0, len(items))[:count].tolist())]


def row(item: Text | Words) -> dict[str, Any]:
    """Return an item as the row that a table of JSON lines has for it, whatever it was read from."""
    if isinstance(item, Words):
        return {"tokens": item.words, "tags": item.label}
    pair = {} if item.pair is None else {"pair": item.pair}
    return {"text": item.text, **pair, "label": item.label}


def sides(item: Any) -> tuple[str, str | None]:
    """Return an item's text and, where it has two, the second one; whatever kind of item it is."""
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
    """Return the text that the words stand in."""
    return item.text or "".join(f"{space}{word}" for space, word in _with_spaces(item.words))


def word_offsets(item: Words) -> Sequence[tuple[int, int]]:
    """Return the characters of each word in `whole_text`."""
    if item.offsets or not item.words:
        return item.offsets
    edges, place = [], 0
    for space, word in _with_spaces(item.words):
        place += len(space)
        edges.append((place, place + len(word)))
        place += len(word)
    return edges


def _with_spaces(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each word with what parts it from the one before: a space, but not between Chinese or Japanese ones."""
    before = ""
    for place, word in enumerate(words):
        is_close = place == 0 or (_WIDE.match(before[-1:]) and _WIDE.match(word))
        yield "" if is_close else " ", word
        before = word


def texts(items: Sequence[Any]) -> tuple[list[str], list[str | None] | None]:
    """Split items (strings, pairs of strings or `Text`) into first and second texts; None where there is no second.

    Raises:
        DataError: something else.
    """
    for number, item in enumerate(items, 1):
        if not isinstance(item, str | Text) and not (isinstance(item, tuple) and len(item) == 2):
            raise DataError(f"text {number} is {reprlib.repr(item)}; give a string, a tuple of two strings, or a Text")
    whole = [item if isinstance(item, Text) else Text(item) if isinstance(item, str) else Text(*item) for item in items]
    second = [item.pair for item in whole]
    return [item.text for item in whole], second if any(pair is not None for pair in second) else None
