"""Tagged words from files: CoNLL columns, JSON lines and Parquet with lists of words, or with spans of characters.

The form is found by what is in a file, and said in one line together with the scheme of the tags, which become IOB2
(`entities.py`). Texts without words of their own are cut as BERT's basic tokenizer cuts them.
"""

import csv
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.data.conll import ROLES as LINE_ROLES
from bertie.data.conll import Lines, is_tagged, read_grid, read_lines
from bertie.data.conll_lines import Grid
from bertie.data.entities import read_scheme
from bertie.data.hub import is_dataset, open_dataset
from bertie.data.items import Table, Words
from bertie.data.json_values import json_values, objects
from bertie.data.label_tools import read_export
from bertie.data.reading import LeftOut, Reading, first_few
from bertie.data.roles import check_one_role
from bertie.data.spans import SpanReader, cut_words, unit_of
from bertie.data.word_rows import NAMES, ListReader, Values, find_roles, look_at
from bertie.errors import DataError, SettingsError
from bertie.files.compression import format_suffix
from bertie.files.delimited import OPTIONS, options_of
from bertie.files.rows import no_value, open_rows
from bertie.files.text import BadUtf8, open_text
from bertie.metrics.entities import entities
from bertie.registry import did_you_mean
from bertie.untrusted import check_whole_characters

_MOST_NAMED = 8  # types or line numbers that a remark lists
_ENDS = {".", "!", "?", "。", "！", "？", "।", "؟"}
_ASK = "--columns tags=NAME,words="
_JSON = (".jsonl", ".json")
_LOOKED_AT = 50  # lines of a .csv or .tsv that show whether a row is a word or a sentence


def read_words(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    labelled: bool = False,
    bad_utf8: BadUtf8 = "stop",
) -> Table[Words]:
    """Read sentences, their words and, where they are there, their tags.

    Args:
        path: of any name: one word a line with its tag in the last column and blank lines between sentences (CoNLL);
            .jsonl or .parquet with lists of words and tags, or with texts and spans; .txt, one text a line, without
            tags; also compressed. Or a data set (`data/hub.py`).
        columns: words, tags, text or spans to column name, of CoNLL to its number from 0; found when None.
        labelled: whether every word needs a tag.
        bad_utf8: what to do with bytes that are not UTF-8.

    Raises:
        SettingsError: no such file, or a column it doesn't have.
        DataError: no sentences, unequal numbers of words and tags, tags of no known scheme, sentences without tags.
    """
    file = Path(path)
    given = {role: name for role, name in (columns or {}).items() if role not in OPTIONS}
    options = {name: value for name, value in (columns or {}).items() if name in OPTIONS}
    check_one_role(given)
    for role in given:
        if role not in NAMES:
            raise SettingsError(f"--columns {role}: a column is one of {', '.join(NAMES)}; {did_you_mean(role, NAMES)}")
    found = _read(file, given, options, labelled=labelled, bad_utf8=bad_utf8)
    if not found.items:
        raise DataError(f"{file} holds no sentences")
    if labelled and found.unlabelled:  # an export of which a part is labelled
        bare = [item for item in found.items if item.label is None]
        if 0 < len(bare) < len(found.items):
            found.left_out += (LeftOut.of("not labelled", [(item.line, item.text) for item in bare]),)
            found.items = [item for item in found.items if item.label is not None]
    missing = next((item for item in found.items if item.label is None), None)
    if labelled and missing is not None:
        raise DataError(
            f"{file}:{missing.line}: no tags here; give words with tags (CoNLL columns, or lists named tokens and "
            "tags) or texts with spans; say which they are by --columns words=NAME,tags=NAME"
        )
    _warn_of_nothing(file, found)
    items, scheme = _as_iob2(file, found)
    found.items = items
    for left in found.left_out:
        progress.warn(f"{file}: {left}")
    progress.note(_summary(file, found))
    reading = Reading(
        str(file),
        form=found.form,
        header=found.header,
        columns=found.mapping,
        labels=scheme,
        rows=len(items),
        left_out=found.left_out,
        remarks=tuple(found.remarks),
        options=options,
    )
    return Table(file, items, found.mapping, reading)


@dataclass
class _Found(Lines):
    """What a file held, its tags as they stand there."""

    left_out: tuple[LeftOut, ...] = ()
    unlabelled: bool = False
    """Whether items without tags may stand among others, as in the export of a label tool."""


