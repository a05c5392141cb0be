"""A question about a context, whose answer is a span of the context (SQuAD)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from bertie.errors import DataError
from bertie.findings import Finding, places
from bertie.items.item import Item, Mark, Values, names, string, strings


@dataclass(frozen=True)
class Answer:
    """A range of characters in a context."""

    text: str
    start: int
    """First character in the context; -1 if unknown, so that only scores can use the answer."""


@dataclass(frozen=True)
class Question(Item):
    """A question about a context."""

    text: str
    context: str
    label: tuple[Answer, ...] | None = None
    """Right answers, any of which is correct; empty for a question that the context doesn't answer."""
    id: str = ""
    line: int = 0

    keys: ClassVar[tuple[str, ...]] = ("question", "context", "answers", "id")
    required: ClassVar[int] = 2
    has_spans: ClassVar[bool] = True

    def texts(self) -> list[str]:
        """Return the question and its context."""
        return [self.text, self.context]

    def sides(self) -> tuple[str, str | None]:
        """Return the question and its context."""
        return self.text, self.context

    def label_text(self) -> str:
        """Return the answers, each once."""
        return " | ".join(dict.fromkeys(answer.text for answer in self.label or ())) or "(no answer)"

    def group(self) -> str:
        """Return the context: questions about one context are held out together."""
        return self.context

    def row(self) -> dict[str, Any]:
        """Return the question as a row of a JSON Lines table, with answers as in SQuAD's tables."""
        answers = None
        if self.label is not None:
            answers = {"text": [one.text for one in self.label], "answer_start": [one.start for one in self.label]}
        return {"id": self.id, "question": self.text, "context": self.context, "answers": answers}

    @classmethod
    def parse(cls, row: Mapping[str, Any]) -> Self:
        """Make a question of the values of a JSON object."""
        text, context = string(row["question"], "question"), string(row["context"], "context")
        return cls(text, context, _answers(row["answers"]) if "answers" in row else None, str(row.get("id", "")))

    def marked(self, prediction: Any, *, right: bool) -> tuple[str, list[Mark]]:
        """Mark the predicted answer and, if it isn't right, the answer that most annotators gave."""
        marks = []
        if prediction.text:
            marks.append(Mark(prediction.start, prediction.end, "right" if right else "wrong"))
        answers = [answer for answer in self.label or () if answer.start >= 0]
        if answers and not right:
            gold = max(answers, key=answers.count)  # in a tie, the first one
            marks.append(Mark(gold.start, gold.start + len(gold.text), "missed"))
        return self.context, marks

    @classmethod
    def check_labels(
        cls, items: Sequence[Self], path: Path, *, classes: bool = True, many: bool = False
    ) -> tuple[Values, list[Finding]]:
        """Check the answers."""
        del classes, many
        labelled = [item for item in items if item.label is not None]
        none = sum(not item.label for item in labelled)
        unlocated = [number for number, item in enumerate(items) if _unlocated(item)]
        several = sum(len({answer.text for answer in item.label or ()}) > 1 for item in labelled)
        values = {"contexts": len({item.context for item in items})}
        kinds = {"one answer": len(labelled) - none - several, "several answers": several, "no answer": none}
        values_of_labels = [
            {"label": kind, "items": count, "share": count / len(labelled)} for kind, count in kinds.items() if count
        ]
        findings = []
        if unlocated:
            text = _unlocated(items[unlocated[0]])[0]
            what = f"{len(unlocated):,} of {len(items):,} questions have answers that never occur in the context, or "
            what += f"occur several times but not at their offset, such as {text!r:.60}"
            remedy = "fix text or offset; scores use these answers, but models don't learn from them"
            findings.append(Finding("warning", what, places(path, names(items, unlocated)), remedy))
        return {**values, "labels": values_of_labels}, findings


def _answers(value: Any) -> tuple[Answer, ...]:
    """Read answers as in SQuAD's tables: {"text": [...], "answer_start": [...]}."""
    if not isinstance(value, Mapping) or set(value) != {"text", "answer_start"}:
        raise DataError('answers must be {"text": [...], "answer_start": [...]}')
    texts, starts = strings(value["text"], "answers.text"), value["answer_start"]
    if not isinstance(starts, list) or len(starts) != len(texts) or not all(type(one) is int for one in starts):
        raise DataError("answers.answer_start must be a list with one whole number for each text")
    return tuple(map(Answer, texts, starts))


def _unlocated(item: Question) -> list[str]:
    """Return the answers whose text is not at their offset."""
    return [
        answer.text
        for answer in item.label or ()
        if answer.start < 0 or not item.context.startswith(answer.text, answer.start)
    ]
