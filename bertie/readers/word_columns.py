"""Find the columns of words and tags in a file with one word a line, from the contents of the columns.

A column that numbers the words, is empty, or is constant in every sentence is neither. If several columns may be the
tags, report the ambiguity with the flag that resolves it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bertie.readers.entities import OUTSIDE, is_positioned

Row = tuple[int, list[str]]
"""Line number and fields."""

WORD_NAMES: Final = ("words", "tokens", "word", "token", "form", "wordform", "surface")
TAG_NAMES: Final = ("tags", "ner_tags", "labels", "label", "tag", "ner", "ner_tag", "iob", "bio", "entity", "entities")
OTHER_TAG_NAMES: Final = ("pos_tags", "pos", "upos", "pos_tag", "xpos", "chunk_tags", "chunk", "chunk_tag")
"""Names of columns with other tags than entities, used if there are no entity tags."""
SENTENCE_NAMES: Final = (
    *("sentence #", "sentence_id", "sent_id", "sentence_idx", "sentence id", "sentenceid", "sentence_number"),
    *("sentence_no", "sent_no", "sentence no", "sentence", "sent", "sid", "sentence_num", "sentence number"),
)
DOCUMENT_NAMES: Final = ("document_id", "doc_id", "document", "doc", "document id", "docid", "file", "filename")

_CHUNKS = {"NP", "VP", "PP", "ADVP", "ADJP", "SBAR", "PRT", "CONJP", "INTJ", "LST", "UCP", "PNP", "NX", "VC"}
_BRACKETS = re.compile(r"(?:\([^()*\s]+)*\*\)*|\([^()*\s]+\)")
_KEY_VALUES = re.compile(r"[^=|\s]+=[^|]*(?:\|[^=|\s]+=?[^|]*)*")
_EMPTY = {"", "_", "-", "*"}
_MAX_TYPES = 60  # entity types without positions, in a column where O is most frequent
_ENOUGH_ROWS = 20  # with fewer rows, the number of different values doesn't distinguish words from tags
_SHOWN = 3  # values of a column that a message lists


@dataclass(frozen=True)
class ColumnChoice:
    """The columns of words and tags."""

    words: int = -1
    """Index of the column; -1 if ambiguous, with the reason in `doubt`."""
    tags: int = -1
    """Index of the column; -1 if there is none, or if ambiguous."""
    doubt: str = ""
    left_out: str = ""
    """Note on columns that might be the tags too."""
    key: str = ""
    """`misc.NAME` if the tags are a feature in CoNLL-U's last column."""


def kinds_of(sentences: Sequence[Sequence[Row]], width: int) -> list[str]:
    """Return the kind of contents of each column.

    Returns:
        One of: number (of the word), whole numbers, empty, constant, grouped (constant in each sentence), features,
        entities, chunks, types (of entities, without positions), outside (all O), values.
    """
    return [_kind([[fields[column] for _, fields in rows] for rows in sentences]) for column in range(width)]


def _kind(sentences: Sequence[Sequence[str]]) -> str:
    counts = Counter(value for values in sentences for value in values)
    num_words = counts.total()
    if set(counts) <= _EMPTY:
        return "empty"
    if all(value.isdecimal() and value.isascii() for value in counts):
        return "number" if _counts_words(sentences) else "whole numbers"
    if set(counts) == {OUTSIDE}:
        return "outside"
    if kind := _tags_kind(counts):
        return kind
    if len(counts) == 1 and num_words > 1:
        return "constant"
    filled = [value for value in counts if value not in _EMPTY]
    if filled and all(_KEY_VALUES.fullmatch(value) for value in filled):
        return "features"
    common, count = counts.most_common(1)[0]
    if common == OUTSIDE and 2 * count >= num_words and len(counts) <= _MAX_TYPES:
        return "types"
    long = [values for values in sentences if len(values) > 1]
    if len(long) > 1 and all(len(set(values)) == 1 for values in long):
        return "grouped"
    return "values"


def _tags_kind(counts: Counter[str]) -> str:
    inside = counts.keys() - {OUTSIDE}
    if all(is_positioned(tag) for tag in inside):
        return "chunks" if {tag[2:] for tag in inside} <= _CHUNKS else "entities"
    bare = OUTSIDE in counts and "B" in inside and inside <= set("BIMESLU")
    return "entities" if bare or is_bracketed(counts) else ""


def is_bracketed(values: Iterator[str] | Counter[str]) -> bool:
    """Check whether values are entities in brackets, as in OntoNotes: (PERSON*, *, *), (GPE)."""
    distinct = set(values)
    return any("(" in value for value in distinct) and all(_BRACKETS.fullmatch(value) for value in distinct)


def _counts_words(sentences: Sequence[Sequence[str]]) -> bool:
    """Check whether whole numbers rise by one from 0 or 1, in every sentence or through the file."""
    rows = [[int(value) for value in values] for values in sentences if values]
    steady = all(values == list(range(values[0], values[0] + len(values))) for values in rows)
    if not steady or all(len(values) == 1 for values in rows):
        return False
    flat = [value for values in rows for value in values]
    return all(values[0] in (0, 1) for values in rows) or flat == list(range(flat[0], flat[0] + len(flat)))


