"""Read texts that are typed or piped into a command, one per line, and refuse tables and file names."""

import csv
import os
import sys
from collections.abc import Iterable, Sequence

from bertie.errors import DataError, SettingsError
from bertie.tables.table import suffixes
from bertie.untrusted import parse_json

_SUFFIXES = (".txt", ".gz", ".zst", ".xlsx", ".conll")  # besides those of tables
_DELIMITERS = ",;\t|"
_NAMES = {
    *("id", "idx", "index", "guid", "uid", "text", "sentence", "content", "review", "body", "comment", "message"),
    *("title", "question", "query", "premise", "hypothesis", "sentence1", "sentence2", "text_a", "text_b"),
    *("label", "labels", "target", "class", "category", "score", "date"),
}
_LINES_CHECKED = 50  # lines


def refuse_names(texts: Iterable[str]) -> None:
    """Refuse a text that is the name of a file, or that looks like one.

    Raises:
        SettingsError: a text is such a name; the message tells how to read the file, and how to use the name as a text.
    """
    for text in texts:
        may_be_name = len(text) < 1000 and "\n" not in text and "\0" not in text
        exists = may_be_name and os.path.isfile(text)  # noqa: PTH113 (Path raises if a text is too long for a name)
        one_word = may_be_name and "." in text and len(text.split()) == 1
        looks_like_file = one_word and text.lower().endswith((*_SUFFIXES, *suffixes(vague=True)))
        if exists or looks_like_file or text == "-":
            problem = (
                "is a file"
                if exists
                else "looks like a file, and there is none"
                if looks_like_file
                else "is not a text"
            )
            advice = f"to read it, give --file {text}" if text != "-" else "to read standard input, give no text at all"
            raise SettingsError(f"{text} {problem}; {advice}; to use it as a text, give it as a line of standard input")


def refuse_table(lines: Sequence[str]) -> None:
    """Refuse lines that are rows of a table rather than texts.

    Raises:
        DataError: the first lines are JSON objects, or columns under a header.
    """
    as_file = "save it as a file and give --file; if its lines are texts after all, save them as .txt"
    if lines[0].startswith("{") and _is_object(lines[0]):
        raise DataError(f"standard input has JSON objects, not one text per line; {as_file}")
    for delimiter in _DELIMITERS:
        rows = list(csv.reader(lines[:_LINES_CHECKED], delimiter=delimiter))
        if _has_header([row for row in rows if row]):
            raise DataError(
                f"standard input looks like a table with the header {lines[0]!r:.80}, not one text per line; {as_file}"
            )


def _is_object(line: str) -> bool:
    try:
        return isinstance(parse_json(line, "", data=True), dict)
    except DataError:
        return False


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Check whether the first of several rows is a header."""
    header = [name.strip().lower() for name in rows[0]] if rows else []
    if len(header) < 2 or len(rows) < 2 or len(set(header)) < len(header) or not all(header):
        return False
    if any(len(name.split()) > 3 or len(name) > 40 or name[0].isdigit() for name in header):
        return False
    same_length = [row for row in rows[1:] if len(row) == len(header)]
    if len(same_length) < max(1, len(rows) - 2):
        return False
    if _NAMES & set(header):
        return True
    # In any language, a column of numbers under a word is a table. In prose, a space follows a comma.
    numbered = any(all(row[column].strip().isdecimal() for row in same_length) for column in range(len(header)))
    return numbered and 1 < len(same_length) == len(rows) - 1 and not any(name.startswith(" ") for name in rows[0])


def lines_of_stdin(otherwise: str) -> list[str]:
    """Read standard input to its end.

    Args:
        otherwise: the error message if standard input is a terminal.

    Raises:
        SettingsError: standard input is a terminal.
        DataError: it is empty, or isn't UTF-8.
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
