"""Tagged words from files: CoNLL columns, JSON lines and Parquet with lists of words, or with spans of characters.

The form is found by what is in a file, and said in one line together with the scheme of the tags, which become IOB2
(`entities.py`). Texts without words of their own are cut as BERT's basic tokenizer cuts them.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.data.entities import OUTSIDE, is_positioned, read_scheme
from bertie.data.hub import is_dataset, open_dataset
from bertie.data.items import Table, Words
from bertie.data.spans import SpanReader, cut_words
from bertie.errors import DataError, SettingsError
from bertie.files.compression import format_suffix
from bertie.files.rows import open_rows
from bertie.files.text import BadUtf8, open_text
from bertie.metrics.entities import entities
from bertie.registry import did_you_mean

# Names that say what a column holds, the likeliest first; compared in lower case.
_COLUMNS = {
    "words": ("tokens", "words"),
    "tags": ("tags", "ner_tags", "labels", "label", "pos_tags"),
    "text": ("text", "sentence", "content"),
    "spans": ("spans", "entities", "label", "labels"),
}
_MOST_NAMED = 8  # types or line numbers that a remark lists
_ROWS = (".jsonl", ".json", ".parquet")


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
    for role in columns or ():
        if role not in _COLUMNS:
            raise SettingsError(
                f"--columns {role}: a column is one of {', '.join(_COLUMNS)}; {did_you_mean(role, _COLUMNS)}"
            )
    read = _from_rows if is_dataset(file) or format_suffix(file) in _ROWS else _from_lines
    found = read(file, columns or {}, labelled, bad_utf8)
    if not found.items:
        raise DataError(f"{file} holds no sentences")
    bare = next((item for item in found.items if item.label is None), None)
    if labelled and bare is not None:
        raise DataError(
            f"{file}:{bare.line}: no tags here; give words with tags (CoNLL columns, or lists named tokens and tags) "
            "or texts with spans; say which they are by --columns words=NAME,tags=NAME"
        )
    items = _as_iob2(file, found)
    progress.note(_summary(file, replace(found, items=items)))
    return Table(file, items, found.mapping)


@dataclass(frozen=True)
class _Found:
    """What a file held, its tags as they stand there."""

    items: list[Words]
    mapping: dict[str, str]
    remarks: list[str] = field(default_factory=list)


def _as_iob2(file: Path, found: _Found) -> list[Words]:
    """Read the tags by the scheme that the file as a whole has."""
    tagged = [item for item in found.items if item.label is not None]
    if not tagged:
        return found.items
    by_line = "words" in found.mapping and found.mapping["words"].isdecimal()  # CoNLL: every word has a line

    def where(sentence: int, word: int) -> str:
        return f"{file}:{tagged[sentence].line + (word if by_line else 0)}"

    name, tags, odd = read_scheme([item.label or () for item in tagged], where)
    if odd:
        progress.warn(f"{file}: {odd}")
    if any(tags) and all(tag.isdecimal() for row in tags for tag in row):
        progress.warn(
            f"{file}: its tags are numbers, which say nothing of entities; give them names such as B-PER (a data set's "
            "Parquet file has them where it is read as hub:FOLDER:SPLIT)"
        )
    if "spans" not in found.mapping:
        found.remarks.append(f"tags are {name}{'' if name in ('IOB2', 'labels of words') else ', read as IOB2'}")
    renamed = iter(tags)
    return [item if item.label is None else replace(item, label=next(renamed)) for item in found.items]


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


def _from_lines(file: Path, columns: Mapping[str, str], labelled: bool, bad_utf8: BadUtf8) -> _Found:
    """Read CoNLL columns, or a .txt with one text a line."""
    with open_text(file, bad_utf8=bad_utf8) as stream:
        lines = [line.rstrip("\n") for line in stream]
    filled = [line for line in lines if line.strip(" \t") and not line.startswith("-DOCSTART-")]
    # A word that holds a space, or is a wide one, tells why only tabs part the fields where every line has some.
    split = _at_tabs if all("\t" in line for line in filled) else _at_blanks
    width = Counter(len(split(line)) for line in filled).most_common(1)[0][0] if filled else 0
    plain = format_suffix(file) == ".txt" and not labelled and not columns
    if plain and not _looks_tagged([split(line) for line in filled], has_gaps=len(filled) < len(lines)):
        texts = [replace(cut_words(line), line=number) for number, line in enumerate(lines, 1)]
        return _Found(texts, {"text": "text"})
    places = {"words": 0, "tags": width - 1} if width > 1 else {"words": 0}
    for role, name in columns.items():
        if role not in ("words", "tags") or not name.isdecimal() or int(name) >= width:
            raise SettingsError(
                f"--columns {role}={name}: {file} has columns 0 to {width - 1}, of words and tags, such as "
                f"words=0,tags={width - 1}"
            )
        places[role] = int(name)
    items, remarks = _sentences(file, lines, split, width, places)
    return _Found(items, {role: str(place) for role, place in places.items()}, remarks)


def _sentences(
    file: Path, lines: Sequence[str], split: Callable[[str], list[str]], width: int, places: Mapping[str, int]
) -> tuple[list[Words], list[str]]:
    """Gather the words between blank lines; comments may stand before the first."""
    items: list[Words] = []
    words: list[str] = []
    tags: list[str] = []
    num_documents = num_comments = 0
    misfits: list[tuple[int, int]] = []  # line, fields
    for number, line in enumerate([*lines, ""], 1):
        starts_document = line.startswith("-DOCSTART-")
        if starts_document or not line.strip(" \t"):
            num_documents += starts_document
            if words:
                label = tuple(tags) if "tags" in places else None
                items.append(Words(tuple(words), label, number - len(words)))
                words, tags = [], []
            continue
        fields = split(line)
        if len(fields) != width and line.startswith("#") and not words:
            num_comments += 1
        elif len(fields) != width:
            misfits.append((number, len(fields)))
        else:
            words.append(fields[places["words"]])
            tags.append(fields[places["tags"]] if "tags" in places else "")
    if misfits:
        (first, count), others = misfits[0], [str(number) for number, _ in misfits[1 : _MOST_NAMED + 1]]
        more = f" and {len(misfits) - 1:,} more such lines ({', '.join(others)}" if others else ""
        more += "" if not others else ", ...)" if len(misfits) > len(others) + 1 else ")"
        raise DataError(
            f"{file}:{first}: {count} fields{more}, most lines have {width}: a word, its tag at the line's end, and "
            "blank lines between sentences"
        )
    counted = {"documents": num_documents, "comments left out": num_comments}
    return items, [f"{count:,} {what}" for what, count in counted.items() if count]


def _at_tabs(line: str) -> list[str]:
    return line.split("\t")


def _at_blanks(line: str) -> list[str]:
    return re.split("[ \t]+", line.strip(" \t"))  # str.split would part at the wide space of Chinese texts too


def _looks_tagged(rows: Sequence[list[str]], *, has_gaps: bool) -> bool:
    """Tell columns from running text: as many fields in every line, the last of them a tag or one of a few values."""
    if not rows or len({len(fields) for fields in rows}) > 1 or len(rows[0]) < 2:
        return False
    last = {fields[-1] for fields in rows}
    return all(tag == OUTSIDE or is_positioned(tag) for tag in last) or (has_gaps and 4 * len(last) <= len(rows))


def _from_rows(file: Path, columns: Mapping[str, str], labelled: bool, bad_utf8: BadUtf8) -> _Found:
    """Read a .jsonl, a .parquet or a data set."""
    with open_dataset(file) if is_dataset(file) else open_rows(file, bad_utf8=bad_utf8) as table:
        mapping = _roles(file, table.columns, columns)
        rows = [(line, dict(zip(mapping, values, strict=True))) for line, values in table.rows(list(mapping.values()))]
    if "words" in mapping:
        return _Found([_listed(f"{file}:{line}", line, values) for line, values in rows], mapping)
    reader = SpanReader(file)
    items = [reader.read(line, values["text"], values.get("spans")) for line, values in rows]
    reader.warn()
    return _Found(items, mapping)


def _roles(file: Path, names: Sequence[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Say which columns hold words and tags, or texts and spans."""
    for name in columns.values():
        if name not in names and names:
            raise SettingsError(
                f"{file} has no column {name!r}; it has {', '.join(names)}; {did_you_mean(name, names)}"
            )
    if columns and names:
        if (
            ("words" in columns) == ("text" in columns)
            or {"words", "spans"} <= set(columns)
            or {"text", "tags"} <= set(columns)
        ):
            raise SettingsError("--columns must say words=NAME,tags=NAME or text=NAME,spans=NAME")
        return dict(columns)
    lower = {name.lower(): name for name in reversed(names)}
    known = {role: next((lower[name] for name in names if name in lower), "") for role, names in _COLUMNS.items()}
    for roles in (("words", "tags"), ("text", "spans"), ("words",), ("text",)):
        if all(known[role] for role in roles):
            return {role: known[role] for role in roles}
    if not names:
        return {}
    raise DataError(
        f"{file}: none of its columns holds words or texts by its name ({', '.join(names)}); say --columns "
        "words=NAME,tags=NAME or text=NAME,spans=NAME"
    )


def _listed(where: str, line: int, values: Mapping[str, Any]) -> Words:
    """Make an item of a list of words and a list of tags."""
    words, tags = values["words"], values.get("tags")
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise DataError(f"{where}: words are a list of strings; this is {words!r:.60}")
    if tags is None:
        return Words(tuple(words), None, line)
    if not isinstance(tags, list) or not all(isinstance(tag, str | int) for tag in tags):
        raise DataError(f"{where}: tags are a list of strings, one for each word; this is {tags!r:.60}")
    if len(tags) != len(words):
        raise DataError(f"{where}: {len(tags)} tags for {len(words)} words; give each word one")
    return Words(tuple(words), tuple(str(tag) for tag in tags), line)
