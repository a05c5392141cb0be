"""Files with one word a line: CoNLL in its many forms, and tables with a row for each word.

Known here: any separator, comments, a header, CoNLL-U (with its ranges and empty nodes) and CoNLL-U Plus, GermEval,
CoNLL-2012 with entities in brackets, and tables whose column says which sentence a word is of.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bertie.data.conll_forms import conll_2012_roles, conll_u_roles, read_brackets, read_misc
from bertie.data.conll_lines import Grid, cut_lines, is_filled, splitter
from bertie.data.entities import OUTSIDE, Tags, is_positioned
from bertie.data.items import Words
from bertie.data.sentence_ends import break_at, end_column
from bertie.data.word_columns import Choice, choose, is_bracketed, kinds_of
from bertie.errors import DataError, SettingsError
from bertie.registry import did_you_mean

ROLES = ("words", "tags", "sentence")
_GERMEVAL = re.compile(r"#\t\S+(?:\s+\[\d.*\])?")


@dataclass
class Lines:
    """What a file of words held, its tags as they stand there."""

    items: list[Words]
    mapping: dict[str, str]
    remarks: list[str] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)
    """Of each item, the line of each word, where every word has one."""
    form: str = "conll"
    header: bool | None = None


def is_tagged(lines: Sequence[str]) -> bool:
    """Tell columns from running text: as many fields in every line, the last of them a tag or one of a few values."""
    filled = [line for line in lines if is_filled(line)]
    split, _ = splitter(Path("a"), filled)
    rows = [split(line) for line in filled]
    if not rows or len({len(fields) for fields in rows}) > 1 or len(rows[0]) < 2:
        return False
    last = {fields[-1] for fields in rows}
    whole = [[(0, fields) for fields in rows]]
    kinds = kinds_of(whole, len(rows[0]))
    if {"entities", "chunks"} & set(kinds) or kinds[-1] == "outside":
        return True
    return len(filled) < len(lines) and 4 * len(last) <= len(rows)


def read_lines(
    file: Path, lines: Sequence[str], columns: Mapping[str, str], options: Mapping[str, Any], *, labelled: bool
) -> Lines:
    """Read the words and tags of a file with one word a line.

    Args:
        file: for messages, and for what its suffix says.
        lines: without their ends.
        columns: words, tags or sentence to a column's name or number from 0; found when empty.
        options: what the user says of the `delimiter`, and whether the first line is a `header`.
        labelled: whether tags are needed, so that a doubt about them is an error.

    Raises:
        SettingsError: a column that the file doesn't have.
        DataError: lines of unequal numbers of fields, or columns of which several may be the words or the tags.
    """
    return read_grid(cut_lines(file, lines, options), columns, labelled=labelled)


def read_grid(grid: Grid, columns: Mapping[str, str], *, labelled: bool) -> Lines:
    """Read the words and tags of rows that are cut already; see `read_lines`."""
    if not grid.sentences:
        return Lines([], {})
    given = {role: _place(grid, role, name) for role, name in columns.items()}
    _join_by_column(grid, given)
    found = _roles(grid, given, labelled=labelled)
    if columns.get("tags", "").startswith("misc."):
        found = replace(found, key=columns["tags"])
    tags = _tags(grid, found)
    items = [
        Words(tuple(fields[found.words] for _, fields in rows), label, rows[0][0])
        for rows, label in zip(grid.sentences, tags, strict=True)
    ]
    mapping = {"words": grid.names[found.words]}
    if found.tags >= 0:
        mapping["tags"] = found.key or grid.names[found.tags]
    if "sentence" in given:
        mapping["sentence"] = grid.names[given["sentence"]]
    places = [[line for line, _ in rows] for rows in grid.sentences]
    form = grid.form.lower().replace(" plus", "-plus") or "conll"
    return Lines(items, mapping, _remarks(grid, found), places, form, grid.header)


def _place(grid: Grid, role: str, name: str) -> int:
    """Look a column up by name or number."""
    names = grid.names
    if name.partition(".")[0] == "misc" and role == "tags" and "misc" in names:
        return names.index("misc")
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    numbered = names[0] == "0"
    known = f"columns 0 to {len(names) - 1}" if numbered else f"the columns {', '.join(names)}"
    like = f", of words and tags, such as words=0,tags={len(names) - 1}" if numbered else ""
    hint = "" if numbered else f"; {did_you_mean(name, names)}"
    raise SettingsError(f"--columns {role}={name}: {grid.file} has {known}{like}{hint}")


def _join_by_column(grid: Grid, given: dict[str, int]) -> None:
    """Cut a table without blank lines into sentences by the column that says which a word is of."""
    if "sentence" not in given and len(grid.names) > 2:
        place = end_column(grid.sentences, grid.names)
        if place >= 0 and place not in given.values():
            given["sentence"] = place
    if "sentence" in given:
        grid.sentences = break_at(grid.file, grid.sentences, given["sentence"], grid.names)
    elif len(grid.sentences) == 1:
        grid.remarks.append("one sentence, as no blank line and no column separates them")


def _roles(grid: Grid, given: Mapping[str, int], *, labelled: bool) -> Choice:
    """Find the columns of words and tags.

    Raises:
        DataError: several may be one or the other.
    """
    if grid.form in ("CoNLL-U", "CoNLL-2012"):
        found = (conll_u_roles if grid.form == "CoNLL-U" else conll_2012_roles)(grid.sentences)
        if "tags" in given:
            found = Choice(found.words, given["tags"])
        elif found.doubt and labelled:
            raise DataError(f"{grid.file}: {found.doubt}")
        return replace(found, words=given.get("words", found.words))
    names, left = list(grid.names), [place for place in range(len(grid.names)) if place != given.get("sentence")]
    narrowed = grid.sentences
    if len(left) < len(names):
        narrowed = [[(line, [fields[place] for place in left]) for line, fields in rows] for rows in grid.sentences]
    back = {role: left.index(place) for role, place in given.items() if role != "sentence"}
    nested_last = any(_GERMEVAL.match(line) for line in grid.comments) and len(names) == 4
    found = choose(narrowed, [names[place] for place in left], back, nested_last=nested_last)
    if found.doubt and (found.words < 0 or labelled):
        raise _doubt(grid, found.doubt)
    return Choice(left[found.words], left[found.tags] if found.tags >= 0 else -1, found.doubt, found.left_out)


def _doubt(grid: Grid, doubt: str) -> DataError:
    return DataError(
        f"{grid.file}: {doubt}; say which by name or number from 0: --columns words={grid.names[0]},"
        f"tags={grid.names[-1]}"
    )


def _tags(grid: Grid, found: Choice) -> list[Tags | None]:
    """Return the tags of each sentence as they stand there, those in brackets or in MISC as IOB2."""
    if found.tags < 0:
        return [None] * len(grid.sentences)
    rows = [tuple(fields[found.tags] for _, fields in rows) for rows in grid.sentences]
    distinct = {tag for tags in rows for tag in tags}
    several = {tag for tag in distinct if " " in tag and all(map(_is_tag, tag.split()))}
    for sentence, tags in zip(grid.sentences, rows, strict=True):
        for (line, _), tag in zip(sentence, tags, strict=True) if several else ():
            if tag in several:
                raise DataError(
                    f"{grid.file}:{line}: {tag!r} holds several tags; name the columns in a first line, such as "
                    "words,tags, if a row is a sentence"
                )
    if found.key:
        return list(read_misc(rows, found.key.partition(".")[2]))
    if is_bracketed(Counter(tag for tags in rows for tag in tags)):
        lines = [sentence[0][0] for sentence in grid.sentences]
        read, num_nested = read_brackets(grid.file, lines, rows)
        grid.remarks.append("tags are entities in brackets")
        grid.remarks += [f"{num_nested:,} entities within others left out"] if num_nested else []
        return list(read)
    return list(rows)


def _is_tag(part: str) -> bool:
    return part == OUTSIDE or is_positioned(part)


def _remarks(grid: Grid, found: Choice) -> list[str]:
    counted = {"documents": grid.num_documents, "comments left out": len(grid.comments)}
    said = [grid.form] if grid.form else []
    said += [f"{count:,} {what}" for what, count in counted.items() if count]
    said += grid.remarks
    if found.doubt:
        said.append(f"no tags are read: {found.doubt}")
    return said + ([found.left_out] if found.left_out else [])
