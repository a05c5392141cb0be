"""Read a .txt with one text a line, and detect a table under that name.

Without that check, the columns of a table would be read as one text.
"""

import shlex
from collections.abc import Sequence
from pathlib import Path

from bertie import progress
from bertie.errors import DataError
from bertie.files.text import BadUtf8, open_text

_FASTTEXT = "__label__"


def read_text_lines(file: Path, *, labelled: bool, bad_utf8: BadUtf8) -> list[tuple[int, str]]:
    """Return (line number, text) of every line.

    Raises:
        DataError: labels are needed, but a .txt has none.
    """
    with open_text(file, bad_utf8=bad_utf8) as stream:
        lines = [line.rstrip("\n") for line in stream]
    filled = [line for line in lines if line.strip()]
    tabs = _is_table(filled)
    named = file.name.replace(".txt", ".tsv", 1)
    if labelled and filled:
        if all(line.startswith(_FASTTEXT) for line in filled):
            raise DataError(
                f"{file}: the lines begin with {_FASTTEXT}, the format of fastText; convert them to a table: sed -E "
                f"'s/^{_FASTTEXT}([^ ]+) +/\\1\\t/' {shlex.quote(file.name)} > {shlex.quote(named)}"
            )
        raise DataError(
            f"{file}: a .txt holds one text a line and no labels; "
            + (f"its lines have columns separated by tabs, so name it {named}" if tabs else "name a table .tsv or .csv")
        )
    if tabs:
        progress.warn(
            f"{file}: every line has columns separated by tabs, but a .txt is read as one text a line, tabs included; "
            f"for a table, name it {named}"
        )
    return list(enumerate(lines, 1))


def _is_table(filled: Sequence[str]) -> bool:
    """Check whether all lines have the same number of tabs."""
    counts = {line.count("\t") for line in filled}
    return len(filled) > 1 and len(counts) == 1 and 0 not in counts
