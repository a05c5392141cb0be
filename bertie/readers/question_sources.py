"""Find the parts of questions in a file: in SQuAD's nested JSON, or in the columns of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bertie.errors import DataError, SettingsError
from bertie.files.compression import format_suffix
from bertie.readers.hub import is_dataset, open_dataset
from bertie.readers.json_values import json_values
from bertie.readers.roles import check_one_role, no_column
from bertie.registry import did_you_mean
from bertie.tables.delimited import OPTIONS
from bertie.tables.table import Rows, open_rows

# Names of each part of a question in files, the most likely first. Names are compared in lower case.
NAMES: Final = {
    "question": ("question", "query", "query_text", "question_text"),
    "context": ("context", "context_text", "passage", "paragraph", "document"),
    "answers": ("answers", "answer", "answer_text", "answers.text", "answer.text", "answers_text"),
    "start": ("answer_start", "start", "answers.answer_start", "answer.answer_start", "answer_starts", "answers_start"),
    "end": ("answer_end", "end", "answers.answer_end", "answer.answer_end"),
    "id": ("id", "query_id", "qid", "question_id"),
    "impossible": ("is_impossible", "impossible", "isimpossible", "unanswerable", "is_unanswerable"),
    "answerable": ("answerable", "is_answerable", "has_answer", "has_ans", "is_possible"),
}
_ALONE = ("question", "context", "answers")  # parts with only one column


@dataclass
class Raw:
    """A question as it is in its file."""

    question: Any
    context: Any
    answers: Any
    """None or NaN if the file doesn't give them."""
    start: Any
    end: Any
    id: str
    impossible: Any
    answerable: Any
    line: int
    where: str
    """For messages: the file with the line or the question's id."""


@dataclass(frozen=True)
class Source:
    """The questions of a file."""

    form: str
    mapping: dict[str, str]
    raws: Iterable[Raw]


_ASK = "--columns context=NAME,question="


def json_source(file: Path, columns: Mapping[str, str] | None) -> Source:
    """Read JSON: articles with paragraphs and questions, or flat objects, in one list or one a line.

    Raises:
        SettingsError: columns are set for a nested file, or don't exist.
        DataError: the JSON has another structure.
    """
    values = json_values(file)
    if not values:
        raise DataError(f"{file} is empty")
    root = values[0][1]
    if len(values) == 1 and isinstance(root, dict) and not {"paragraphs", "qas", *NAMES["question"]} & set(root):
        data = root.get("data")
        if isinstance(data, list):
            values = list(enumerate(data, 1))
        elif not columns and format_suffix(file) != ".jsonl":
            raise DataError(
                f"{file}: a file of questions must be a list, or an object with a list named data as in SQuAD"
            )
    if values and isinstance(values[0][1], dict) and "header" in values[0][1] and len(values[0][1]) == 1:
        values = values[1:]  # MRQA's files begin with a header line
    nested = any(isinstance(value, dict) and {"paragraphs", "qas"} & set(value) for _, value in values)
    if nested:
        if columns:
            raise SettingsError(f"{file}: a .json in SQuAD's format has no columns; leave --columns out")
        return Source("squad", {part: part for part in _ALONE}, _nested(file, values))
    for number, value in values:
        if not isinstance(value, dict):
            raise DataError(f"{file}: article {number}: expected an object; got {value!r:.60}")
    if not values:
        return Source("json", {}, [])
    header = list(dict.fromkeys(name for _, row in values for name in row))
    mapping = _mapping(file, header, columns, [row for _, row in values])
    rows = ((line, [row.get(name) for name in mapping.values()]) for line, row in values)
    return Source(format_suffix(file)[1:], mapping, _flat(file, mapping, rows))


