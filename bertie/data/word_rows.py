"""Sentences with a row each: words and tags in lists or separated by spaces, or a text with spans of characters.

Columns are found by their names, and where a name may mean two things (`labels`: tags, or spans), by what is in them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertie.data.cells import is_listed, read_cell
from bertie.data.entities import OUTSIDE, is_positioned
from bertie.data.items import Words
from bertie.data.roles import no_column
from bertie.data.word_columns import OTHER_TAG_NAMES, SENTENCE_NAMES, TAG_NAMES
from bertie.errors import DataError, SettingsError

Values = dict[str, Any]
NAMES: Final = {
    "words": ("tokens", "words", "token", "word"),
    "tags": (*TAG_NAMES, *OTHER_TAG_NAMES),
    "text": ("text", "sentence", "content"),
    "spans": ("spans", "entities", "ents", "label", "labels", "annotations"),
    "sentence": SENTENCE_NAMES,
}
_BLANKS = re.compile("[ \t\r\n]+")  # str.split would also split at the wide space of Chinese texts
_SAMPLE = 200  # rows that show what a column holds


@dataclass(frozen=True)
class _Held:
    """What the first rows of a column hold."""

    lists: bool
    """Lists of words or tags, also written in a cell."""
    spans: bool
    spaced: bool
    """Words or tags separated by spaces."""
    single: bool
    """One word each."""
    tags: bool
    """Nothing but O and tags of entities."""


def look_at(values: Iterable[Any]) -> _Held:
    """Look at values of a column; empty ones say nothing."""
    filled = [value for value in values if value not in (None, "", [], {}) and value == value]
    parts = [_parsed(value) for value in filled]
    lists = [part for part in parts if isinstance(part, list)]
    strings = [part for part in parts if isinstance(part, str)]
    spans = [part for part in parts if isinstance(part, dict) or (isinstance(part, list) and part and _are_spans(part))]
    flat = [str(tag) for part in lists for tag in part] + [tag for text in strings for tag in text.split()]
    return _Held(
        lists=bool(filled) and len(lists) == len(filled) and not spans,
        spans=bool(filled) and len(spans) + sum(part == [] for part in parts) == len(filled),
        spaced=bool(filled) and len(strings) == len(filled) and any(len(text.split()) > 1 for text in strings),
        single=bool(filled) and not lists and not spans and all(len(str(part).split()) == 1 for part in parts),
        tags=bool(flat) and all(tag == OUTSIDE or is_positioned(tag) for tag in flat),
    )


def _are_spans(parts: list[Any]) -> bool:
    return all(isinstance(part, list | tuple | dict) for part in parts)


def _parsed(value: Any) -> Any:
    """Return the list that a cell holds; the value itself where it can't be read."""
    if isinstance(value, tuple):
        return list(value)
    if not isinstance(value, str) or not is_listed(value):
        return value
    try:
        return read_cell(value)
    except ValueError:
        return value