def choose(
    sentences: Sequence[Sequence[Row]], names: Sequence[str], fixed: Mapping[str, int], *, nested_last: bool = False
) -> ColumnChoice:
    """Find the columns of words and tags.

    Args:
        sentences: rows of each sentence, all of one width.
        names: names of the columns.
        fixed: columns of words or tags that the user set.
        nested_last: whether the last of two entity columns holds nested entities, as in GermEval.
    """
    width = len(names)
    if width == 1:
        return ColumnChoice(words=0)
    if {"words", "tags"} <= set(fixed):
        return ColumnChoice(fixed["words"], fixed["tags"])
    kinds = kinds_of(sentences, width)
    named = _by_name(names, fixed)
    if isinstance(named, str):
        return ColumnChoice(doubt=named)
    known = {**named, **fixed}
    if "words" in known and "tags" in known:
        return ColumnChoice(known["words"], known["tags"])
    tags, doubt, left_out = known.get("tags", -1), "", ""
    if tags < 0:
        tags, doubt, left_out = _tags_by_kind(sentences, names, kinds, known.get("words", -1), nested_last=nested_last)
    words = known.get("words", -1)
    if words < 0:
        words, unclear = _words(sentences, names, kinds, tags)
        if unclear:
            return ColumnChoice(doubt=unclear)
    if tags < 0 and not doubt:
        tags, doubt = _labels(sentences, names, kinds, words)
    return ColumnChoice(words, tags, doubt, left_out)


def _by_name(names: Sequence[str], fixed: Mapping[str, int]) -> dict[str, int] | str:
    """Find roles by the names in a header; return a message if two names fit one role."""
    lower = [name.strip().lower() for name in names]
    roles = {}
    for role, groups in (("words", (WORD_NAMES,)), ("tags", (TAG_NAMES, OTHER_TAG_NAMES))):
        if role in fixed:
            continue
        for group in groups:
            columns = [column for column, name in enumerate(lower) if name in group and column not in fixed.values()]
            if len(columns) > 1:
                listed = ", ".join(repr(names[column]) for column in columns)
                return f"the columns {listed} may all be the {role}"
            if columns:
                roles[role] = columns[0]
                break
    return roles


def _tags_by_kind(
    sentences: Sequence[Sequence[Row]], names: Sequence[str], kinds: Sequence[str], words: int, *, nested_last: bool
) -> tuple[int, str, str]:
    """Find the column of entities: return its index or -1, the ambiguity, and a note on other columns."""
    for kind in ("entities", "types", "chunks", "outside"):
        columns = [column for column, one in enumerate(kinds) if one == kind and column != words]
        if kind == "entities" and nested_last and len(columns) == 2:
            return columns[0], "", f"nested entities, in column {names[columns[1]]!r}, are left out"
        if len(columns) > 1:
            return -1, _listed(sentences, names, columns, "may all be the tags"), ""
        if columns:
            return columns[0], "", ""
    return -1, "", ""


def _words(
    sentences: Sequence[Sequence[Row]], names: Sequence[str], kinds: Sequence[str], tags: int
) -> tuple[int, str]:
    """Find the words among the columns that are not the tags: the first, unless another has far more values."""
    columns = [column for column, kind in enumerate(kinds) if kind == "values" and column != tags]
    if not columns or (len(names) == 2 and tags < 0):
        columns = [
            column for column in range(len(names)) if column != tags and kinds[column] not in ("number", "empty")
        ]
        if not columns or (len(columns) > 1 and len(names) > 2):
            return -1, _listed(sentences, names, range(len(names)), "don't show which one holds the words")
    if len(columns) == 1:
        return columns[0], ""
    distinct = [_distinct(sentences, column) for column in columns]
    if max(distinct) == distinct[0]:
        return columns[0], ""
    sure = sum(map(len, sentences)) >= _ENOUGH_ROWS and distinct.count(max(distinct)) == 1
    if sure and max(distinct) >= 2 * distinct[0]:
        return columns[distinct.index(max(distinct))], ""
    return -1, _listed(sentences, names, columns, "may all be the words")


def _labels(
    sentences: Sequence[Sequence[Row]], names: Sequence[str], kinds: Sequence[str], words: int
) -> tuple[int, str]:
    """Find labels of words, such as parts of speech, if no column holds entities."""
    if len(names) == 2:
        other = 1 - words
        return (-1 if kinds[other] in ("number", "empty") else other), ""
    others = [column for column, kind in enumerate(kinds) if kind == "values" and column != words]
    if len(others) > 1:
        closed = [column for column in others if 2 * _distinct(sentences, column) <= _distinct(sentences, words)]
        others = closed if len(closed) == 1 else others
    if len(others) == 1:
        return others[0], ""
    if others:
        return -1, _listed(sentences, names, others, "may all be the tags")
    return -1, _listed(sentences, names, range(len(names)), "don't show which one holds the tags")


def _distinct(sentences: Sequence[Sequence[Row]], column: int) -> int:
    return len({fields[column] for rows in sentences for _, fields in rows})


def _listed(sentences: Sequence[Sequence[Row]], names: Sequence[str], columns: Sequence[int], what: str) -> str:
    """Describe columns by some of their values."""
    described = []
    for column in columns:
        values = list(dict.fromkeys(fields[column] for rows in sentences for _, fields in rows if fields[column]))
        shown = sorted(values, key=lambda value: (value in {*_EMPTY, OUTSIDE}, values.index(value)))[:_SHOWN]
        described.append(f"{names[column]} ({' '.join(shown)}{' ...' if len(values) > len(shown) else ''})")
    return f"the columns {', '.join(described)} {what}"