def table_source(file: Path, columns: Mapping[str, str] | None) -> Source:
    """Read a table that isn't JSON, or a data set.

    Raises:
        SettingsError: a column doesn't exist.
        DataError: the file is empty, or no column is recognised.
    """
    settings = columns or {}
    columns = {part: name for part, name in settings.items() if part not in OPTIONS}

    def opened() -> Rows:
        return open_dataset(file) if is_dataset(file) else open_rows(file, columns=settings, ask=_ASK)

    with opened() as table:
        header = list(table.columns)
        if not header:
            raise DataError(f"{file} is empty")
        doubled = [
            name
            for part in _ALONE
            if len(candidates := [name for name in header if name.lower() in NAMES[part]]) > 1
            for name in candidates
        ]
        sample = [dict(zip(doubled, values, strict=True)) for _, values in table.rows(doubled)] if doubled else []
    mapping = _mapping(file, header, columns, sample)

    def rows() -> Iterator[tuple[int, Sequence[Any]]]:
        with opened() as table:
            yield from table.rows(list(mapping.values()))

    return Source("dataset" if is_dataset(file) else format_suffix(file)[1:], mapping, _flat(file, mapping, rows()))


def _flat(file: Path, mapping: Mapping[str, str], rows: Iterable[tuple[int, Sequence[Any]]]) -> Iterator[Raw]:
    """Yield the questions of a table, row by row."""
    indices = {part: index for index, part in enumerate(mapping)}

    for line, values in rows:
        named: dict[str, Any] = {part: values[indices[part]] if part in indices else None for part in NAMES}
        named["id"] = "" if named["id"] is None else str(named["id"])
        yield Raw(**named, line=line, where=f"{file}:{line}")


def _nested(file: Path, articles: Sequence[tuple[int, Any]]) -> Iterator[Raw]:
    """Yield the questions of a SQuAD, CMRC or MRQA file."""
    number = 0
    for index, article in articles:
        for paragraph in _parts(article, "paragraphs", f"{file}: article {index}"):
            for entry in _parts(paragraph, "qas", f"{file}: article {index}"):
                number += 1
                named: dict[str, Any] = {part: _named(entry, part) for part in NAMES}
                named["context"] = _named(entry if entry is paragraph else paragraph, "context")
                named["id"] = "" if named["id"] is None else str(named["id"])
                yield Raw(**named, line=0, where=f"{file}: question {named['id'] or number}")


def _parts(value: Any, name: str, where: str) -> Iterable[Any]:
    """Return the objects listed under a name, or the object itself if that level is missing."""
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected an object; got {value!r:.60}")
    parts = value.get(name, [value])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise DataError(f"{where}: {name} must be a list of objects; got {parts!r:.60}")
    return parts


def _named(values: Mapping[str, Any], part: str) -> Any:
    """Return a part of a question, under the first of its names that exists."""
    return next((values[name] for name in NAMES[part] if name in values), None)


def _mapping(
    file: Path, header: Sequence[str], columns: Mapping[str, str] | None, rows: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Find the column of each part.

    Raises:
        SettingsError: a column or a part doesn't exist.
        DataError: no column is recognised, or two that may be one part have different values.
    """
    check_one_role(columns or {})
    for part, name in (columns or {}).items():
        if part not in NAMES:
            raise SettingsError(f"--columns {part}={name}: {did_you_mean(part, NAMES)}")
        if name not in header:
            raise no_column(file, name, header)
    by_name = {name.lower(): name for name in reversed(header)}
    candidates = {part: [by_name[name] for name in names if name in by_name] for part, names in NAMES.items()}
    mapping = dict(columns) if columns else {part: names[0] for part, names in candidates.items() if names}
    missing = [part for part in ("question", "context") if part not in mapping]
    if missing:
        raise DataError(
            f"{file}: can't tell which column holds the {missing[0]} ({', '.join(header)}); set "
            "--columns question=NAME,context=NAME,answers=NAME"
        )
    if columns:
        return mapping
    for part in _ALONE:
        first, *others = candidates[part] or [""]
        for other in others:
            if any(row.get(first) != row.get(other) for row in rows):
                raise DataError(
                    f"{file}: the columns {first!r} and {other!r} may both hold the {part}; choose one: --columns "
                    f"question={mapping['question']},context={mapping['context']},answers="
                    f"{mapping.get('answers', 'NAME')}"
                )
    return mapping
