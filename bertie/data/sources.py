"""Sources and the texts that are to be written from them: tables whose labels are whole texts.

A source may be a pair of texts (a question and its passage). Names of columns are found as data sets of summaries,
translations and titles have them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie.data.following import hints
from bertie.data.hub import is_dataset, open_dataset
from bertie.data.items import Table, Text
from bertie.data.reading import Reading
from bertie.data.table import read_table
from bertie.errors import DataError
from bertie.files.compression import format_suffix
from bertie.files.delimited import OPTIONS
from bertie.files.rows import open_rows

# The likeliest name first; compared in lower case.
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
    """Read a table into memory; what is to be written is an item's label.

    Args:
        path: .tsv, .csv, .jsonl or .parquet, also compressed; .txt, one source a line; or a data set. A .tsv without
            header holds the source and, behind a tab, the target.
        columns: role (source or text, pair, target or label) to column name; found by their names when None.
        labelled: whether every row needs a target.
        like: how the model's training file was read; this one is read alike, or the difference is said.

    Raises:
        SettingsError: no such file, or a column it doesn't have.
        DataError: an empty file, a broken row, columns of unknown names, or a row without target.
    """
    named = {_ROLES.get(role, role): name for role, name in (columns or {}).items()}
    options = {name: value for name, value in named.items() if name in OPTIONS}
    file = Path(path)
    how: dict[str, Any] = {"labelled": labelled, "written": True}
    if len(named) > len(options) or format_suffix(file) == ".txt":
        return read_table(file, columns=named or None, **how)
    with (
        open_dataset(file)
        if is_dataset(file)
        else open_rows(file, columns=options, ask="--columns source=", hints=hints(like))
    ) as table:
        header, numbered = list(table.columns), table.header is False
    if like is not None and numbered == (like.header is False) and {*_learned(like).values()} <= {*header}:
        return read_table(file, columns=options or None, like=like, **how)
    names = {name.lower(): name for name in reversed(header)}
    found = {
        role: names[next(name for name in known if name in names)]
        for role, known in (("text", _SOURCES), ("label", _TARGETS))
        if any(name in names for name in known)
    }
    if not found and numbered and len(header) <= 2:
        found = {"text": "0", "label": "1"} if len(header) == 2 else {"text": "0"}
    lacking = [word for word, role in (("source", "text"), ("target", "label")) if role not in found]
    if "source" in lacking or (lacking and labelled):
        raise DataError(
            f"{file}: can't tell which column holds the {lacking[0]} ({', '.join(header)}); say "
            "--columns source=NAME,target=NAME"
        )
    if numbered:
        options = {"header": "no", **options}
    return read_table(file, columns={**found, **options}, like=like, **how)


def _learned(like: Reading) -> dict[str, str]:
    """Return the columns of the sources that a model learned from."""
    return {role: name for role, name in like.columns.items() if role in ("text", "pair")}
