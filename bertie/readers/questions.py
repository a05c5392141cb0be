"""Read questions about contexts: SQuAD 1.1 and 2.0 and CMRC 2018 files, and tables with one question a row.

An answer's text must be at its offset, because a model learns positions. If it isn't, but occurs exactly once, the
answer is moved there. Otherwise the answer keeps its text, which scores use, but has no position, and models don't
learn from it. Warnings count all these answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.files.compression import COMPRESSIONS, format_suffix
from bertie.items.question import Answer, Question
from bertie.readers.answers import NO_ANSWER, ends_at, offset, read_answers, recounted, says_yes
from bertie.readers.hub import is_dataset
from bertie.readers.json_values import JSON
from bertie.readers.question_sources import Raw, json_source, table_source
from bertie.readers.reading import LeftOut, Reading, Table, shown_row
from bertie.tables.table import suffixes

_SHOWN = 3  # questions that a warning names


@dataclass
class _Occurrences:
    """Count of a finding, and the first questions that have it."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, raw: Raw) -> None:
        self.count += 1
        name = raw.id or (f"line {raw.line}" if raw.line else raw.where)
        if len(self.first) < _SHOWN and name not in self.first:
            self.first.append(name)

    def __str__(self) -> str:
        return f"{', '.join(self.first)}{', ...' if self.count > len(self.first) else ''}"


class _Findings:
    """Problems with the answers of a file."""

    def __init__(self) -> None:
        self.blank, self.moved, self.lost, self.bare = _Occurrences(), _Occurrences(), _Occurrences(), _Occurrences()
        self.repeated, self.recounted, self.plausible, self.joined = (
            _Occurrences(),
            _Occurrences(),
            _Occurrences(),
            _Occurrences(),
        )
        self.contradictions: list[tuple[int, str]] = []  # line and content

    def warn(self, file: Path) -> None:
        """Write one warning or note for each kind of problem."""
        if self.blank.count:
            progress.warn(f"{file}: questions without text: {self.blank.count:,}, kept as they are ({self.blank})")
        if self.repeated.count:
            progress.warn(
                f"{file}: questions with the id of an earlier one: {self.repeated.count:,} ({self.repeated}); "
                "programs that look up answers by id will confuse them"
            )
        if self.moved.count:
            progress.warn(
                f"{file}: answers at a wrong offset that were moved to the only occurrence of their text: "
                f"{self.moved.count:,} ({self.moved})"
            )
        if self.recounted.count:
            progress.warn(
                f"{file}: answers whose offset counts UTF-16 units, bytes or no carriage returns, and was converted to "
                f"characters: {self.recounted.count:,} ({self.recounted})"
            )
        if self.plausible.count:
            progress.note(
                f"{file}: questions marked as unanswerable that have answers; these are only plausible and are not "
                f"learned: {self.plausible.count:,} ({self.plausible})"
            )
        if self.joined.count:
            progress.note(
                f"{file}: rows with the id, question and context of an earlier row, read as further answers to it: "
                f"{self.joined.count:,} ({self.joined})"
            )
        if self.lost.count:
            progress.warn(
                f"{file}: answers at a wrong offset whose text occurs nowhere or several times in the context: "
                f"{self.lost.count:,}; scores use them, but models don't learn from them ({self.lost})"
            )
        if self.bare.count:
            progress.warn(
                f"{file}: questions with only such answers, which are left out of training: {self.bare.count:,} "
                f"({self.bare})"
            )


def read_questions(
    path: str | Path, *, columns: Mapping[str, str] | None = None, labelled: bool = False
) -> Table[Question]:
    """Read questions with their contexts and answers into memory; questions about one context share its text.

    Args:
        path: .json or .jsonl in the format of SQuAD 1.1, SQuAD 2.0 or CMRC 2018; or a table (`tables/`) with columns
            for question, context and answers (`{"text": [...], "answer_start": [...]}` as on the hub, one string, or a
            list, also as text in a cell). All may be compressed. Or a data set (`hub.py`).
        columns: part (question, context, answers, start, end, id, impossible, answerable) to column name; None:
            recognise the columns by name.
        labelled: whether every question needs answers, or an empty list if it has none. Rows with further answers to
            a question of the same id are then joined.

    Raises:
        SettingsError: the file doesn't exist or holds no questions by its format, or a named column doesn't exist.
        DataError: the file is broken or empty, or a question lacks its text, its context or required answers.
    """
    file = Path(path)
    suffix = format_suffix(file)
    if suffix not in (*JSON, *suffixes()) and not is_dataset(file):
        known = ", ".join(dict.fromkeys((".json", *suffixes())))
        raise SettingsError(
            f"{file}: questions are read from {known}, each also compressed ({', '.join(COMPRESSIONS)})"
        )
    source = (json_source if suffix in JSON else table_source)(file, columns)
    raws, remarks = list(source.raws), []
    if "end" in source.mapping and "answers" not in source.mapping:
        remarks = _cut_answers(file, raws)
    findings, contexts = _Findings(), dict[str, str]()
    checked = [(raw, _question(raw, findings, contexts, labelled=labelled)) for raw in raws]
    items = _joined([(raw, item) for raw, item in checked if item is not None], findings, join=labelled)
    left_out = LeftOut.of("marked as answerable, but without an answer", findings.contradictions)
    if not items:
        raise DataError(f"{file} holds no questions")
    without = sum(item.label == () for item in items)
    columns_read = [f"{part} from column {name!r}" for part, name in source.mapping.items() if source.form != "squad"]
    parts = [
        f"{len(items):,} questions about {len(contexts):,} contexts",
        f"{without:,} without an answer",
        *columns_read,
    ]
    progress.note(f"{file}: {', '.join([*parts, *remarks])}")
    findings.warn(file)
    if left_out.count:
        progress.warn(f"{file}: {left_out}")
    reading = Reading(
        str(file),
        form=source.form,
        columns=source.mapping,
        rows=len(items),
        left_out=(left_out,) if left_out.count else (),
        remarks=tuple(remarks),
    )
    return Table(file, items, source.mapping, reading)


