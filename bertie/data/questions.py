"""Questions about contexts: SQuAD 1.1 and 2.0 and CMRC 2018 files, and tables with a row for each question.

An answer's text must stand at its offset, for a model learns places. One that doesn't is moved where its text occurs
once; else it keeps its text, which scores go by, and has no place, so that nothing is learned from it. All that is
counted and said.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.data.hub import is_dataset, open_dataset
from bertie.data.items import Answer, Question, Table
from bertie.errors import DataError, SettingsError
from bertie.files.compression import COMPRESSIONS, ByteStream, format_suffix
from bertie.files.rows import SUFFIXES, Rows, open_rows
from bertie.registry import did_you_mean

# What a part of a question is called in files, the likeliest name first; compared in lower case.
_NAMES = {
    "question": ("question", "query", "query_text", "question_text"),
    "context": ("context", "context_text", "passage", "paragraph", "document"),
    "answers": ("answers", "answer", "answer_text"),
    "start": ("answer_start", "start"),
    "id": ("id", "query_id", "qid", "question_id"),
}
_SHOWN = 3  # places that a warning names


@dataclass
class _Raw:
    """A question as its file has it."""

    question: Any
    context: Any
    answers: Any
    """None, or NaN, where nothing is said."""
    start: Any
    id: str
    line: int
    where: str
    """For messages: the file, and the line or the question's id."""


