"""Cut the lines of a file with one word a line into fields and sentences; separate comments, header and the like."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.files.compression import format_suffix
from bertie.readers.conll_forms import CONLL_2012, CONLL_U
from bertie.readers.entities import OUTSIDE, is_positioned
from bertie.readers.word_columns import OTHER_TAG_NAMES, TAG_NAMES, WORD_NAMES, Row, kinds_of

_BLANKS = re.compile("[ \t]+")
_SPECIAL = re.compile(r"\d+(?:-\d+|\.\d+)")  # CoNLL-U: 2-3 is a range of words, 4.1 a word that the text doesn't have
_ENOUGH_ROWS = 3  # with fewer rows, the values below don't show that the first line is a header
_MOST_NAMED = 8  # line numbers that a message lists at most


@dataclass
class Grid:
    """Sentences of lines cut into fields."""

    file: Path
    sentences: list[list[Row]]
    names: list[str]
    form: str = ""
    comments: list[str] = field(default_factory=list)
    num_documents: int = 0
    header: bool | None = None
    remarks: list[str] = field(default_factory=list)


def is_filled(line: str) -> bool:
    """Check that a line is neither blank nor the mark of a new document."""
    return bool(line.strip(" \t")) and not line.startswith("-DOCSTART-")


def splitter(file: Path, filled: Sequence[str], mark: str = "") -> tuple[Callable[[str], list[str]], str]:
    """Find the separator of fields: tabs, commas or semicolons if every line has them, otherwise spaces.

    Raises:
        DataError: all lines have commas and semicolons, and the numbers of fields don't show which one separates them.
    """
    if mark:
        return (lambda line: line.split("\t") if mark == "\t" else _quoted(line, mark)), mark
    sample = [line for line in filled if not line.startswith("#")] or list(filled)
    # If every line has tabs, only they separate fields: a word may contain a space, or be a wide space.
    if sample and all("\t" in line for line in sample):
        return (lambda line: line.split("\t")), "\t"
    narrow = sum(" " not in line.strip(" ") and "\t" not in line.strip("\t") for line in sample)
    if sample and (format_suffix(file) == ".csv" or 2 * narrow > len(sample)):
        candidates = [mark for mark in (",", ";") if all(mark in line for line in sample)]
        if len(candidates) > 1:
            even = [mark for mark in candidates if len({len(_quoted(line, mark)) for line in sample}) == 1]
            if len(even) != 1:
                raise DataError(f"{file}: its columns may be separated by ',' or by ';'; write it with tabs, as a .tsv")
            candidates = even
        if candidates:
            return (lambda line: _quoted(line, candidates[0])), candidates[0]
    return _at_blanks, " "


def _at_blanks(line: str) -> list[str]:
    bare = line.strip(" \t")  # str.split would also split at the wide space of Chinese texts
    return _BLANKS.split(bare) if "\t" in bare or "  " in bare else bare.split(" ")


def _quoted(line: str, mark: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=mark, strict=True), [])
    except csv.Error:
        return line.split(mark)  # the word is a quotation mark


def cut_lines(file: Path, lines: Sequence[str], options: Mapping[str, Any]) -> Grid:
    """Cut lines into fields and sentences; separate comments, header, ranges and empty nodes.

    Raises:
        DataError: lines have more or fewer fields than most.
    """
    filled = [line for line in lines if is_filled(line)]
    split, mark = splitter(file, filled, options.get("delimiter", ""))
    grid = Grid(file, [], [])
    cut = [split(line) if is_filled(line) else [] for line in lines]
    hashes = [line.startswith("#") for line in lines]
    plain = [len(fields) for fields, is_hash in zip(cut, hashes, strict=True) if fields and not is_hash]
    width = Counter(plain or map(len, filter(None, cut))).most_common(1)[0][0] if filled else 0
    if any(line.startswith("#begin document") for line in filled) and width >= len(CONLL_2012):
        grid.form, grid.names = "CoNLL-2012", list(CONLL_2012)
    rows: list[Row] = []
    misfits: list[tuple[int, int]] = []  # line, fields
    for number, (line, fields) in enumerate(zip([*lines, ""], [*cut, []], strict=True), 1):
        if not any(fields):
            grid.num_documents += line.startswith("-DOCSTART-")
            grid.sentences += [rows] if rows else []
            rows = []
        elif line.startswith("#") and (bool(grid.form) or (not rows and len(fields) != width)):
            grid.comments.append(line)
        elif len(fields) != width and not (grid.form and len(fields) > len(CONLL_2012)):
            misfits.append((number, len(fields)))
        else:
            rows.append((number, fields))
    _drop_comments(grid)
    if misfits:
        raise _uneven(file, misfits, width)
    if grid.form:
        kept = len(CONLL_2012)
        grid.sentences = [[(number, fields[:kept]) for number, fields in rows] for rows in grid.sentences]
        return grid
    grid.names = [str(number) for number in range(width)]
    _name_columns(grid, mark, options.get("header"))
    return grid


def _drop_comments(grid: Grid) -> None:
    """Treat `# id 7` as a comment if it has the usual number of fields, but its last field is no other word's tag."""
    hashes = [rows for rows in grid.sentences if rows[0][1][0] == "#" and len(rows[0][1]) > 1]
    if not hashes:
        return
    first = {id(rows) for rows in hashes}
    seen = {fields[-1] for rows in grid.sentences for _, fields in (rows[1:] if id(rows) in first else rows)}
    for rows in hashes:
        while len(rows) > 1 and rows[0][1][0] == "#" and rows[0][1][-1] not in seen:
            grid.comments.append(" ".join(rows.pop(0)[1]))