def _cut_answers(file: Path, raws: Sequence[Raw]) -> list[str]:
    """Cut answers from their contexts if a file has only their offsets; return a remark about the ends."""
    located = []
    for raw in raws:
        start, end = offset(raw.start, raw.where), offset(raw.end, raw.where)
        if start is not None and end is not None and start >= 0 and end > 0 and isinstance(raw.context, str):
            located.append((raw, start, end))
        elif raw.answers is None and start is not None and start < 0:
            raw.answers = ()
    if not located:
        return []
    past = ends_at(file, [(raw.context, start, end) for raw, start, end in located])
    for raw, start, end in located:
        raw.answers = raw.context[start : end + past]
    return ["answer ends are inclusive" if past else "answer ends are exclusive"]


def _joined(questions: Sequence[tuple[Raw, Question]], findings: _Findings, *, join: bool) -> list[Question]:
    """Join rows with further answers to one question; find ids that several questions have."""
    items: list[Question] = []
    indices: dict[str, int] = {}
    for raw, item in questions:
        index = indices.setdefault(item.id, len(items)) if item.id else len(items)
        if index == len(items):
            items.append(item)
            continue
        first = items[index]
        same = (first.text, first.context) == (item.text, item.context)
        if join and same and raw.line and first.label and item.label:
            items[index] = replace(first, label=tuple(dict.fromkeys((*first.label, *item.label))))
            findings.joined.add(raw)
            continue
        findings.repeated.add(raw)
        items.append(item)
    return items


def locate(context: str, text: str, start: int | None = None) -> int:
    """Return the first character of an answer: `start` if its text is there, else its only occurrence, else -1.

    >>> locate("to be or not", "or"), locate("to be or to go", "to"), locate("to be or to go", "to", 9)
    (6, -1, 9)
    """
    if start is not None and start >= 0 and context.startswith(text, start):
        return start
    first = context.find(text)
    return first if first >= 0 and context.find(text, first + 1) < 0 else -1


def _question(raw: Raw, findings: _Findings, contexts: dict[str, str], *, labelled: bool) -> Question | None:
    """Check a question and locate its answers; return None if it contradicts itself."""
    text = _text(raw.question, "question", raw)
    if not text.strip():
        findings.blank.add(raw)
    _text(raw.id, "id", raw)
    whole = _text(raw.context, "context", raw)
    context = contexts.setdefault(whole, whole)
    impossible = _impossible(raw)
    if impossible is not True and (raw.answers is None or raw.answers != raw.answers):
        if labelled:
            raise DataError(f"{raw.where}: its answers are missing; give their texts, or an empty list if it has none")
        return Question(text, context, None, raw.id, raw.line)
    answers = [] if raw.answers is None else list(read_answers(raw.answers, raw.start, context, raw.where))
    answers = [(words, start) for words, start in answers if words and words != NO_ANSWER]
    if impossible:
        if answers:
            findings.plausible.add(raw)
        return Question(text, context, (), raw.id, raw.line)
    if impossible is False and not answers and labelled:
        findings.contradictions.append((raw.line, shown_row([raw.id, text, whole])))
        return None
    label = tuple(_located(_text(words, "answer", raw), start, context, raw, findings) for words, start in answers)
    if label and all(answer.start < 0 for answer in label):
        findings.bare.add(raw)
    return Question(text, context, label, raw.id, raw.line)


def _impossible(raw: Raw) -> bool | None:
    """Return whether a question is marked as unanswerable; None if it isn't marked."""
    impossible = says_yes(raw.impossible, "is_impossible", raw.where)
    answerable = says_yes(raw.answerable, "answerable", raw.where)
    if impossible is not None and answerable is not None and impossible == answerable:
        raise DataError(f"{raw.where}: this question is marked both as answerable and as unanswerable")
    return impossible if answerable is None else not answerable


def _located(words: str, start: int | None, context: str, raw: Raw, findings: _Findings) -> Answer:
    """Locate an answer in its context."""
    converted = -1
    if start is not None and not (start >= 0 and context.startswith(words, start)):
        converted = recounted(context, words, start)
    position = converted if converted >= 0 else locate(context, words, start)
    if position < 0 and (bare := words.strip()) and locate(context, bare) >= 0:
        words, position = bare, locate(context, bare)
    if position < 0 or not words.strip():  # a model can't mark white space
        findings.lost.add(raw)
        return Answer(words, -1)
    if start is not None and position != start:
        (findings.recounted if converted >= 0 else findings.moved).add(raw)
    return Answer(words, position)


def _text(value: Any, part: str, raw: Raw) -> str:
    if not isinstance(value, str):
        problem = "is missing" if value is None else f"is {value!r:.60}, which is not text"
        raise DataError(f"{raw.where}: the {part} {problem}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{raw.where}: the {part} holds half a character (a lone surrogate), which is not valid text"
        ) from error
    return value