@dataclass
class _Places:
    """How often something was found, and where first."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, raw: _Raw) -> None:
        self.count += 1
        place = raw.id or (f"line {raw.line}" if raw.line else raw.where)
        if len(self.first) < _SHOWN and place not in self.first:
            self.first.append(place)

    def __str__(self) -> str:
        return f"{', '.join(self.first)}{', ...' if self.count > len(self.first) else ''}"


class _Findings:
    """What was wrong with the answers of a file."""

    def __init__(self) -> None:
        self.blank, self.moved, self.lost, self.bare = _Places(), _Places(), _Places(), _Places()
        self.repeated = _Places()
        self.ids: set[str] = set()

    def say(self, file: Path) -> None:
        """Write one warning for each kind of trouble."""
        if self.blank.count:
            progress.warn(f"{file}: questions without text: {self.blank.count:,}, kept as they are ({self.blank})")
        if self.repeated.count:
            progress.warn(
                f"{file}: questions that have the id of an earlier one: {self.repeated.count:,} ({self.repeated}); "
                "programs that look answers up by id will mix them up"
            )
        if self.moved.count:
            progress.warn(
                f"{file}: answers that don't stand at their offset and were moved to the only place where their text "
                f"occurs: {self.moved.count:,} ({self.moved})"
            )
        if self.lost.count:
            progress.warn(
                f"{file}: answers that don't stand at their offset, and whose text occurs nowhere or several times in "
                f"the context: {self.lost.count:,}; scores count them, nothing is learned from them ({self.lost})"
            )
        if self.bare.count:
            progress.warn(
                f"{file}: questions that have no other answer and are left out of training: {self.bare.count:,} "
                f"({self.bare})"
            )


def read_questions(
    path: str | Path, *, columns: Mapping[str, str] | None = None, labelled: bool = False
) -> Table[Question]:
    """Read questions with their contexts and answers into memory; questions of one context share its text.

    Args:
        path: .json as SQuAD 1.1, SQuAD 2.0 or CMRC 2018 has it; or a .jsonl, .parquet, .csv or .tsv with columns for
            question, context and answers (`{"text": [...], "answer_start": [...]}` as on the hub, or one string).
            All may be compressed. Or a data set (`data/hub.py`).
        columns: part (question, context, answers, start, id) to column name; found by their names when None.
        labelled: whether every question needs its answers, be it an empty list for one that has none.

    Raises:
        SettingsError: no such file, a kind of file that holds no questions, or a column it doesn't have.
        DataError: a broken or empty file, or a question that lacks its text, context or, where needed, answers.
    """
    file = Path(path)
    suffix = format_suffix(file)
    if suffix == ".json":
        if columns:
            raise SettingsError(f"{file}: a .json as SQuAD has it has no columns; leave --columns out")
        mapping, source = {"question": "question", "context": "context", "answers": "answers"}, _from_json(file)
    elif suffix in SUFFIXES or is_dataset(file):
        mapping = _mapping(file, columns)
        source = _from_rows(file, mapping)
    else:
        known = ", ".join((".json", *SUFFIXES))
        raise SettingsError(
            f"{file}: questions are read from {known}, each also with {', '.join(COMPRESSIONS)} behind it"
        )
    findings, contexts = _Findings(), dict[str, str]()
    items = [_question(raw, findings, contexts, labelled=labelled) for raw in source]
    if not items:
        raise DataError(f"{file} holds no questions")
    without = sum(item.label == () for item in items)
    progress.note(f"{file}: {len(items):,} questions about {len(contexts):,} contexts, {without:,} without an answer")
    findings.say(file)
    return Table(file, items, mapping)


def locate(context: str, text: str, start: int | None = None) -> int:
    """Return the first character of an answer: at `start` if it stands there, else its only occurrence, else -1."""
    if start is not None and start >= 0 and context.startswith(text, start):
        return start
    found = context.find(text)
    return found if found >= 0 and context.find(text, found + 1) < 0 else -1


def _question(raw: _Raw, findings: _Findings, contexts: dict[str, str], *, labelled: bool) -> Question:
    """Check a question and find the places of its answers."""
    text = _text(raw.question, "question", raw)
    if not text.strip():
        findings.blank.add(raw)
    if raw.id and raw.id in findings.ids:
        findings.repeated.add(raw)
    findings.ids.add(_text(raw.id, "id", raw))
    whole = _text(raw.context, "context", raw)
    context = contexts.setdefault(whole, whole)
    if raw.answers is None or raw.answers != raw.answers:
        if labelled:
            raise DataError(
                f"{raw.where}: nothing is said of its answers; give their texts, or an empty list if there is none"
            )
        return Question(text, context, None, raw.id, raw.line)
    label = []
    for words, start in _answers(raw.answers, raw.start, raw):
        if not words:  # an empty text is how some tables write that there is none
            continue
        place = locate(context, words, start)
        if place < 0 and (bare := words.strip()) and locate(context, bare) >= 0:
            words, place = bare, locate(context, bare)
        if place < 0 or not words.strip():  # a model can point at nothing where there are only spaces
            place = -1
            findings.lost.add(raw)
        elif start is not None and place != start:
            findings.moved.add(raw)
        label.append(Answer(words, place))
    if label and all(answer.start < 0 for answer in label):
        findings.bare.add(raw)
    return Question(text, context, tuple(label), raw.id, raw.line)


def _text(value: Any, part: str, raw: _Raw) -> str:
    if not isinstance(value, str):
        said = "is missing" if value is None else f"is {value!r:.60}, which is no text"
        raise DataError(f"{raw.where}: the {part} {said}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{raw.where}: the {part} holds half a character (a lone surrogate), which is no text"
        ) from error
    return value


def _answers(value: Any, start: Any, raw: _Raw) -> Iterator[tuple[str, int | None]]:
    """Yield the text and the given offset of every answer, whatever form they have."""
    if isinstance(value, str) and value.lstrip().startswith("{"):  # a cell of a .csv that holds what the hub's rows do
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{raw.where}: the answers begin with a brace and are no JSON ({error})") from error
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        starts = value.get("answer_start", [None] * len(value["text"]))
        if not isinstance(starts, list) or len(starts) != len(value["text"]):
            raise DataError(f"{raw.where}: {len(value['text'])} answers and other offsets than these: {starts!r:.60}")
        value = [{"text": text, "answer_start": place} for text, place in zip(value["text"], starts, strict=True)]
    for answer in value if isinstance(value, list | tuple) else [value]:
        if isinstance(answer, dict):
            words, place = answer.get("text"), answer.get("answer_start")
        else:
            words, place = answer, start
        if isinstance(words, int | float) and not isinstance(words, bool):
            words = str(words)
        yield _text(words, "answer", raw), _offset(place, raw)


def _offset(value: Any, raw: _Raw) -> int | None:
    """Return an offset as a number; None where there is none."""
    if value is None or value == "":
        return None
    try:
        number = float(value)
        whole = int(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{raw.where}: the answer's offset is {value!r:.60}, which is no number") from error
    if isinstance(value, bool) or whole != number:
        raise DataError(f"{raw.where}: the answer's offset is {value!r:.60}, which is no whole number")
    return whole


def _from_json(file: Path) -> Iterator[_Raw]:
    """Yield the questions of a SQuAD or CMRC file, or of a list of flat rows.

    Raises:
        DataError: JSON of another shape, and where.
    """
    root = _load(file)
    articles = root.get("data") if isinstance(root, dict) else root
    if not isinstance(articles, list):
        raise DataError(f"{file}: a file of questions is a list, or an object with a list named data, as SQuAD has it")
    number = 0
    for place, article in enumerate(articles, 1):
        for paragraph in _parts(article, "paragraphs", f"{file}: article {place}"):
            for entry in _parts(paragraph, "qas", f"{file}: article {place}"):
                number += 1
                name = _named(entry, "id")
                known = "" if name is None else str(name)
                answers = () if entry.get("is_impossible") is True else _named(entry, "answers")
                context = _named(entry if entry is paragraph else paragraph, "context")
                where = f"{file}: question {known or number}"
                yield _Raw(_named(entry, "question"), context, answers, _named(entry, "start"), known, 0, where)


def _load(file: Path) -> Any:
    # One value may fill the whole file, often on one line; it is parsed as a whole.
    with ByteStream(file) as stream, BufferedReader(stream) as reader:
        data = reader.read()
    if not data.strip():
        raise DataError(f"{file} is empty")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is not UTF-8 at byte {error.start}") from error
    except RecursionError as error:
        raise DataError(f"{file}: this JSON is nested too deeply") from error
    except ValueError as error:
        lines = "; with one object a line, call it .jsonl" if "Extra data" in str(error) else ""
        raise DataError(f"{file}: this is no valid JSON ({error}){lines}") from error


def _parts(value: Any, name: str, where: str) -> Iterable[Any]:
    """Return the objects listed under a name; the object itself where that level is left out."""
    if not isinstance(value, dict):
        raise DataError(f"{where}: an object was expected; got {value!r:.60}")
    parts = value.get(name, [value])
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise DataError(f"{where}: {name} must be a list of objects; got {parts!r:.60}")
    return parts


def _named(values: Mapping[str, Any], part: str) -> Any:
    """Return a part of a question under the first of its names that is there."""
    return next((values[name] for name in _NAMES[part] if name in values), None)


def _open(file: Path) -> Rows:
    return open_dataset(file) if is_dataset(file) else open_rows(file)


def _mapping(file: Path, columns: Mapping[str, str] | None) -> dict[str, str]:
    """Find which column holds which part.

    Raises:
        SettingsError: a column or a part that there isn't.
        DataError: an empty file, or columns of unknown names.
    """
    with _open(file) as table:
        header = list(table.columns)
    if not header:
        raise DataError(f"{file} is empty")
    for part, name in (columns or {}).items():
        if part not in _NAMES:
            raise SettingsError(f"--columns {part}={name}: {did_you_mean(part, _NAMES)}")
        if name not in header:
            raise SettingsError(
                f"{file} has no column {name!r}; it has {', '.join(header)}; {did_you_mean(name, header)}"
            )
    by_name = {name.lower(): name for name in reversed(header)}
    found = {part: by_name[name] for part, names in _NAMES.items() for name in reversed(names) if name in by_name}
    mapping = dict(columns) if columns else found
    missing = [part for part in ("question", "context") if part not in mapping]
    if missing:
        raise DataError(
            f"{file}: can't tell which column holds the {missing[0]} ({', '.join(header)}); say "
            "--columns question=NAME,context=NAME,answers=NAME"
        )
    return mapping


def _from_rows(file: Path, mapping: Mapping[str, str]) -> Iterator[_Raw]:
    """Yield the questions of a table, row by row."""
    places = {part: place for place, part in enumerate(mapping)}

    def value(values: Sequence[Any], part: str) -> Any:
        return values[places[part]] if part in places else None

    with _open(file) as table:
        for line, values in table.rows(list(mapping.values())):
            name = value(values, "id")
            yield _Raw(
                value(values, "question"),
                value(values, "context"),
                value(values, "answers"),
                value(values, "start"),
                "" if name is None else str(name),
                line,
                f"{file}:{line}",
            )
