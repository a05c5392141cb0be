"""Read tagged words from files: CoNLL columns, tables with lists of words, or with spans of characters.

The content of a file shows its form. One line states it together with the scheme of the tags, which become IOB2
(`entities.py`). Texts without a list of words are cut like BERT's basic tokenizer cuts them.
"""

import csv
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.files.compression import format_suffix
from bertie.files.text import BadUtf8, open_text
from bertie.items.words import Words
from bertie.readers.conll import ROLES as LINE_ROLES
from bertie.readers.conll import Lines, is_tagged, read_grid, read_lines
from bertie.readers.conll_lines import Grid
from bertie.readers.entities import read_scheme
from bertie.readers.hub import is_dataset, open_dataset
from bertie.readers.json_values import JSON, json_values, objects
from bertie.readers.label_tools import read_export
from bertie.readers.offsets import CHARACTERS
from bertie.readers.reading import LeftOut, Reading, Table, first_few
from bertie.readers.roles import check_one_role
from bertie.readers.spans import WORDS, SpanReader, counts_words, cut_words, unit_of
from bertie.readers.word_rows import NAMES, ListReader, Values, find_roles, look_at
from bertie.registry import did_you_mean
from bertie.tables import delimited
from bertie.tables.delimited import OPTIONS, options_of
from bertie.tables.table import no_value, open_rows, suffixes
from bertie.untrusted import check_whole_characters

_MOST_NAMED = 8  # types or line numbers that a remark lists at most
_ENDS = {".", "!", "?", "。", "！", "？", "।", "؟"}
_ASK = "--columns tags=NAME,words="
_SAMPLE_LINES = 50  # of a .csv or .tsv, to see whether a row is a word or a sentence


def read_words(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    labelled: bool = False,
    bad_utf8: BadUtf8 = "stop",
    overlapping: bool = False,
) -> Table[Words]:
    """Read sentences with their words and, if the file has them, their tags.

    Args:
        path: a file with any name: one word a line with its tag in the last column and blank lines between sentences
            (CoNLL); a table (`tables/`) with lists of words and tags or spans, or with texts and spans; .txt, one text
            a line, without tags; also compressed. Or a data set (`readers/hub.py`).
        columns: words, tags, text or spans to column name, or to its number from 0 in CoNLL; None: detect them.
        labelled: whether every word needs a tag.
        bad_utf8: what to do with bytes that are not UTF-8.
        overlapping: whether to keep spans that overlap, in `Words.spans`; otherwise the shorter ones are dropped.

    Raises:
        SettingsError: the file or a named column doesn't exist.
        DataError: the file has no sentences or no tags, words and tags differ in number, or the tags fit no scheme.
    """
    file = Path(path)
    roles = {role: name for role, name in (columns or {}).items() if role not in OPTIONS}
    options = {name: value for name, value in (columns or {}).items() if name in OPTIONS}
    check_one_role(roles)
    for role in roles:
        if role not in NAMES:
            raise SettingsError(f"--columns {role}: a column is one of {', '.join(NAMES)}; {did_you_mean(role, NAMES)}")
    content = _read(file, roles, options, _How(labelled, bad_utf8, overlapping))
    if not content.items:
        raise DataError(f"{file} holds no sentences")
    if labelled and content.unlabelled:  # the export of a label tool may be labelled in part
        bare = [item for item in content.items if item.label is None]
        if 0 < len(bare) < len(content.items):
            content.left_out += (LeftOut.of("not labelled", [(item.line, item.text) for item in bare]),)
            content.items = [item for item in content.items if item.label is not None]
    missing = next((item for item in content.items if item.label is None), None)
    if labelled and missing is not None:
        raise DataError(
            f"{file}:{missing.line}: no tags here; the file needs words with tags (CoNLL columns, or lists named "
            "tokens and tags) or texts with spans; name their columns: --columns words=NAME,tags=NAME"
        )
    _warn_of_defects(file, content)
    items, scheme = _as_iob2(file, content)
    content.items = items
    for left in content.left_out:
        progress.warn(f"{file}: {left}")
    progress.note(_summary(file, content))
    reading = Reading(
        str(file),
        form=content.form,
        header=content.header,
        columns=content.mapping,
        labels=scheme,
        rows=len(items),
        left_out=content.left_out,
        remarks=tuple(content.remarks),
        options=options,
    )
    return Table(file, items, content.mapping, reading)


@dataclass(frozen=True)
class _How:
    """The arguments of `read_words` that don't depend on the file."""

    labelled: bool
    bad_utf8: BadUtf8
    overlapping: bool


@dataclass
class _Content(Lines):
    """The content of a file, with its tags in their original scheme."""

    left_out: tuple[LeftOut, ...] = ()
    unlabelled: bool = False
    """Whether items may lack tags while others have them, as in the export of a label tool."""


