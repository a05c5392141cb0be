"""Labelled tables: .tsv, .csv, .jsonl and .parquet files to texts, pairs and labels; columns by name or content.

TSV is never quoted, CSV is. Labels stay strings. What was found is said in one line, so that a wrong guess is seen.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.data.columns import Row, guess, looks_like_header
from bertie.data.hub import is_dataset, open_dataset
from bertie.data.items import Table, Text
from bertie.data.labels import labels_of
from bertie.data.reading import Reading
from bertie.errors import DataError, SettingsError
from bertie.files.compression import COMPRESSIONS, format_suffix
from bertie.files.rows import SUFFIXES, open_rows
from bertie.files.text import BadUtf8, open_text
from bertie.registry import did_you_mean

# Names that say what a column holds, the likeliest first; compared in lower case.
_PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("#1 string", "#2 string"),
    ("question", "sentence"),
    ("text", "pair"),
    ("anchor", "positive"),
    ("query", "positive"),
)
# Beside a pair: texts that its second one must be told from.
_NEGATIVES = ("negative", *(f"negative_{number}" for number in range(1, 10)))
_TEXTS = ("text", "sentence", "content", "review", "body", "comment", "question", "title", "premise", "sentence1")
_LABELS = (
    "label",
    "labels",
    "target",
    "class",
    "category",
    "gold_label",
    "quality",
    "sentiment",
    "is_duplicate",
    "tag",
    *("score", "similarity", "similarity_score"),  # of two texts
)
# What tells rows apart; looked for by name only, and never a text or a label.
_IDS = (
    *("id", "idx", "guid", "uid", "uuid", "_id", "row_id", "rowid", "example_id", "sample_id", "item_id", "pairid"),
    *("text_id", "doc_id", "document_id", "sentence_id", "tweet_id", "review_id", "comment_id", "message_id", "index"),
)
_ROLES = ("text", "pair", "label", "id", *_NEGATIVES)


class _Listed(str):
    """Labels that stood in a list, joined by commas for whoever looks at a field as text."""


def read_table(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    labelled: bool = False,
    written: bool = False,
    bad_utf8: BadUtf8 = "stop",
) -> Table[Text]:
    """Read a table into memory.

    Args:
        path: .tsv, .csv, .jsonl or .parquet, also compressed; .txt, one text a line; or a data set (`data/hub.py`).
        columns: role (text, pair, label, id, negative) to column name, or number from 0 without header; or None.
        labelled: whether every row needs a label.
        written: whether labels are texts to be written, of which "NaN" and "-" are two like others.
        bad_utf8: what to do with bytes that are not UTF-8.

    Raises:
        SettingsError: no such file, or a column it doesn't have.
        DataError: an empty file, a row with too few or too many fields, a row without label.
    """
    file = Path(path)
    if format_suffix(file) == ".txt":
        if columns:
            raise SettingsError(f"{file}: a .txt holds one text a line and no columns; leave --columns out")
        with open_text(file, bad_utf8=bad_utf8) as stream:
            lines = [(number, [line.rstrip("\n")]) for number, line in enumerate(stream, 1)]
        header, rows, mapping = ["text"], lines, {"text": 0}
    else:
        header, rows = _rows(file, columns, bad_utf8)
        mapping = _chosen(file, header, columns) if columns else _found(file, header, rows, labelled=labelled)
    if not rows:
        raise DataError(f"{file} holds no rows")
    names = {role: header[place] for role, place in mapping.items()}
    if double := next((name for name in names.values() if header.count(name) > 1), None):
        raise DataError(f"{file}: several columns are named {double!r}; rename them, or say --columns text=0,label=2")
    said = ", ".join(f"{role} from column {name!r}" for role, name in names.items())
    items = [_item(file, line, fields, mapping) for line, fields in rows]
    if all(isinstance(item.label, tuple) and len(item.label) == 1 for item in items):
        items = [replace(item, label=labels_of(item)[0]) for item in items]  # one each, like labels without lists
    several = ", any number of labels each" if any(isinstance(item.label, tuple) for item in items) else ""
    progress.note(f"{file}: {len(rows):,} rows, {said}{several}")
    items = _labelled(file, items, header, written=written) if labelled else items
    return Table(file, items, names, Reading(str(file), columns=names, rows=len(items)))


def _rows(file: Path, columns: Mapping[str, str] | None, bad_utf8: BadUtf8) -> tuple[list[str], list[Row]]:
    """Read header and rows; a .tsv or .csv without header gets column numbers as names."""
    given = set(columns.values()) if columns else set()
    suffix = format_suffix(file)
    if suffix not in (".tsv", ".csv"):
        return _named_rows(file, columns or {}, bad_utf8)
    with open_text(file, bad_utf8=bad_utf8) as stream:
        records = list(_records(stream, file))
    if not records:
        raise DataError(f"{file} is empty")
    first = [name.strip() for name in records[0][1]]
    for mark in ";\t,":
        parts = first[0].lower().split(mark)
        if len(first) == 1 and len(parts) > 1 and set(parts) <= _KNOWN:
            raise DataError(f"{file}: its columns are parted by {mark!r}; a .csv has commas, a .tsv has tabs")
    by_name = not all(name.isdecimal() for name in given)
    uneven = next((row for row in records if len(row[1]) != len(first)), None)
    has_header = by_name or _is_header(first, records[1:], even=uneven is None)
    width = len(first)
    if uneven is not None:
        if has_header or not given or suffix != ".tsv":
            by_number = ", or say by number which columns to read, such as --columns text=3,label=1"
            raise DataError(
                f"{file}:{uneven[0]}: {len(uneven[1])} fields, the first line has {len(first)}; mend the line"
                f"{by_number if suffix == '.tsv' else ''}"
            )
        width, records = _wide_enough(file, records, max(map(int, given)))
    if has_header:
        again = next((line for line, fields in records[1:] if [name.strip() for name in fields] == first), None)
        if again is not None and width > 1:
            raise DataError(f"{file}:{again}: this is the header once more (were files put together?); remove the line")
    numbers = [str(number) for number in range(width)]
    return first if has_header and (by_name or not given) else numbers, records[has_header:]


def _is_header(first: Sequence[str], rows: Sequence[Row], *, even: bool) -> bool:
    """Tell whether the first line names the columns; a name that is a value of its column as well is none."""
    lowered = [name.lower() for name in first]
    known = [place for place, name in enumerate(lowered) if name in _KNOWN]
    if known:
        whole = list(first)
        others = (
            fields for _, fields in rows if len(fields) == len(first) and [part.strip() for part in fields] != whole
        )
        return not any(fields[place].strip().lower() == lowered[place] for fields in others for place in known)
    return lowered == [str(number) for number in range(len(first))] or (even and looks_like_header(first, rows))


def _wide_enough(file: Path, records: Sequence[Row], needed: int) -> tuple[int, list[Row]]:
    """Keep the rows of an uneven .tsv that have the columns asked for by number; say how many are uneven.

    Returns:
        The commonest number of fields, and the rows.

    Raises:
        DataError: more than one row in a hundred lacks a column.
    """
    width, _ = Counter(len(fields) for _, fields in records).most_common(1)[0]
    kept = [row for row in records if len(row[1]) > needed]
    short = [line for line, fields in records if len(fields) <= needed]
    if needed < width and len(short) > max(1, len(records) // 100):
        raise DataError(
            f"{file}:{short[0]}: {len(short):,} of {len(records):,} rows have no column {needed}, this one the first; "
            "mend or remove them"
        )
    if needed < width and short:
        progress.warn(f"{file}: {len(short):,} rows without column {needed} are left out, the first at line {short[0]}")
    longer = [line for line, fields in kept if len(fields) > width]
    if longer:
        progress.note(
            f"{file}: {len(longer):,} rows have more than {width} fields, the first at line {longer[0]}; only the "
            "columns asked for are read"
        )
    return width, kept


def _named_rows(file: Path, columns: Mapping[str, str], bad_utf8: BadUtf8) -> tuple[list[str], list[Row]]:
    """Read a .jsonl, .parquet or data set: the columns asked for, or else those whose names are known."""
    given = set(columns.values())
    if not is_dataset(file) and format_suffix(file) not in (*SUFFIXES, ".json"):
        hint = f"; a folder is read as a data set: hub:{file}:train" if file.is_dir() else ""
        forms = ", ".join((".txt", *SUFFIXES))
        raise SettingsError(
            f"{file}: texts and labels are read from {forms}, each also with {', '.join(COMPRESSIONS)} behind it{hint}"
        )
    with open_dataset(file) if is_dataset(file) else open_rows(file, bad_utf8=bad_utf8) as table:
        names = list(table.columns)
        if not names:
            raise DataError(f"{file} is empty")
        unknown = sorted(given - set(names))
        if unknown:
            raise _no_column(file, unknown[0], names)
        paired = any({name.lower() for name in names} >= set(pair) for pair in _PAIRS)
        known = _IDENTIFIED | set(_NEGATIVES) if paired else _IDENTIFIED
        chosen = [name for name in names if (name in given if given else name.lower() in known)]
        if not any(name in given or name.lower() in _KNOWN for name in chosen):
            raise DataError(
                f"{file}: none of its columns is known ({', '.join(names)}); say which by --columns text=NAME"
            )
        labels = [name == columns.get("label") if given else name.lower() in _LABELS for name in chosen]
        rows = []
        for line, values in table.rows(chosen):
            parts = zip(chosen, values, labels, strict=True)
            rows.append((line, [_field(value, f"{file}:{line}: {name!r}", many=many) for name, value, many in parts]))
    return chosen, rows


def _field(value: Any, where: str, *, many: bool) -> str:
    """Turn a value of a .jsonl or .parquet into text; where there may be many, labels into "comedy, drama"."""
    if many and isinstance(value, list) and all(isinstance(part, str | int) for part in value):
        if any("," in str(part) for part in value):
            raise DataError(f"{where} holds {value!r:.60}; a label in a list can't have a comma")
        return _Listed(", ".join(str(part) for part in value))
    if isinstance(value, list | dict):
        raise DataError(f"{where} holds {value!r:.60}; a text or label is one string, several labels a list of them")
    return "" if value is None else str(value)


_KNOWN = {name for pair in _PAIRS for name in pair} | set(_TEXTS) | set(_LABELS)
_IDENTIFIED = _KNOWN | set(_IDS)


def _records(stream: Iterator[str], file: Path) -> Iterator[Row]:
    """Yield (line, fields) of a .tsv or .csv, empty lines left out."""
    if format_suffix(file) == ".tsv":
        for number, line in enumerate(stream, 1):
            if line.strip("\n"):
                yield number, line.rstrip("\n").split("\t")
        return
    csv.field_size_limit(2**30)
    reader = csv.reader(stream, strict=True)
    before = 0
    try:
        for fields in reader:
            if fields:
                yield before + 1, fields
            before = reader.line_num
    except csv.Error as error:
        raise DataError(f"{file}:{reader.line_num}: {error}; quotes in a .csv are doubled inside quotes") from error


def _chosen(file: Path, header: Sequence[str], columns: Mapping[str, str]) -> dict[str, int]:
    """Look up the columns that the user named."""
    mapping = {}
    for role, name in columns.items():
        if role not in _ROLES:
            raise SettingsError(
                f"--columns {role}={name}: a column is text, pair, label, id or negative; {did_you_mean(role, _ROLES)}"
            )
        if name not in header:
            raise _no_column(file, name, header)
        mapping[role] = header.index(name)
    if "text" not in mapping:
        raise SettingsError("--columns must say where the text is: text=NAME")
    return mapping


def _no_column(file: Path, name: str, names: Sequence[str]) -> SettingsError:
    return SettingsError(f"{file} has no column {name!r}; it has {', '.join(names)}; {did_you_mean(name, names)}")


def _found(file: Path, header: Sequence[str], rows: Sequence[Row], *, labelled: bool) -> dict[str, int]:
    """Find text, pair and label by the names of the columns, or by what is in them; refuse to guess in doubt."""
    places = {name.lower(): place for place, name in reversed(list(enumerate(header)))}
    mapping: dict[str, int] = {}
    for first, second in _PAIRS:
        if first in places and second in places:
            mapping = {"text": places[first], "pair": places[second]}
            mapping |= {name: places[name] for name in _NEGATIVES if name in places}
            break
    else:
        known = [name for name in _TEXTS if name in places]
        if known:
            mapping["text"] = places[known[0]]
    labels = [name for name in _LABELS if name in places]
    if labels:
        mapping["label"] = places[labels[0]]
    if "text" not in mapping:
        found = guess(rows, header)
        doubt = found.text_doubt or (found.label_doubt if labelled and not labels else "")
        if doubt:
            raise DataError(f"{file}: {doubt}; say which by --columns text=NAME,label=NAME, or by number from 0")
        mapping = {**found.mapping, **mapping}
    if "text" not in mapping:
        raise DataError(
            f"{file}: can't tell which column holds the text ({', '.join(header)}); say --columns text=NAME"
        )
    own = next((name for name in _IDS if name in places and places[name] not in mapping.values()), None)
    return mapping if own is None else {**mapping, "id": places[own]}


def _item(file: Path, line: int, fields: Sequence[str], mapping: Mapping[str, int]) -> Text:
    values = {role: fields[place] for role, place in mapping.items()}
    label: str | tuple[str, ...] | None = values.get("label")
    negatives = tuple(values[name] for name in _NEGATIVES if values.get(name))
    if isinstance(label, str):
        label = labels_of(Text("", label=label), many=True) if isinstance(label, _Listed) else label.strip()
    return Text(values["text"], values.get("pair"), label, line, negatives, values.get("id", ""))


def _labelled(file: Path, items: Sequence[Text], header: Sequence[str], *, written: bool) -> list[Text]:
    """Refuse rows without a label; leave out pairs labelled "-", on which a data set's annotators did not agree."""
    kept = [item for item in items if written or item.label != "-" or item.pair is None]
    if not kept:
        raise DataError(f"{file}: every row has the label '-', which means that it has none")
    if len(kept) < len(items):
        line = next(item.line for item in items if item.label == "-")
        progress.warn(f"{file}: {len(items) - len(kept)} rows labelled '-' (no gold label; line {line}) are left out")
    blank = [item.line for item in kept if not all(part.strip() for part in (item.text, item.pair) if part is not None)]
    if blank:
        progress.warn(f"{file}: {len(blank):,} rows have an empty text, the first in line {blank[0]}; they are kept")
    for item in kept:
        label = item.label
        if label is None:
            raise DataError(
                f"{file}: no column holds labels ({', '.join(header)}); say which by --columns text=NAME,label=NAME"
            )
        if label == "" or (str(label).lower() == "nan" and not written):
            raise DataError(f"{file}:{item.line}: the label is {label or 'empty'}; complete or remove the row")
    return kept
