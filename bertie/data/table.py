"""Labelled tables: .tsv, .csv, .jsonl and .parquet files to texts, pairs and labels; columns by name or content.

TSV is never quoted, CSV is. Labels stay strings. What was found is said in one line, so that a wrong guess is seen.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.files.compression import format_suffix
from bertie.files.rows import open_rows
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
)
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
)
_ROLES = ("text", "pair", "label")


@dataclass(frozen=True)
class Text:
    """One item: a text, or a pair of texts, with the label that a table gave it."""

    text: str
    pair: str | None = None
    label: str | None = None
    line: int = 0
    """Where it stands in its file, from 1; 0 when it comes from elsewhere."""


@dataclass(frozen=True, eq=False)
class Table:
    """What a file held."""

    path: Path
    items: list[Text]
    mapping: dict[str, str]
    """Role (text, pair, label) to the name of the column, or its number in a file without header."""


def read_table(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    labelled: bool = False,
    bad_utf8: BadUtf8 = "stop",
) -> Table:
    """Read a table into memory.

    Args:
        path: .tsv, .csv, .jsonl or .parquet, also compressed; or .txt, one text a line.
        columns: role (text, pair, label) to column name, or number from 0 where there is no header; found when None.
        labelled: whether every row needs a label.
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
        mapping = _chosen(file, header, columns) if columns else _found(file, header, rows)
    if not rows:
        raise DataError(f"{file} holds no rows")
    names = {role: header[place] for role, place in mapping.items()}
    said = ", ".join(f"{role} from column {name!r}" for role, name in names.items())
    progress.note(f"{file}: {len(rows):,} rows, {said}")
    items = [_item(file, line, fields, mapping) for line, fields in rows]
    return Table(file, _labelled(file, items, header) if labelled else items, names)


def _rows(
    file: Path, columns: Mapping[str, str] | None, bad_utf8: BadUtf8
) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read header and rows; a .tsv or .csv without header gets column numbers as names."""
    given = set(columns.values()) if columns else set()
    if format_suffix(file) not in (".tsv", ".csv"):
        return _named_rows(file, given, bad_utf8)
    with open_text(file, bad_utf8=bad_utf8) as stream:
        records = list(_records(stream, file))
    if not records:
        raise DataError(f"{file} is empty")
    first = [name.strip() for name in records[0][1]]
    for line, fields in records:
        if len(fields) != len(first):
            raise DataError(f"{file}:{line}: {len(fields)} fields, the first line has {len(first)}")
    for mark in ";\t,":
        parts = first[0].lower().split(mark)
        if len(first) == 1 and len(parts) > 1 and set(parts) <= _KNOWN:
            raise DataError(f"{file}: its columns are parted by {mark!r}; a .csv has commas, a .tsv has tabs")
    numbers = [str(number) for number in range(len(first))]
    by_name = not all(name.isdecimal() for name in given)
    has_header = by_name or bool({name.lower() for name in first} & _KNOWN) or first == numbers
    has_header = has_header or _looks_like_header(records)
    return first if has_header and (by_name or not given) else numbers, records[has_header:]


def _named_rows(file: Path, given: set[str], bad_utf8: BadUtf8) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Read a .jsonl or .parquet: the columns asked for, or else those whose names are known."""
    with open_rows(file, bad_utf8=bad_utf8) as table:
        names = list(table.columns)
        unknown = sorted(given - set(names))
        if unknown and names:
            raise _no_column(file, unknown[0], names)
        chosen = [name for name in names if (name in given if given else name.lower() in _KNOWN)]
        if not chosen and names:
            raise DataError(
                f"{file}: none of its columns is known ({', '.join(names)}); say which by --columns text=NAME"
            )
        rows = []
        for line, values in table.rows(chosen):
            for name, value in zip(chosen, values, strict=True):
                if isinstance(value, list | dict):
                    raise DataError(f"{file}:{line}: {name!r} holds {value!r:.60}; a text or label is one string")
            rows.append((line, ["" if value is None else str(value) for value in values]))
    return chosen, rows


def _looks_like_header(records: Sequence[tuple[int, list[str]]]) -> bool:
    """Tell whether the first line is a header of unknown names: short, and its label is no row's."""
    first, rows = records[0][1], records[1:]
    found = _by_content(rows, len(first))
    if "label" not in found or len(set(first)) < len(first) or any(not name or name.isdecimal() for name in first):
        return False
    labels = Counter(fields[found["label"]] for _, fields in rows)
    longest = max(len(name) for name in first)
    shortest = min(len(fields[found["text"]]) for _, fields in rows)
    return first[found["label"]] not in labels and min(labels.values()) > 1 and longest < shortest + 12


_KNOWN = {name for pair in _PAIRS for name in pair} | set(_TEXTS) | set(_LABELS)