def _warn_of_nothing(file: Path, found: _Found) -> None:
    """Warn of words without visible characters, which no model can see, and of a file without sentence ends."""
    distinct = {word for item in found.items for word in item.words}
    hidden = {word for word in distinct if not any(unicodedata.category(one)[0] in "LMNPS" for one in word)}
    lines = [
        found.places[number][place] if found.places else item.line
        for number, item in enumerate(found.items if hidden else [])
        for place, word in enumerate(item.words)
        if word in hidden
    ]
    if lines:
        progress.warn(
            f"{file}: {len(lines):,} words are empty or hold nothing but spaces and invisible characters "
            f"(lines {first_few(lines, _MOST_NAMED)}); a model can't see them; remove them with their tags"
        )
    if found.places and len(found.items) == 1 and _ENDS & set(found.items[0].words[:-1]):
        progress.warn(
            f"{file}: all {len(found.items[0].words):,} words are one sentence, as no blank line and no column "
            "separates them; put blank lines between sentences, or say which column numbers them: "
            "--columns sentence=NAME"
        )


def _as_iob2(file: Path, found: _Found) -> tuple[list[Words], str]:
    """Read the tags by the scheme that the file as a whole has; the scheme's name is returned too."""
    tagged = [number for number, item in enumerate(found.items) if item.label is not None]
    if not tagged:
        return found.items, ""

    def where(sentence: int, word: int) -> str:
        number = tagged[sentence]
        return f"{file}:{found.places[number][word] if found.places else found.items[number].line}"

    name, tags, odd = read_scheme([found.items[number].label or () for number in tagged], where)
    if odd:
        progress.warn(f"{file}: {odd}")
    if any(tags) and all(tag.isdecimal() for row in tags for tag in row):
        progress.warn(
            f"{file}: its tags are numbers, which say nothing of entities; give them names such as B-PER (a data set's "
            "Parquet file has them where it is read as hub:FOLDER:SPLIT)"
        )
    if "spans" not in found.mapping:
        found.remarks.append(f"tags are {name}{'' if name in ('IOB2', 'labels of words') else ', read as IOB2'}")
    renamed = dict(zip(tagged, tags, strict=True))
    items = [
        replace(item, label=renamed[number]) if number in renamed else item for number, item in enumerate(found.items)
    ]
    return items, "spans" if "spans" in found.mapping else name


def _summary(file: Path, found: _Found) -> str:
    """Say in one line what was read."""
    num_words = sum(len(item.words) for item in found.items)
    parts = [f"{len(found.items):,} sentences", f"{num_words:,} words"]
    parts += [f"{role} from column {name!r}" for role, name in found.mapping.items()]
    types = Counter(entity.label for item in found.items for entity in entities(item.label or ()))
    if types:
        named = ", ".join(f"{label} {count:,}" for label, count in types.most_common(_MOST_NAMED))
        more = f" and {len(types) - _MOST_NAMED} more types" if len(types) > _MOST_NAMED else ""
        found.remarks.append(f"{types.total():,} entities ({named}{more})")
    return f"{file}: {', '.join([*parts, *found.remarks])}"


def _read(
    file: Path, columns: Mapping[str, str], options: Mapping[str, str], *, labelled: bool, bad_utf8: BadUtf8
) -> _Found:
    """Read a file of whatever form."""
    suffix = format_suffix(file)
    if is_dataset(file) or suffix == ".parquet":
        return _from_table(file, columns, options, labelled=labelled, bad_utf8=bad_utf8)
    if suffix == ".ann":
        raise SettingsError(
            f"{file}: brat keeps its annotations apart from the text; export them as CoNLL, or as .jsonl with text and "
            "spans"
        )
    if suffix in _JSON:
        return _from_json(file, columns, labelled=labelled, bad_utf8=bad_utf8)
    with open_text(file, bad_utf8=bad_utf8) as stream:
        lines = [line.rstrip("\n") for line in stream]
    if suffix in (".csv", ".tsv") and _has_a_row_each(lines, columns, options_of(options).get("delimiter", "")):
        return _from_table(file, columns, options, labelled=labelled, bad_utf8=bad_utf8)
    if suffix == ".txt" and not labelled and not columns and not is_tagged(lines):
        texts = [replace(cut_words(line), line=number) for number, line in enumerate(lines, 1)]
        return _Found(texts, {"text": "text"}, form="txt")
    if odd := next((role for role in columns if role not in LINE_ROLES), ""):
        raise SettingsError(
            f"--columns {odd}={columns[odd]}: {file} has one word a line, with columns of words and tags, such as "
            "words=0,tags=1"
        )
    return _Found(**vars(read_lines(file, lines, columns, options_of(options), labelled=labelled)))


