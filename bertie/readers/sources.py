"""Read tables whose labels are whole texts: a source, and the target text to write from it.

A source may be a pair of texts, such as a question and its passage. Columns are recognised by the names that data sets
of summaries, translations and titles use.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.files.compression import format_suffix
from bertie.items.text import Text
from bertie.readers.following import hints
from bertie.readers.hub import is_dataset, open_dataset
from bertie.readers.reading import Reading, Table
from bertie.readers.table import read_table
from bertie.tables.delimited import OPTIONS
from bertie.tables.table import open_rows

# The most likely name first. Names are compared in lower case.
_SOURCES = ("source", "src", "article", "document", "dialogue", "paragraph", "input", "text", "sentence", "question")
_TARGETS = ("target", "tgt", "summary", "highlights", "title", "headline", "output", "answer", "label")
_ROLES = {"source": "text", "target": "label"}


def read_sources(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    labelled: bool = False,
    like: Reading | None = None,
) -> Table[Text]:
    """Read a table into memory. The target text is the label of an item.

    Args:
        path: a table (`tables/`), also compressed; .txt, one source a line; or a data set. A .tsv without header holds
            the source and the target, separated by a tab.
        columns: role (source or text, pair, target or label) to column name; None: recognise the columns by name.
        labelled: whether every row needs a target.
        like: how the model's training file was read. This file is read the same way, or a warning states the
            difference.

    Raises:
        SettingsError: the file or a named column doesn't exist.
        DataError: the file is empty, a row is broken or lacks its target, or no column name is recognised.
    """
    named = {_ROLES.get(role, role): name for role, name in (columns or {}).items()}
    options = {name: value for name, value in named.items() if name in OPTIONS}
    file = Path(path)
    arguments: dict[str, Any] = {"labelled": labelled, "written": True}
    if len(named) > len(options) or format_suffix(file) == ".txt":
        return read_table(file, columns=named or None, **arguments)
    with (
        open_dataset(file)
        if is_dataset(file)
        else open_rows(file, columns=options, ask="--columns source=", hints=hints(like))
    ) as table:
        header, numbered = list(table.columns), table.header is False
    if like is not None and numbered == (like.header is False) and {*_learned(like).values()} <= {*header}:
        return read_table(file, columns=options or None, like=like, **arguments)
    names = {name.lower(): name for name in reversed(header)}
    roles = {
        role: names[next(name for name in known if name in names)]
        for role, known in (("text", _SOURCES), ("label", _TARGETS))
        if any(name in names for name in known)
    }
    if not roles and numbered and len(header) <= 2:
        roles = {"text": "0", "label": "1"} if len(header) == 2 else {"text": "0"}
    missing = [word for word, role in (("source", "text"), ("target", "label")) if role not in roles]
    if "source" in missing or (missing and labelled):
        raise DataError(
            f"{file}: can't tell which column holds the {missing[0]} (columns: {', '.join(header)}); name it: "
            "--columns source=NAME,target=NAME"
        )
    if numbered:
        options = {"header": "no", **options}
    return read_table(file, columns={**roles, **options}, like=like, **arguments)


def _learned(like: Reading) -> dict[str, str]:
    """Return the source columns of the model's training file, by role."""
    return {role: name for role, name in like.columns.items() if role in ("text", "pair")}