def _records(stream: Iterator[str], file: Path) -> Iterator[tuple[int, list[str]]]:
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
                f"--columns {role}={name}: a column is text, pair or label; {did_you_mean(role, _ROLES)}"
            )
        if name not in header:
            raise _no_column(file, name, header)
        mapping[role] = header.index(name)
    if "text" not in mapping:
        raise SettingsError("--columns must say where the text is: text=NAME")
    return mapping


def _no_column(file: Path, name: str, names: Sequence[str]) -> SettingsError:
    return SettingsError(f"{file} has no column {name!r}; it has {', '.join(names)}; {did_you_mean(name, names)}")


def _found(file: Path, header: Sequence[str], rows: Sequence[tuple[int, list[str]]]) -> dict[str, int]:
    """Find text, pair and label by the names of the columns, or by what is in them."""
    places = {name.lower(): place for place, name in reversed(list(enumerate(header)))}
    mapping: dict[str, int] = {}
    for first, second in _PAIRS:
        if first in places and second in places:
            mapping = {"text": places[first], "pair": places[second]}
            break
    else:
        known = [name for name in _TEXTS if name in places]
        if known:
            mapping["text"] = places[known[0]]
    labels = [name for name in _LABELS if name in places]
    if labels:
        mapping["label"] = places[labels[0]]
    if "text" not in mapping:
        mapping = {**_by_content(rows, len(header)), **mapping}
    if "text" not in mapping:
        raise DataError(
            f"{file}: can't tell which column holds the text ({', '.join(header)}); say --columns text=NAME"
        )
    return mapping


def _by_content(rows: Sequence[tuple[int, list[str]]], width: int) -> dict[str, int]:
    """Guess: texts are long and rarely repeat; the label has the fewest values, at least two, and is never empty."""
    sample = [fields for _, fields in rows[:2000]]
    lengths = [sum(len(fields[place]) for fields in sample) / max(1, len(sample)) for place in range(width)]
    values = [{fields[place] for fields in sample} for place in range(width)]
    longest = max(range(width), key=lambda place: lengths[place], default=None)
    if longest is None:
        return {}
    repeated = [
        place
        for place in range(width)
        if place != longest and 2 <= len(values[place]) <= max(2, len(sample) // 4) and "" not in values[place]
    ]
    mapping = {"text": longest}
    if repeated:
        mapping["label"] = min(repeated, key=lambda place: len(values[place]))
    texts = [
        place
        for place in range(width)
        if place not in repeated and lengths[place] > lengths[longest] / 3 and len(values[place]) > len(sample) / 2
    ]
    if len(texts) > 1:
        mapping["text"], mapping["pair"] = texts[0], texts[1]
    return mapping


def _item(file: Path, line: int, fields: Sequence[str], mapping: Mapping[str, int]) -> Text:
    values = {role: fields[place] for role, place in mapping.items()}
    label = values.get("label")
    return Text(values["text"], values.get("pair"), None if label is None else label.strip(), line)


def _labelled(file: Path, items: Sequence[Text], header: Sequence[str]) -> list[Text]:
    """Refuse rows without a label; leave out pairs labelled "-", on which a data set's annotators did not agree."""
    kept = [item for item in items if item.label != "-" or item.pair is None]
    if not kept:
        raise DataError(f"{file}: every row has the label '-', which means that it has none")
    if len(kept) < len(items):
        line = next(item.line for item in items if item.label == "-")
        progress.warn(f"{file}: {len(items) - len(kept)} rows labelled '-' (no gold label; line {line}) are left out")
    for item in kept:
        if item.label is None:
            raise DataError(
                f"{file}: no column holds labels ({', '.join(header)}); say which by --columns text=NAME,label=NAME"
            )
        if item.label == "" or item.label.lower() == "nan":
            raise DataError(f"{file}:{item.line}: the label is {item.label or 'empty'!r}; complete or remove the row")
    return kept


def label_names(items: Sequence[Text]) -> tuple[str, ...]:
    """List the labels, whole numbers by size and everything else by the alphabet."""
    names = {str(item.label) for item in items}
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))


def refuse_unseen(items: Sequence[Text], labels: Sequence[str], path: Path) -> None:
    """Stop when a table has labels that the model was not trained on.

    Raises:
        DataError: which labels, how often and where.
    """
    unseen = Counter(str(item.label) for item in items if item.label not in labels)
    if unseen:
        (name, count), *others = unseen.most_common()
        line = next(item.line for item in items if str(item.label) == name)
        more = "".join(f", {other!r} ({rows})" for other, rows in others[:5]) + (", ..." if others[5:] else "")
        raise DataError(
            f"{path}:{line}: label {name!r} ({count} rows){more} does not occur in the training table, which has "
            f"{', '.join(labels)}; remove these rows or train with such examples"
        )
