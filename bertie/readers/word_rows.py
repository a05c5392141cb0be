"""Read sentences with one row each: words and tags in lists or separated by spaces, or a text with character spans.

Column names show the roles. If a name is ambiguous (`labels` may be tags or spans), the content of the column decides.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertie.errors import DataError, SettingsError
from bertie.items.words import Words
from bertie.readers.cells import is_listed, read_cell
from bertie.readers.entities import OUTSIDE, is_positioned
from bertie.readers.roles import no_column
from bertie.readers.word_columns import OTHER_TAG_NAMES, SENTENCE_NAMES, TAG_NAMES

Values = dict[str, Any]
NAMES: Final = {
    "words": ("tokens", "words", "token", "word"),
    "tags": (*TAG_NAMES, *OTHER_TAG_NAMES),
    "text": ("text", "sentence", "content"),
    "spans": ("spans", "entities", "ents", "label", "labels", "annotations"),
    "sentence": SENTENCE_NAMES,
}
_BLANKS = re.compile("[ \t\r\n]+")  # str.split would also split at the wide space of Chinese texts
_SAMPLE = 200  # rows that show the contents of a column


@dataclass(frozen=True)
class _Contents:
    """The contents of a column in its first rows."""

    lists: bool
    """Whether they are lists of words or tags, also if written as text in a cell."""
    spans: bool
    spaced: bool
    """Whether they are words or tags separated by spaces."""
    single: bool
    """Whether each is a single word."""
    tags: bool
    """Whether all are O or entity tags."""


def look_at(values: Iterable[Any]) -> _Contents:
    """Determine the contents of a column; empty values don't count."""
    filled = [value for value in values if value not in (None, "", [], {}) and value == value]
    parts = [_parsed(value) for value in filled]
    lists = [part for part in parts if isinstance(part, list)]
    strings = [part for part in parts if isinstance(part, str)]
    spans = [part for part in parts if isinstance(part, dict) or (isinstance(part, list) and part and _are_spans(part))]
    flat = [str(tag) for part in lists for tag in part] + [tag for text in strings for tag in text.split()]
    return _Contents(
        lists=bool(filled) and len(lists) == len(filled) and not spans,
        spans=bool(filled) and len(spans) + sum(part == [] for part in parts) == len(filled),
        spaced=bool(filled) and len(strings) == len(filled) and any(len(text.split()) > 1 for text in strings),
        single=bool(filled) and not lists and not spans and all(len(str(part).split()) == 1 for part in parts),
        tags=bool(flat) and all(tag == OUTSIDE or is_positioned(tag) for tag in flat),
    )


def _are_spans(parts: list[Any]) -> bool:
    return all(isinstance(part, list | tuple | dict) for part in parts)


def _parsed(value: Any) -> Any:
    """Return the list in a cell, or the value itself if it is not a readable list."""
    if isinstance(value, tuple):
        return list(value)
    if not isinstance(value, str) or not is_listed(value):
        return value
    try:
        return read_cell(value)
    except ValueError:
        return value


