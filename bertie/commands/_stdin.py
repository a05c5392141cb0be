"""Texts typed or piped into a command, one a line: read, and refused where they are a table or a file's name."""

import csv
import os
import sys
from collections.abc import Iterable, Sequence

from bertie.errors import DataError, SettingsError
from bertie.untrusted import parse_json

_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt", ".gz", ".zst", ".xlsx", ".conll")
_MARKS = ",;\t|"
_NAMES = {
    *("id", "idx", "index", "guid", "uid", "text", "sentence", "content", "review", "body", "comment", "message"),
    *("title", "question", "query", "premise", "hypothesis", "sentence1", "sentence2", "text_a", "text_b"),
    *("label", "labels", "target", "class", "category", "score", "date"),
}
_LOOKED_AT = 50  # lines


def refuse_names(texts: Iterable[str]) -> None:
    """Refuse a text that is the name of a file, or can only be meant as one.

    Raises:
        SettingsError: such a text; the message says how to read the file, and how to use the name as a text.
    """
    for text in texts:
        named = len(text) < 1000 and "\n" not in text and "\0" not in text
        there = named and os.path.isfile(text)  # noqa: PTH113 (a Path raises where a text is too long for a name)
        like = named and len(text.split()) == 1 and text.lower().endswith(_SUFFIXES)
        if there or like or text == "-":
            is_what = "is a file" if there else "looks like a file, and there is none" if like else "is not a text"
            read = f"to read it, give --file {text}" if text != "-" else "to read standard input, give no text at all"
            raise SettingsError(f"{text} {is_what}; {read}; to use it as a text, give it as a line of standard input")


def refuse_table(lines: Sequence[str]) -> None:
    """Refuse lines that are rows of a table and no texts.

    Raises:
        DataError: the first lines are JSON objects, or columns under a header.
    """
    as_file = "save it as a file and give --file; lines that are texts all the same go into a .txt"
    if lines[0].startswith("{") and _is_object(lines[0]):
        raise DataError(f"standard input holds JSON objects, not one text a line; {as_file}")
    for mark in _MARKS:
        rows = list(csv.reader(lines[:_LOOKED_AT], delimiter=mark))
        if _has_header([row for row in rows if row]):
            raise DataError(
                f"standard input looks like a table with the header {lines[0]!r:.80}, not one text a line; {as_file}"
            )


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line, "", data=True), dict)
    except DataError:
        return False


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first of several rows names columns."""
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if len(header) < 2 or len(rows) < 2 or len(set(header)) < len(header) or not all(header):
        return False
    if any(len(name.split()) > 3 or len(name) > 40 or name[0].isdigit() for name in header):
        return False
    even = [row for row in rows[1:] if len(row) == len(header)]
    if len(even) < max(1, len(rows) - 2):
        return False
    if _NAMES & set(header):
        return True
    # In any language: a column of numbers under a word. Prose has a space after its commas.
    numbered = any(all(row[place].strip().isdecimal() for row in even) for place in range(len(header)))
    return numbered and 1 < len(even) == len(rows) - 1 and not any(name.startswith(" ") for name in rows[0])


def lines_of_stdin(otherwise: str) -> list[str]:
    """Read standard input to its end.

    Args:
        otherwise: what to say at a terminal, where nothing was piped in.

    Raises:
        SettingsError: standard input is a terminal.
        DataError: it is empty, or no UTF-8.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise SettingsError(otherwise)
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input is not UTF-8 at byte {error.start}") from error
    if not text:
        raise DataError("standard input is empty")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
