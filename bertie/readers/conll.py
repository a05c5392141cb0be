"""Read files with one word a line: CoNLL in its many forms, and tables with one row for each word.

This supports any separator, comments, a header, CoNLL-U (with its ranges and empty nodes) and CoNLL-U Plus, GermEval,
CoNLL-2012 with entities in brackets, and tables with a column that gives the sentence of each word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bertie.errors import DataError, SettingsError
from bertie.items.words import Words
from bertie.readers.conll_forms import conll_2012_roles, conll_u_roles, read_brackets, read_misc
from bertie.readers.conll_lines import Grid, cut_lines, is_filled, splitter
from bertie.readers.entities import OUTSIDE, Tags, is_positioned
from bertie.readers.sentence_ends import break_at, end_column
from bertie.readers.word_columns import ColumnChoice, choose, is_bracketed, kinds_of
from bertie.registry import did_you_mean

ROLES = ("words", "tags", "sentence")
_GERMEVAL = re.compile(r"#\t\S+(?:\s+\[\d.*\])?")


@dataclass
class Lines:
    """The content of a file with one word a line, with its original tags."""

    items: list[Words]
    mapping: dict[str, str]
    remarks: list[str] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)
    """Line of each word in each item; empty if words don't have a line each."""
    form: str = "conll"
    header: bool | None = None