def find_roles(file: Path, names: Sequence[str], columns: Mapping[str, str], rows: Sequence[Values]) -> dict[str, str]:
    """Find the columns of words and tags, or of texts and spans.

    Args:
        file: file name for messages.
        names: names of the columns.
        columns: columns set by the user.
        rows: first rows of the file.

    Raises:
        SettingsError: a column doesn't exist, or the roles don't go together.
        DataError: the columns are ambiguous, or none is recognised.
    """
    for name in columns.values():
        if name not in names and names:
            raise no_column(file, name, names)
    if columns and names:
        conflict = {"tags", "sentence"} & set(columns) and {"spans", "text"} & set(columns)
        if ("words" in columns) == ("text" in columns) or conflict:
            raise SettingsError(
                "--columns must name words=NAME,tags=NAME, words=NAME,spans=NAME or text=NAME,spans=NAME"
            )
        return dict(columns)
    if not names:
        return {}
    contents = {name: look_at(row.get(name) for row in rows[:_SAMPLE]) for name in names}
    lower = {name.lower(): name for name in reversed(names)}

    def known(role: str) -> list[str]:
        return [lower[name] for name in NAMES[role] if name in lower]

    texts = known("text")
    spans = [name for name in known("spans") if contents[name].spans and name not in texts]
    if texts and spans and not (known("words") and _tags(file, known("tags"), contents, [])):
        return {"text": texts[0], "spans": _only(file, spans, "spans")}
    words = [name for name in known("words") if not contents[name].spans]
    if words:
        tags = _tags(file, known("tags"), contents, words)
        if spans and not tags and contents[words[0]].lists:
            return {"words": words[0], "spans": _only(file, spans, "spans")}
        roles = {"words": words[0], **({"tags": tags} if tags else {})}
        sentence = [name for name in known("sentence") if name not in roles.values() and contents[name].single]
        return {**roles, "sentence": sentence[0]} if contents[words[0]].single and sentence else roles
    if texts:
        tags = _tags(file, known("tags"), contents, texts)
        if tags and (contents[tags].lists or (contents[tags].spaced and contents[tags].tags)):
            return {"words": texts[0], "tags": tags}
        empty = [name for name in known("spans") if name not in texts and not contents[name].single]
        return {"text": texts[0], **({"spans": empty[0]} if empty else {})}
    if known("words"):
        name = known("words")[0]
        value = next((row[name] for row in rows if row.get(name)), None)
        raise DataError(
            f"{file}: {name!r} holds {value!r:.60}; expected a list of words with a list of tags, or a text with spans"
        )
    raise DataError(
        f"{file}: no column has a typical name for words or texts ({', '.join(names)}); set --columns "
        "words=NAME,tags=NAME, words=NAME,spans=NAME or text=NAME,spans=NAME"
    )


def _tags(file: Path, names: Sequence[str], contents: Mapping[str, _Contents], taken: Sequence[str]) -> str:
    """Choose the tag column among those with typical names, entity tags before parts of speech; "" without any."""
    for group in (TAG_NAMES, OTHER_TAG_NAMES):
        candidates = [
            name for name in names if name.lower() in group and name not in taken and not contents[name].spans
        ]
        if len(candidates) > 1:
            named = [name for name in candidates if contents[name].tags]
            candidates = named or candidates
        if candidates:
            return _only(file, candidates, "tags")
    return ""


def _only(file: Path, names: Sequence[str], role: str) -> str:
    if len(names) > 1:
        first = "words" if role == "tags" else "text"
        raise DataError(
            f"{file}: the columns {', '.join(map(repr, names))} may all be the {role}; choose one: --columns "
            f"{first}=NAME,{role}={names[0]}"
        )
    return names[0]


class ListReader:
    """A reader of rows with lists of words and tags.

    Args:
        file: file name for messages.
        spaced: roles whose column holds words separated by spaces; a row of another form is then an error.
    """

    def __init__(self, file: Path, spaced: Collection[str]) -> None:
        self._file = file
        self._spaced = spaced

    def read(self, line: int, values: Mapping[str, Any]) -> Words:
        """Make an item of a row.

        Raises:
            DataError: words and tags differ in number, or are not lists of strings.
        """
        where = f"{self._file}:{line}"
        words = self._listed(values["words"], where, "words")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise DataError(f"{where}: words must be a list of strings; got {values['words']!r:.60}")
        tags = values.get("tags")
        if tags is None or tags != tags:
            return Words(tuple(words), None, line)
        tags = self._listed(tags, where, "tags")
        if not isinstance(tags, list) or not all(isinstance(tag, str | int) for tag in tags):
            raise DataError(f"{where}: tags must be a list of strings, one for each word; got {tags!r:.60}")
        if len(tags) != len(words):
            raise DataError(f"{where}: {len(tags)} tags for {len(words)} words; give each word one tag")
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
