"""Questions about contexts: SQuAD 1.1 and 2.0 and CMRC 2018 files, and tables with a row for each question.

An answer's text must stand at its offset, for a model learns places. One that doesn't is moved where its text occurs
once; else it keeps its text, which scores go by, and has no place, so that nothing is learned from it. All that is
counted and said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.data.answers import NO_ANSWER, ends_at, offset, read_answers, recounted, says_yes
from bertie.data.hub import is_dataset
from bertie.data.items import Answer, Question, Table
from bertie.data.question_sources import Raw, json_source, table_source
from bertie.data.reading import LeftOut, Reading, shown_row
from bertie.errors import DataError, SettingsError
from bertie.files.compression import COMPRESSIONS, format_suffix
from bertie.files.rows import SUFFIXES

_SHOWN = 3  # places that a warning names


@dataclass
class _Places:
    """How often something was found, and where first."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, raw: Raw) -> None:
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
        self.repeated, self.recounted, self.plausible, self.joined = _Places(), _Places(), _Places(), _Places()
        self.contradictions: list[tuple[int, str]] = []  # line and content

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
        if self.recounted.count:
            progress.warn(
                f"{file}: answers whose offset is counted in UTF-16 units, in bytes or without carriage returns and "
                f"was counted again in characters: {self.recounted.count:,} ({self.recounted})"
            )
        if self.plausible.count:
            progress.note(
                f"{file}: questions that are said to have no answer and give some; these are only plausible and are "
                f"not learned: {self.plausible.count:,} ({self.plausible})"
            )
        if self.joined.count:
            progress.note(
                f"{file}: rows with the id, question and context of an earlier one, taken for other answers to it: "
                f"{self.joined.count:,} ({self.joined})"
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
        path: .json or .jsonl as SQuAD 1.1, SQuAD 2.0 or CMRC 2018 has it; or a .json, .jsonl, .parquet, .csv or .tsv
            with columns for question, context and answers (`{"text": [...], "answer_start": [...]}` as on the hub, one
            string, or a list, also as text in a cell). All may be compressed. Or a data set (`data/hub.py`).
        columns: part (question, context, answers, start, end, id, impossible, answerable) to column name; found by
            their names when None.
        labelled: whether every question needs its answers, be it an empty list for one that has none. Rows that give
            another answer to a question of the same id are joined then.

    Raises:
        SettingsError: no such file, a kind of file that holds no questions, or a column it doesn't have.
        DataError: a broken or empty file, or a question that lacks its text, context or, where needed, answers.
    """
    file = Path(path)
    suffix = format_suffix(file)
    if suffix not in (".json", *SUFFIXES) and not is_dataset(file):
        known = ", ".join((".json", *SUFFIXES))
        raise SettingsError(
            f"{file}: questions are read from {known}, each also with {', '.join(COMPRESSIONS)} behind it"
        )
    source = (json_source if suffix in (".json", ".jsonl") else table_source)(file, columns)
    raws, remarks = list(source.raws), []
    if "end" in source.mapping and "answers" not in source.mapping:
        remarks = _cut_answers(file, raws)
    findings, contexts = _Findings(), dict[str, str]()
    found = [(raw, _question(raw, findings, contexts, labelled=labelled)) for raw in raws]
    items = _joined([(raw, item) for raw, item in found if item is not None], findings, join=labelled)
    left_out = LeftOut.of("said to have an answer, but none is given", findings.contradictions)
    if not items:
        raise DataError(f"{file} holds no questions")
    without = sum(item.label == () for item in items)
    said = [f"{part} from column {name!r}" for part, name in source.mapping.items() if source.form != "squad"]
    parts = [f"{len(items):,} questions about {len(contexts):,} contexts", f"{without:,} without an answer", *said]
    progress.note(f"{file}: {', '.join([*parts, *remarks])}")
    findings.say(file)
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
    """Take answers of which only the places are given from their contexts."""
    placed = []
    for raw in raws:
        start, end = offset(raw.start, raw.where), offset(raw.end, raw.where)
        if start is not None and end is not None and start >= 0 and end > 0 and isinstance(raw.context, str):
            placed.append((raw, start, end))
        elif raw.answers is None and start is not None and start < 0:
            raw.answers = ()
    if not placed:
        return []
    past = ends_at(file, [(raw.context, start, end) for raw, start, end in placed])
    for raw, start, end in placed:
        raw.answers = raw.context[start : end + past]
    return ["answers end with the character of their end" if past else "answers end before the character of their end"]


def _joined(found: Sequence[tuple[Raw, Question]], findings: _Findings, *, join: bool) -> list[Question]:
    """Join rows that give one more answer to a question; say which ids are used for several questions."""
    items: list[Question] = []
    places: dict[str, int] = {}
    for raw, item in found:
        place = places.setdefault(item.id, len(items)) if item.id else len(items)
        if place == len(items):
            items.append(item)
            continue
        first = items[place]
        same = (first.text, first.context) == (item.text, item.context)
        if join and same and raw.line and first.label and item.label:
            items[place] = replace(first, label=tuple(dict.fromkeys((*first.label, *item.label))))
            findings.joined.add(raw)
            continue
        findings.repeated.add(raw)
        items.append(item)
    return items


def locate(context: str, text: str, start: int | None = None) -> int:
    """Return the first character of an answer: at `start` if it stands there, else its only occurrence, else -1."""
    if start is not None and start >= 0 and context.startswith(text, start):
        return start
    found = context.find(text)
    return found if found >= 0 and context.find(text, found + 1) < 0 else -1


def _question(raw: Raw, findings: _Findings, contexts: dict[str, str], *, labelled: bool) -> Question | None:
    """Check a question and find the places of its answers; None for one that contradicts itself."""
    text = _text(raw.question, "question", raw)
    if not text.strip():
        findings.blank.add(raw)
    _text(raw.id, "id", raw)
    whole = _text(raw.context, "context", raw)
    context = contexts.setdefault(whole, whole)
    impossible = _impossible(raw)
    if impossible is not True and (raw.answers is None or raw.answers != raw.answers):
        if labelled:
            raise DataError(
                f"{raw.where}: nothing is said of its answers; give their texts, or an empty list if there is none"
            )
        return Question(text, context, None, raw.id, raw.line)
    given = [] if raw.answers is None else list(read_answers(raw.answers, raw.start, context, raw.where))
    given = [(words, start) for words, start in given if words and words != NO_ANSWER]
    if impossible:
        if given:
            findings.plausible.add(raw)
        return Question(text, context, (), raw.id, raw.line)
    if impossible is False and not given and labelled:
        findings.contradictions.append((raw.line, shown_row([raw.id, text, whole])))
        return None
    label = tuple(_placed(_text(words, "answer", raw), start, context, raw, findings) for words, start in given)
    if label and all(answer.start < 0 for answer in label):
        findings.bare.add(raw)
    return Question(text, context, label, raw.id, raw.line)


def _impossible(raw: Raw) -> bool | None:
    """Tell whether a question is said to have no answer; None where nothing is said."""
    said = says_yes(raw.impossible, "is_impossible", raw.where)
    other = says_yes(raw.answerable, "answerable", raw.where)
    if said is not None and other is not None and said == other:
        raise DataError(f"{raw.where}: this question is said to have an answer and to have none")
    return said if other is None else not other


def _placed(words: str, start: int | None, context: str, raw: Raw, findings: _Findings) -> Answer:
    """Find the place of an answer."""
    again = -1
    if start is not None and not (start >= 0 and context.startswith(words, start)):
        again = recounted(context, words, start)
    place = again if again >= 0 else locate(context, words, start)
    if place < 0 and (bare := words.strip()) and locate(context, bare) >= 0:
        words, place = bare, locate(context, bare)
    if place < 0 or not words.strip():  # a model can point at nothing where there are only spaces
        findings.lost.add(raw)
        return Answer(words, -1)
    if start is not None and place != start:
        (findings.recounted if again >= 0 else findings.moved).add(raw)
    return Answer(words, place)


def _text(value: Any, part: str, raw: Raw) -> str:
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