def _warn_of_defects(file: Path, content: _Content) -> None:
    """Warn of words without visible characters, which no model can see, and of a file without sentence ends."""
    distinct = {word for item in content.items for word in item.words}
    hidden = {word for word in distinct if not any(unicodedata.category(one)[0] in "LMNPS" for one in word)}
    lines = [
        content.places[number][index] if content.places else item.line
        for number, item in enumerate(content.items if hidden else [])
        for index, word in enumerate(item.words)
        if word in hidden
    ]
    if lines:
        progress.warn(
            f"{file}: {len(lines):,} words are empty, or have only spaces and invisible characters "
            f"(lines {first_few(lines, _MOST_NAMED)}); a model can't see them; remove them with their tags"
        )
    if content.places and len(content.items) == 1 and _ENDS & set(content.items[0].words[:-1]):
        progress.warn(
            f"{file}: all {len(content.items[0].words):,} words form one sentence, because no blank line or column "
            "separates sentences; put blank lines between sentences, or name the column that numbers them: "
            "--columns sentence=NAME"
        )


def _as_iob2(file: Path, content: _Content) -> tuple[list[Words], str]:
    """Read the tags by the scheme of the whole file; return the items and the name of the scheme."""
    tagged = [number for number, item in enumerate(content.items) if item.label is not None]
    if not tagged:
        return content.items, ""

    def where(sentence: int, word: int) -> str:
        number = tagged[sentence]
        return f"{file}:{content.places[number][word] if content.places else content.items[number].line}"

    name, tags, remark = read_scheme([content.items[number].label or () for number in tagged], where)
    if remark:
        progress.warn(f"{file}: {remark}")
    if any(tags) and all(tag.isdecimal() for row in tags for tag in row):
        progress.warn(
            f"{file}: the tags are numbers, which don't name entities; replace them by names such as B-PER (a data "
            "set's Parquet file has the names if it is read as hub:FOLDER:SPLIT)"
        )
    if "spans" not in content.mapping:
        content.remarks.append(f"tags are {name}{'' if name in ('IOB2', 'labels of words') else ', read as IOB2'}")
    renamed = dict(zip(tagged, tags, strict=True))
    items = [
        replace(item, label=renamed[number]) if number in renamed else item for number, item in enumerate(content.items)
    ]
    return items, "spans" if "spans" in content.mapping else name


def _summary(file: Path, content: _Content) -> str:
    """Return one line about what was read."""
    num_words = sum(len(item.words) for item in content.items)
    parts = [f"{len(content.items):,} sentences", f"{num_words:,} words"]
    parts += [f"{role} from column {name!r}" for role, name in content.mapping.items()]
    types = Counter(span.label for item in content.items for span in item.labelled_spans() or ())
    if types:
        named = ", ".join(f"{label} {count:,}" for label, count in types.most_common(_MOST_NAMED))
        more = f" and {len(types) - _MOST_NAMED} more types" if len(types) > _MOST_NAMED else ""
        content.remarks.append(f"{types.total():,} entities ({named}{more})")
    return f"{file}: {', '.join([*parts, *content.remarks])}"


def _read(file: Path, columns: Mapping[str, str], options: Mapping[str, str], how: _How) -> _Content:
    """Read a file of any form."""
    suffix = format_suffix(file)
    if suffix == ".ann":
        raise SettingsError(
            f"{file}: brat keeps its annotations in a separate file; export them as CoNLL, or as .jsonl with text and "
            "spans"
        )
    if suffix in JSON:
        return _from_json(file, columns, how)
    may_have_words = delimited.FORMAT.suffixes  # whose rows may be words, as in CoNLL
    if is_dataset(file) or (suffix in suffixes() and suffix not in may_have_words):
        return _from_table(file, columns, options, how)
    with open_text(file, bad_utf8=how.bad_utf8) as stream:
        lines = [line.rstrip("\n") for line in stream]
    if suffix in may_have_words and _has_sentence_rows(lines, columns, options_of(options).get("delimiter", "")):
        return _from_table(file, columns, options, how)
    if suffix == ".txt" and not how.labelled and not columns and not is_tagged(lines):
        texts = [replace(cut_words(line), line=number) for number, line in enumerate(lines, 1)]
        return _Content(texts, {"text": "text"}, form="txt")
    if role := next((role for role in columns if role not in LINE_ROLES), ""):
        raise SettingsError(
            f"--columns {role}={columns[role]}: {file} has one word a line; name its columns of words and tags, such "
            "as words=0,tags=1"
        )
    return _Content(**vars(read_lines(file, lines, columns, options_of(options), labelled=how.labelled)))