def is_tagged(lines: Sequence[str]) -> bool:
    """Check for columns instead of running text: equally many fields in all lines, and tags or few values last."""
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
        file: file name, for messages and for its suffix.
        lines: lines without their ends.
        columns: words, tags or sentence to a column's name or number from 0; empty: detect them.
        options: the `delimiter`, and whether the first line is a `header`, if the user set them.
        labelled: whether tags are needed, so that ambiguous tags are an error.

    Raises:
        SettingsError: the file doesn't have a named column.
        DataError: lines have different numbers of fields, or several columns may be the words or the tags.
    """
    return read_grid(cut_lines(file, lines, options), columns, labelled=labelled)


def read_grid(grid: Grid, columns: Mapping[str, str], *, labelled: bool) -> Lines:
    """Read the words and tags of rows that are cut into fields; see `read_lines`."""
    if not grid.sentences:
        return Lines([], {})
    fixed = {role: _column(grid, role, name) for role, name in columns.items()}
    _join_by_column(grid, fixed)
    choice = _roles(grid, fixed, labelled=labelled)
    if columns.get("tags", "").startswith("misc."):
        choice = replace(choice, key=columns["tags"])
    tags = _tags(grid, choice)
    items = [
        Words(tuple(fields[choice.words] for _, fields in rows), label, rows[0][0])
        for rows, label in zip(grid.sentences, tags, strict=True)
    ]
    mapping = {"words": grid.names[choice.words]}
    if choice.tags >= 0:
        mapping["tags"] = choice.key or grid.names[choice.tags]
    if "sentence" in fixed:
        mapping["sentence"] = grid.names[fixed["sentence"]]
    lines = [[line for line, _ in rows] for rows in grid.sentences]
    form = grid.form.lower().replace(" plus", "-plus") or "conll"
    return Lines(items, mapping, _remarks(grid, choice), lines, form, grid.header)


def _column(grid: Grid, role: str, name: str) -> int:
    """Return the index of a column, given its name or number."""
    names = grid.names
    if name.partition(".")[0] == "misc" and role == "tags" and "misc" in names:
        return names.index("misc")
    if name in names:
        return names.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    numbered = names[0] == "0"
    known = f"columns 0 to {len(names) - 1}" if numbered else f"the columns {', '.join(names)}"
    like = f"; name those of words and tags, such as words=0,tags={len(names) - 1}" if numbered else ""
    hint = "" if numbered else f"; {did_you_mean(name, names)}"
    raise SettingsError(f"--columns {role}={name}: {grid.file} has {known}{like}{hint}")


def _join_by_column(grid: Grid, fixed: dict[str, int]) -> None:
    """Cut a table without blank lines into sentences, by the column that gives the sentence of each word."""
    if "sentence" not in fixed and len(grid.names) > 2:
        column = end_column(grid.sentences, grid.names)
        if column >= 0 and column not in fixed.values():
            fixed["sentence"] = column
    if "sentence" in fixed:
        grid.sentences = break_at(grid.file, grid.sentences, fixed["sentence"], grid.names)
    elif len(grid.sentences) == 1:
        grid.remarks.append("one sentence, because no blank line or column separates sentences")


def _roles(grid: Grid, fixed: Mapping[str, int], *, labelled: bool) -> ColumnChoice:
    """Find the columns of words and tags.

    Raises:
        DataError: several columns may be the words or the tags.
    """
    if grid.form in ("CoNLL-U", "CoNLL-2012"):
        choice = (conll_u_roles if grid.form == "CoNLL-U" else conll_2012_roles)(grid.sentences)
        if "tags" in fixed:
            choice = ColumnChoice(choice.words, fixed["tags"])
        elif choice.doubt and labelled:
            raise DataError(f"{grid.file}: {choice.doubt}")
        return replace(choice, words=fixed.get("words", choice.words))
    names, columns = list(grid.names), [column for column in range(len(grid.names)) if column != fixed.get("sentence")]
    narrowed = grid.sentences
    if len(columns) < len(names):
        narrowed = [
            [(line, [fields[column] for column in columns]) for line, fields in rows] for rows in grid.sentences
        ]
    narrowed_roles = {role: columns.index(column) for role, column in fixed.items() if role != "sentence"}
    nested_last = any(_GERMEVAL.match(line) for line in grid.comments) and len(names) == 4
    choice = choose(narrowed, [names[column] for column in columns], narrowed_roles, nested_last=nested_last)
    if choice.doubt and (choice.words < 0 or labelled):
        raise _ambiguous(grid, choice.doubt)
    return ColumnChoice(
        columns[choice.words], columns[choice.tags] if choice.tags >= 0 else -1, choice.doubt, choice.left_out
    )


def _ambiguous(grid: Grid, doubt: str) -> DataError:
    return DataError(
        f"{grid.file}: {doubt}; choose by name or number from 0: --columns words={grid.names[0]},tags={grid.names[-1]}"
    )


def _tags(grid: Grid, choice: ColumnChoice) -> list[Tags | None]:
    """Return the tags of each sentence: the original ones, or IOB2 for tags in brackets and in MISC."""
    if choice.tags < 0:
        return [None] * len(grid.sentences)
    rows = [tuple(fields[choice.tags] for _, fields in rows) for rows in grid.sentences]
    distinct = {tag for tags in rows for tag in tags}
    several = {tag for tag in distinct if " " in tag and all(map(_is_tag, tag.split()))}
    for sentence, tags in zip(grid.sentences, rows, strict=True):
        for (line, _), tag in zip(sentence, tags, strict=True) if several else ():
            if tag in several:
                raise DataError(
                    f"{grid.file}:{line}: {tag!r} holds several tags; if a row is a sentence, name the columns in a "
                    "first line, such as words,tags"
                )
    if choice.key:
        return list(read_misc(rows, choice.key.partition(".")[2]))
    if is_bracketed(Counter(tag for tags in rows for tag in tags)):
        lines = [sentence[0][0] for sentence in grid.sentences]
        read, num_nested = read_brackets(grid.file, lines, rows)
        grid.remarks.append("tags are entities in brackets")
        grid.remarks += [f"{num_nested:,} nested entities left out"] if num_nested else []
        return list(read)
    return list(rows)


def _is_tag(part: str) -> bool:
    return part == OUTSIDE or is_positioned(part)


def _remarks(grid: Grid, choice: ColumnChoice) -> list[str]:
    counted = {"documents": grid.num_documents, "comments left out": len(grid.comments)}
    remarks = [grid.form] if grid.form else []
    remarks += [f"{count:,} {what}" for what, count in counted.items() if count]
    remarks += grid.remarks
    if choice.doubt:
        remarks.append(f"no tags are read: {choice.doubt}")
    return remarks + ([choice.left_out] if choice.left_out else [])