def find_roles(file: Path, names: Sequence[str], columns: Mapping[str, str], rows: Sequence[Values]) -> dict[str, str]:
    """Say which columns hold words and tags, or texts and spans.

    Args:
        file: for messages.
        names: of the columns.
        columns: what the user said.
        rows: some of the file, to look at.

    Raises:
        SettingsError: columns that there aren't, or that don't go together.
        DataError: several columns may be one thing, or none is known.
    """
    for name in columns.values():
        if name not in names and names:
            raise no_column(file, name, names)
    if columns and names:
        odd = {"words", "spans"} <= set(columns) or ("text" in columns and {"tags", "sentence"} & set(columns))
        if ("words" in columns) == ("text" in columns) or odd:
            raise SettingsError("--columns must say words=NAME,tags=NAME or text=NAME,spans=NAME")
        return dict(columns)
    if not names:
        return {}
    held = {name: look_at(row.get(name) for row in rows[:_SAMPLE]) for name in names}
    lower = {name.lower(): name for name in reversed(names)}

    def known(role: str) -> list[str]:
        return [lower[name] for name in NAMES[role] if name in lower]

    texts = known("text")
    spans = [name for name in known("spans") if held[name].spans and name not in texts]
    if texts and spans and not (known("words") and _tags(file, known("tags"), held, [])):
        return {"text": texts[0], "spans": _only(file, spans, "spans")}
    words = [name for name in known("words") if not held[name].spans]
    if words:
        tags = _tags(file, known("tags"), held, words)
        found = {"words": words[0], **({"tags": tags} if tags else {})}
        sentence = [name for name in known("sentence") if name not in found.values() and held[name].single]
        return {**found, "sentence": sentence[0]} if held[words[0]].single and sentence else found
    if texts:
        tags = _tags(file, known("tags"), held, texts)
        if tags and (held[tags].lists or (held[tags].spaced and held[tags].tags)):
            return {"words": texts[0], "tags": tags}
        empty = [name for name in known("spans") if name not in texts and not held[name].single]
        return {"text": texts[0], **({"spans": empty[0]} if empty else {})}
    if known("words"):
        name = known("words")[0]
        value = next((row[name] for row in rows if row.get(name)), None)
        raise DataError(
            f"{file}: {name!r} holds {value!r:.60}; words are a list of strings with a list of tags beside it, or a "
            "text has spans"
        )
    raise DataError(
        f"{file}: none of its columns holds words or texts by its name ({', '.join(names)}); say --columns "
        "words=NAME,tags=NAME or text=NAME,spans=NAME"
    )


def _tags(file: Path, names: Sequence[str], held: Mapping[str, _Held], taken: Sequence[str]) -> str:
    """Choose the tags among columns with such names: those of entities before parts of speech; empty without any."""
    for group in (TAG_NAMES, OTHER_TAG_NAMES):
        able = [name for name in names if name.lower() in group and name not in taken and not held[name].spans]
        if len(able) > 1:
            named = [name for name in able if held[name].tags]
            able = named or able
        if able:
            return _only(file, able, "tags")
    return ""


def _only(file: Path, names: Sequence[str], role: str) -> str:
    if len(names) > 1:
        first = "words" if role == "tags" else "text"
        raise DataError(
            f"{file}: the columns {', '.join(map(repr, names))} may all be the {role}; say which by --columns "
            f"{first}=NAME,{role}={names[0]}"
        )
    return names[0]


class ListReader:
    """Makes items of rows with lists of words and tags.

    Args:
        file: for messages.
        spaced: roles whose column holds texts that blanks part, so that a row of another form stops the reading.
    """

    def __init__(self, file: Path, spaced: Collection[str]) -> None:
        self._file = file
        self._spaced = spaced

    def read(self, line: int, values: Mapping[str, Any]) -> Words:
        """Make an item of a row.

        Raises:
            DataError: unequal numbers of words and tags, or other things than words and tags.
        """
        where = f"{self._file}:{line}"
        words = self._listed(values["words"], where, "words")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise DataError(f"{where}: words are a list of strings; this is {values['words']!r:.60}")
        tags = values.get("tags")
        if tags is None or tags != tags:
            return Words(tuple(words), None, line)
        tags = self._listed(tags, where, "tags")
        if not isinstance(tags, list) or not all(isinstance(tag, str | int) for tag in tags):
            raise DataError(f"{where}: tags are a list of strings, one for each word; this is {tags!r:.60}")
        if len(tags) != len(words):
            raise DataError(f"{where}: {len(tags)} tags for {len(words)} words; give each word one")
        return Words(tuple(words), tuple(str(tag) for tag in tags), line)

    def _listed(self, value: Any, where: str, role: str) -> Any:
        if isinstance(value, tuple):
            return list(value)
        if not isinstance(value, str):
            return value
        if role in self._spaced:
            return [part for part in _BLANKS.split(value) if part]
        if is_listed(value):
            try:
                return read_cell(value)
            except ValueError as error:
                raise DataError(f"{where}: the {role} can't be read, {error}: {value!r:.60}") from error
        return value
