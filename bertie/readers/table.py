"""Read tables of texts, pairs and labels into items, by one reading plan.

`tables/delimited.py` detects how a text table is written, `roles.py` which column has which role, and `label_forms.py`
how labels are written. One line states the plan, so that a wrong reading is noticed. The plan is stored in the table.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.files.compression import COMPRESSIONS, format_suffix
from bertie.files.text import BadUtf8
from bertie.items.text import Text
from bertie.readers.following import followed, hints, refuse_other_order, warn_of_differences
from bertie.readers.gold import accepted, answers_of, with_labels
from bertie.readers.hub import is_dataset, open_dataset
from bertie.readers.label_forms import Labels, TableLabels, decimal_commas, hot_columns, read_labels
from bertie.readers.reading import LeftOut, Reading, Table, shown_row
from bertie.readers.roles import (
    NEGATIVES,
    Sample,
    find_roles,
    named_roles,
    no_column,
    parts_of,
    split_options,
)
from bertie.readers.text_lines import read_text_lines
from bertie.tables.delimited import Delimited
from bertie.tables.table import Rows, open_rows, suffixes

_SAMPLE_ROWS = 2000
_SHEET, _FRAME = "; save the sheet as CSV UTF-8", "; save the table by pandas' to_csv or to_parquet"
_HINTS = {
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".xlsm"), _SHEET),
    **dict.fromkeys((".pkl", ".pickle", ".h5", ".dta", ".sav", ".rds"), _FRAME),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".bz2", ".7z", ".rar"), "; unpack it first"),
    "": "; give the file a suffix that names its format, such as .csv",
}


def read_table(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    labelled: bool = False,
    written: bool = False,
    bad_utf8: BadUtf8 = "stop",
    like: Reading | None = None,
) -> Table[Text]:
    """Read a table into memory.

    Args:
        path: a table (`tables/`), also compressed; .txt, one text a line; or a data set (`readers/hub.py`).
        columns: role (text, pair, label, id, negative) to column name, or number from 0 without header. Also options
            that the file leaves open: header, delimiter, quotes, names, separator. None: detect all of them.
        labelled: whether every row needs a label.
        written: whether labels are texts to write; "NaN" and "-" are then ordinary labels.
        bad_utf8: what to do with bytes that are not UTF-8.
        like: how the model's training file was read. This file is read the same way, or a warning states the
            difference.

    Raises:
        SettingsError: the file or a named column doesn't exist.
        DataError: the file is empty or ambiguous, or a row has too few fields, too many fields or no label.
    """
    file = Path(path)
    user_roles, options = split_options(columns or {})
    if format_suffix(file) == ".txt":
        if columns:
            raise SettingsError(f"{file}: a .txt holds one text a line and no columns; leave --columns out")
        loaded = _lines(file, bad_utf8, labelled=labelled)
    else:
        options = {**followed(like), **options}
        loaded = _load(file, user_roles, options, labelled=labelled, bad_utf8=bad_utf8, like=like)
    if not loaded.rows:
        raise DataError(f"{file} holds no rows")
    labels = _labels(file, loaded, options, written=written)
    items = _items(file, loaded, labels.labels)
    left = list(loaded.left_out)
    if labelled:
        items, without = with_labels(file, items, loaded.names, written=written)
        left += without
    reading = replace(loaded.reading, labels=labels.form, rows=len(items), left_out=tuple(left), options=options)
    progress.note(reading.line())
    for one in left:
        for line, content in one.rows:
            if content:
                progress.note(f"  left out, {one.reason}: line {line}: {content}")
    warn_of_differences(like, reading, labelled=labelled)
    return Table(file, items, dict(reading.columns), reading)


def with_points(table: Table[Text]) -> Table[Text]:
    """Read labels as numbers with decimal commas, such as 1,5, if all are; for tasks whose labels are numbers.

    Raises:
        DataError: the commas may have another meaning.
    """
    labels = [item.label for item in table.items]
    parsed = decimal_commas(labels, lambda number: f"{table.path}:{table.items[number].line}")
    if parsed is None:
        return table
    progress.note(f"{table.path}: {parsed.form}")
    items = [replace(item, label=label) for item, label in zip(table.items, parsed.labels, strict=True)]
    reading = None if table.reading is None else replace(table.reading, labels=parsed.form)
    return replace(table, items=items, reading=reading)


@dataclass
class _Loaded:
    """The columns with a role, row by row."""

    reading: Reading
    names: list[str]
    """All columns of the file."""
    chosen: list[str]
    """Names of the columns in `rows`."""
    rows: list[tuple[int, list[Any]]]
    left_out: list[LeftOut] = field(default_factory=list)

    def values(self, name: str) -> list[Any]:
        """Return the values of one column."""
        index = self.chosen.index(name)
        return [values[index] for _, values in self.rows]


def _lines(file: Path, bad_utf8: BadUtf8, *, labelled: bool) -> _Loaded:
    """Read one text a line."""
    rows = [(line, [text]) for line, text in read_text_lines(file, labelled=labelled, bad_utf8=bad_utf8)]
    return _Loaded(Reading(str(file), "txt", columns={"text": "text"}), ["text"], ["text"], rows)


@contextmanager
def _opened(file: Path, columns: Mapping[str, str], bad_utf8: BadUtf8, like: Reading | None) -> Iterator[Rows]:
    if not is_dataset(file) and format_suffix(file) not in suffixes(vague=True):
        hint = f"; to read a folder as a data set, write hub:{file}:train" if file.is_dir() else ""
        if file.is_dir() and (file / "state.json").is_file():  # one split of a saved data set
            hint = f"; to read a folder saved by datasets, write hub:{file.parent}:{file.name}"
        hint = hint or _HINTS.get(file.suffix.lower(), "")
        forms = ", ".join((".txt", *suffixes()))
        raise SettingsError(
            f"{file}: texts and labels are read from {forms}, each also compressed ({', '.join(COMPRESSIONS)}){hint}"
        )
    opened = (
        open_dataset(file)
        if is_dataset(file)
        else open_rows(file, columns=columns, bad_utf8=bad_utf8, hints=hints(like))
    )
    with opened as table:
        yield table


def _load(
    file: Path,
    user_roles: Mapping[str, str],
    options: Mapping[str, str],
    *,
    labelled: bool,
    bad_utf8: BadUtf8,
    like: Reading | None,
) -> _Loaded:
    """Find the column of each role, and read these columns."""
    settings = {**user_roles, **options}
    left: list[LeftOut] = []
    with _opened(file, settings, bad_utf8, like) as table:
        names = list(table.columns)
        if not names:
            raise DataError(f"{file} is empty")
        whole = None
        if isinstance(table, Delimited):
            whole, uneven = _even_rows(file, table, user_roles, labelled=labelled)
            left, names = [*left, *uneven], list(table.columns)
            sample = Sample(names, [values for _, values in whole[:_SAMPLE_ROWS]], not table.header)
        else:
            sample = Sample(names, table.sample(_SAMPLE_ROWS), False)
        roles = _roles(file, sample, user_roles, labelled=labelled, like=like)
        label = "" if labelled or "label" in user_roles else roles.get("label", "")
        if label in names and any(value is None for value in sample.column(label)):
            del roles["label"]  # labels are not needed, and some rows have none
        if whole is not None and table.empty:
            left.append(LeftOut.of("empty lines", [(line, "") for line in table.empty]))
        form = "dataset" if is_dataset(file) else format_suffix(file)[1:]
        reading = Reading(
            str(file),
            form,
            table.encoding,
            table.delimiter,
            table.quoted,
            table.header,
            roles,
            remarks=table.remarks,
        )
    wanted = [part for role, name in roles.items() for part in parts_of(role, name, names)]
    answer = answers_of(sample, wanted) if labelled else ""
    wanted += [answer] if answer else []
    if whole is not None:
        indices = [names.index(name) for name in wanted]
        rows = [(line, [values[index] for index in indices]) for line, values in whole]
    else:
        with _opened(file, settings, bad_utf8, like) as table:
            rows = list(table.rows(wanted))
    if answer:
        rows, others = accepted(rows)
        left += others
    return _Loaded(reading, names, wanted, rows, left)


def _roles(
    file: Path, sample: Sample, user_roles: Mapping[str, str], *, labelled: bool, like: Reading | None
) -> dict[str, str]:
    """Return the column of each role: as the user says, else as in the training file, else by detection."""
    if user_roles:
        return named_roles(file, sample.names, user_roles)
    if like is not None:
        learned = {role: name for role, name in like.columns.items() if role in ("text", "pair", "label", "id")}
        present = {
            role: name
            for role, name in learned.items()
            if all(part in sample.names for part in parts_of(role, name, sample.names))
        }
        sides = {role for role in learned if role in ("text", "pair")}
        if sides and sides <= present.keys() and (like.header is not False) == (not sample.numbered):
            if labelled and "label" in learned and "label" not in present:
                raise no_column(file, learned["label"], sample.names)
            if sample.numbered:
                refuse_other_order(file, sample, present)
            return named_roles(file, sample.names, present)
    return find_roles(file, sample, labelled=labelled)


def _even_rows(
    file: Path, table: Delimited, user_roles: Mapping[str, str], *, labelled: bool
) -> tuple[list[tuple[int, list[str]]], list[LeftOut]]:
    """Read the rows of a text table; allow unequal lengths only if columns are set by number and nothing is quoted.

    Raises:
        DataError: a row has another length, or more than one row in a hundred lacks a column.
    """
    rows = list(table.records(empty=not labelled))
    uneven = next((row for row in rows if len(row[1]) != table.width), None)
    if uneven is None:
        return rows, []
    by_number = bool(user_roles) and all(part.isdecimal() for name in user_roles.values() for part in name.split("+"))
    if table.quoted or not by_number:
        hint = "" if table.quoted else ", or choose columns by number, such as --columns text=3,label=1"
        raise DataError(f"{table.uneven(uneven[0], len(uneven[1]))}; fix the line{hint}")
    needed = max(int(part) for name in user_roles.values() for part in name.split("+"))
    table.width, _ = Counter(len(fields) for _, fields in rows).most_common(1)[0]
    table.columns[:] = [str(number) for number in range(table.width)]
    short = [(line, fields) for line, fields in rows if len(fields) <= needed]
    if needed < table.width and len(short) > max(1, len(rows) // 100):
        raise DataError(
            f"{file}:{short[0][0]}: {len(short):,} of {len(rows):,} rows have no column {needed}, beginning with this "
            "one; fix or remove them"
        )
    kept = [row for row in rows if len(row[1]) > needed]
    if needed < table.width and short:
        progress.warn(
            f"{file}: {len(short):,} rows without column {needed} are left out, the first at line {short[0][0]}"
        )
    longer = [line for line, fields in kept if len(fields) > table.width]
    if longer:
        progress.note(
            f"{file}: {len(longer):,} rows have more than {table.width} fields, the first at line {longer[0]}; only "
            "the chosen columns are read"
        )
    left = LeftOut.of(f"no column {needed}", [(line, shown_row(fields)) for line, fields in short])
    return kept, [left] if short else []


def _labels(file: Path, loaded: _Loaded, options: Mapping[str, str], *, written: bool) -> TableLabels:
    """Read the labels in the form that the table uses."""
    name = loaded.reading.columns.get("label")

    def where(number: int) -> str:
        return f"{file}:{loaded.rows[number][0]}"

    if name is None:
        return TableLabels([None] * len(loaded.rows))
    parts = parts_of("label", name, loaded.names)
    if len(parts) > 1:
        return hot_columns(list(zip(*map(loaded.values, parts), strict=True)), parts, where)
    values = loaded.values(name)
    if written:
        return TableLabels([_text(value, where(number), name).strip() for number, value in enumerate(values)])
    return read_labels(values, where, name, options)


def _items(file: Path, loaded: _Loaded, labels: Sequence[Labels]) -> list[Text]:
    texts: dict[str, list[str]] = {}
    for role, name in loaded.reading.columns.items():
        if role != "label":
            values = zip(loaded.rows, loaded.values(name), strict=True)
            texts[role] = [
                value if isinstance(value, str) else _text(value, f"{file}:{row[0]}", name) for row, value in values
            ]
    count = len(loaded.rows)
    pairs: Sequence[str | None] = texts.get("pair") or [None] * count
    ids = texts.get("id") or [""] * count
    others = [texts[name] for name in NEGATIVES if name in texts]
    negatives = zip(*others, strict=True) if others else [()] * count
    parts = zip(texts["text"], pairs, labels, loaded.rows, negatives, ids, strict=True)
    return [
        Text(text, pair, label, row[0], tuple(filter(None, wrong)), item_id)
        for text, pair, label, row, wrong, item_id in parts
    ]


def _text(value: Any, where: str, name: str) -> str:
    """Turn a value into text.

    Raises:
        DataError: the value is not text, for example a list, an object or bytes that are not UTF-8.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | dict):
        raise DataError(
            f"{where}: {name!r} holds {value!r:.60}; a text or label must be one string, several labels a list of them"
        )
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise DataError(f"{where}: {name!r} holds bytes that are not UTF-8 text ({value!r:.40})") from None
    return "" if value is None or value != value else str(value)