def _has_sentence_rows(lines: Sequence[str], columns: Mapping[str, str], mark: str) -> bool:
    """Check whether a row is a sentence and not a word: a column with a typical name holds texts or lists."""
    sample = [line for line in lines if line.strip()][:_SAMPLE_LINES]
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
    for index, name in enumerate(lower):
        role = next((role for role, number in columns.items() if number == str(index)), "")
        values = [fields[index] for fields in ([header, *rows] if role else rows) if len(fields) > index]
        contents = look_at(values)
        several = sum(len(value.split()) > 1 for value in values)
        if (name in named or role == "words") and (contents.lists or 2 * several > len(values)):
            return True
        are_tags = role == "tags" or (name in tags and bool(set(lower) & named))
        if are_tags and (contents.lists or contents.spans or (contents.spaced and contents.tags)):
            return True
    return False


def _from_json(file: Path, columns: Mapping[str, str], how: _How) -> _Content:
    """Read JSON: the export of a label tool, or objects with lists or spans."""
    values = json_values(file, how.bad_utf8)
    for line, value in values:
        check_whole_characters(value, f"{file}:{line}")
    export = read_export(file, values, columns)
    if export is not None:
        remarks = [f"export of {export.tool}"]
        content = _items(file, export.rows, export.mapping, {role: role for role in export.mapping}, how, remarks)
        return replace(content, left_out=export.left_out(), unlabelled=True, form=export.tool)
    rows: list[tuple[int, Values]] = list(objects(file, values))
    names = list(rows[0][1]) if rows else []
    mapping = find_roles(file, names, columns, [row for _, row in rows])
    for line, row in rows:
        if missing := [name for name in mapping.values() if name not in row]:
            raise no_value(f"{file}:{line}", missing[0], row)
    content = _rows_or_words(file, rows, mapping, how)
    return replace(content, form=format_suffix(file)[1:])


def _from_table(file: Path, columns: Mapping[str, str], options: Mapping[str, str], how: _How) -> _Content:
    """Read a data set, or a table with one sentence a row that isn't JSON."""

    def opened() -> Any:
        return (
            open_dataset(file)
            if is_dataset(file)
            else open_rows(file, columns={**columns, **options}, bad_utf8=how.bad_utf8, ask=_ASK)
        )

    with opened() as table:
        names = list(table.columns)
        lower = {name.lower() for known in NAMES.values() for name in known}
        wanted = [name for name in names if name.lower() in lower or name in columns.values()]
        rows = [(line, dict(zip(wanted, values, strict=True))) for line, values in table.rows(wanted)] if wanted else []
    mapping = find_roles(file, names, columns, [row for _, row in rows])
    content = _rows_or_words(file, rows, mapping, how)
    return replace(content, form="dataset" if is_dataset(file) else format_suffix(file)[1:])


def _rows_or_words(file: Path, rows: Sequence[tuple[int, Values]], mapping: Mapping[str, str], how: _How) -> _Content:
    """Make items of rows; a row is a sentence or one of its words."""
    if "sentence" not in mapping:
        return _items(file, rows, mapping, mapping, how, [])
    names = list(dict.fromkeys(mapping.values()))
    cut = [(line, ["" if row[name] is None else str(row[name]) for name in names]) for line, row in rows]
    grid = Grid(file, [cut], names, header=None)
    roles = {role: name for role, name in mapping.items() if role in LINE_ROLES}
    return _Content(**vars(read_grid(grid, roles, labelled=how.labelled)))


def _items(
    file: Path,
    rows: Sequence[tuple[int, Values]],
    mapping: Mapping[str, str],
    keys: Mapping[str, str],
    how: _How,
    remarks: list[str],
) -> _Content:
    """Make items of rows; `keys` maps each role to its key in a row."""
    parts = [(line, {role: row.get(key) for role, key in keys.items()}) for line, row in rows]
    if "words" in mapping:
        contents = {role: look_at(row[role] for _, row in parts) for role in keys}
        spaced = {role for role in contents if contents[role].spaced} if contents["words"].spaced else set()
        if spaced and contents.get("tags", contents["words"]).single:
            spaced.add("tags")
        spaced |= {"tags"} if "tags" in contents and contents["tags"].spaced and contents["words"].lists else set()
        lists = ListReader(file, spaced)
        items = [lists.read(line, row) for line, row in parts]
        if "spans" in mapping:
            in_words = counts_words(file, [(line, row["words"], row["spans"]) for line, row in parts])
            remarks.append(f"offsets count {'words' if in_words else 'characters of the words joined by spaces'}")
            reader = SpanReader(file, WORDS if in_words else CHARACTERS, overlapping=how.overlapping)
            items = [reader.label(item, row["spans"]) for item, (_, row) in zip(items, parts, strict=True)]
            reader.warn()
        return _Content(items, dict(mapping), remarks)
    unit = unit_of(file, [(line, row.get("text"), row.get("spans")) for line, row in parts])
    reader = SpanReader(file, unit, overlapping=how.overlapping)
    items = [reader.read(line, row.get("text"), row.get("spans")) for line, row in parts]
    reader.warn()
    return _Content(items, dict(mapping), remarks)