def _has_a_row_each(lines: Sequence[str], columns: Mapping[str, str], mark: str) -> bool:
    """Tell a table with a sentence a row from one with a word a row, by a column of texts or lists of known name."""
    sample = [line for line in lines if line.strip()][:_LOOKED_AT]
    if not sample or "text" in columns:
        return bool(sample)
    mark = mark or max("\t,;", key=sample[0].count)
    try:
        header, *rows = csv.reader(
            sample, delimiter=mark, quoting=csv.QUOTE_NONE if mark == "\t" else csv.QUOTE_MINIMAL
        )
    except csv.Error:
        return False
    named = {*NAMES["words"], *NAMES["text"], *(value.lower() for role, value in columns.items() if role == "words")}
    tags = {*NAMES["tags"], *NAMES["spans"], *(value.lower() for role, value in columns.items() if role == "tags")}
    lower = [name.strip().lower() for name in header]
    for place, name in enumerate(lower):
        role = next((role for role, number in columns.items() if number == str(place)), "")
        values = [fields[place] for fields in ([header, *rows] if role else rows) if len(fields) > place]
        held = look_at(values)
        several = sum(len(value.split()) > 1 for value in values)
        if (name in named or role == "words") and (held.lists or 2 * several > len(values)):
            return True
        are_tags = role == "tags" or (name in tags and bool(set(lower) & named))
        if are_tags and (held.lists or held.spans or (held.spaced and held.tags)):
            return True
    return False


def _from_json(file: Path, columns: Mapping[str, str], *, labelled: bool, bad_utf8: BadUtf8) -> _Found:
    """Read JSON: the export of a label tool, or objects with lists or spans."""
    values = json_values(file, bad_utf8)
    for line, value in values:
        check_whole_characters(value, f"{file}:{line}")
    export = read_export(file, values, columns)
    if export is not None:
        remarks = [f"export of {export.tool}"]
        found = _items(file, export.rows, export.mapping, {role: role for role in export.mapping}, remarks)
        return replace(found, left_out=export.left_out(), unlabelled=True, form=export.tool)
    rows: list[tuple[int, Values]] = list(objects(file, values))
    names = list(rows[0][1]) if rows else []
    mapping = find_roles(file, names, columns, [row for _, row in rows])
    for line, row in rows:
        if missing := [name for name in mapping.values() if name not in row]:
            raise no_value(f"{file}:{line}", missing[0], row)
    found = _rows_or_words(file, rows, mapping, columns, labelled=labelled)
    return replace(found, form=format_suffix(file)[1:])


def _from_table(
    file: Path, columns: Mapping[str, str], options: Mapping[str, str], *, labelled: bool, bad_utf8: BadUtf8
) -> _Found:
    """Read a .parquet, a data set, or a .csv or .tsv with a sentence a row."""

    def opened() -> Any:
        return (
            open_dataset(file)
            if is_dataset(file)
            else open_rows(file, columns={**columns, **options}, bad_utf8=bad_utf8, ask=_ASK)
        )

    with opened() as table:
        names = list(table.columns)
        lower = {name.lower() for known in NAMES.values() for name in known}
        wanted = [name for name in names if name.lower() in lower or name in columns.values()]
        rows = [(line, dict(zip(wanted, values, strict=True))) for line, values in table.rows(wanted)] if wanted else []
    mapping = find_roles(file, names, columns, [row for _, row in rows])
    found = _rows_or_words(file, rows, mapping, columns, labelled=labelled)
    return replace(found, form="dataset" if is_dataset(file) else format_suffix(file)[1:])


def _rows_or_words(
    file: Path,
    rows: Sequence[tuple[int, Values]],
    mapping: Mapping[str, str],
    columns: Mapping[str, str],
    *,
    labelled: bool,
) -> _Found:
    """Make items of rows, of which each is a sentence, or a word of one."""
    if "sentence" not in mapping:
        return _items(file, rows, mapping, mapping, [])
    names = list(dict.fromkeys(mapping.values()))
    cut = [(line, ["" if row[name] is None else str(row[name]) for name in names]) for line, row in rows]
    grid = Grid(file, [cut], names, header=None)
    given = {role: name for role, name in mapping.items() if role in LINE_ROLES}
    return _Found(**vars(read_grid(grid, given, labelled=labelled)))


def _items(
    file: Path,
    rows: Sequence[tuple[int, Values]],
    mapping: Mapping[str, str],
    keys: Mapping[str, str],
    remarks: list[str],
) -> _Found:
    """Make items of rows that have their roles under these keys."""
    parts = [(line, {role: row.get(key) for role, key in keys.items()}) for line, row in rows]
    if "words" in mapping:
        held = {role: look_at(row[role] for _, row in parts) for role in keys}
        spaced = {role for role in held if held[role].spaced} if held["words"].spaced else set()
        if spaced and held.get("tags", held["words"]).single:
            spaced.add("tags")
        spaced |= {"tags"} if "tags" in held and held["tags"].spaced and held["words"].lists else set()
        lists = ListReader(file, spaced)
        return _Found([lists.read(line, row) for line, row in parts], dict(mapping), remarks)
    unit = unit_of(file, [(line, row.get("text"), row.get("spans")) for line, row in parts])
    reader = SpanReader(file, unit)
    items = [reader.read(line, row.get("text"), row.get("spans")) for line, row in parts]
    reader.warn()
    return _Found(items, dict(mapping), remarks)