def _uneven(file: Path, misfits: Sequence[tuple[int, int]], width: int) -> DataError:
    (first, count), others = misfits[0], [str(number) for number, _ in misfits[1 : _MOST_NAMED + 1]]
    more = f" and {len(misfits) - 1:,} more such lines ({', '.join(others)}" if others else ""
    more += "" if not others else ", ...)" if len(misfits) > len(others) + 1 else ")"
    return DataError(
        f"{file}:{first}: {count} fields{more}, but most lines have {width}; write a word with its tag at the end of "
        "the line, and blank lines between sentences"
    )


def _name_columns(grid: Grid, mark: str, header: bool | None) -> None:
    """Find the names of the columns: those of CoNLL-U or CoNLL-U Plus, or the fields of the first line."""
    width = len(grid.names)
    names = next((line.partition("=")[2].split() for line in grid.comments if "global.columns" in line), [])
    if len(names) == width:
        grid.form, grid.names = "CoNLL-U Plus", [name.lower() for name in names]
    elif width == len(CONLL_U) and mark != " " and grid.sentences and _is_conll_u(grid):
        grid.form, grid.names = "CoNLL-U", list(CONLL_U)
    elif grid.sentences and header is not False and (reason := "as set by header=yes" if header else _header(grid)):
        line, fields = grid.sentences[0].pop(0)
        grid.header, grid.names = True, [name.strip() for name in fields]
        grid.remarks.append(f"line {line} names the columns ({reason})")
        again = next((number for rows in grid.sentences for number, other in rows if other == fields), None)
        if again is not None:
            raise DataError(
                f"{grid.file}:{again}: the header appears again (were files concatenated?); remove the line"
            )
        if len(set(grid.names)) < width:
            raise DataError(f"{grid.file}:{line}: two columns have the same name; rename them")
    grid.sentences = [rows for rows in grid.sentences if rows]
    _drop_special(grid)


def _is_conll_u(grid: Grid) -> bool:
    rows = [fields for sentence in grid.sentences for _, fields in sentence]
    return all((fields[0].isdecimal() or _SPECIAL.fullmatch(fields[0])) for fields in rows) and all(
        fields[6].isdecimal() or fields[6] == "_" for fields in rows
    )


def _drop_special(grid: Grid) -> None:
    """Leave out CoNLL-U's ranges and empty nodes, if the first column numbers the words."""
    first = [fields[0] for rows in grid.sentences for _, fields in rows]
    special = [value for value in first if _SPECIAL.fullmatch(value)]
    if len(grid.names) < 2 or not special or not all(v.isdecimal() or _SPECIAL.fullmatch(v) for v in first):
        return
    kept = [[row for row in rows if not _SPECIAL.fullmatch(row[1][0])] for rows in grid.sentences]
    kept = [rows for rows in kept if rows]
    if not grid.form and kinds_of(kept, 1) != ["number"]:
        return
    grid.sentences = kept
    num_ranges = sum("-" in value for value in special)
    grid.remarks += [f"{num_ranges:,} ranges of words left out"] if num_ranges else []
    grid.remarks += [f"{len(special) - num_ranges:,} empty nodes left out"] if len(special) > num_ranges else []


def _header(grid: Grid) -> str:
    """Return why the first line must be a header; "" if it isn't one."""
    first = [value.strip() for value in grid.sentences[0][0][1]]
    rest = [grid.sentences[0][1:], *grid.sentences[1:]]
    rest = [rows for rows in rest if rows]
    if len(first) < 2 or not rest or len(set(first)) < len(first):
        return ""
    lower = [name.lower() for name in first]
    if {*TAG_NAMES, *OTHER_TAG_NAMES} & set(lower) and set(WORD_NAMES) & set(lower):
        return "by their names"
    if any(not name or name == OUTSIDE or is_positioned(name) or name.isdecimal() for name in first):
        return ""
    num_rows = sum(map(len, rest))
    for column, kind in enumerate(kinds_of(rest, len(first))):
        others = {fields[column] for rows in rest for _, fields in rows}
        numbers = kind == "number" or (kind == "whole numbers" and num_rows >= _ENOUGH_ROWS)
        if numbers and len(first) > 2 and not _SPECIAL.fullmatch(first[column]):
            return f"column {column} holds numbers below it"
        tags = kind in ("entities", "chunks") and num_rows >= _ENOUGH_ROWS
        if tags and first[column] not in {tag.partition("-")[2] for tag in others}:
            return f"{first[column]!r} is not a tag like those below it"
    return ""
