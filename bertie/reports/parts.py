"""From what inference found to what a report shows."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from bertie.data.items import Question, Words, sides, whole_text, word_offsets
from bertie.inference.cloze import Cloze
from bertie.inference.evaluate import Evaluation
from bertie.metrics.entities import entities
from bertie.reports.findings import Findings, Wrong
from bertie.reports.masked import MaskedSentence
from bertie.reports.passages import Mark, Passage
from bertie.tasks.task import Judgement, Task
from bertie.tokenizer.tokenizer import Tokenizer

Guesses = Sequence[tuple[str, float]]
_NUM_EXAMPLES = 8


def masked_sentences(
    clozes: Sequence[Cloze], before: Sequence[Guesses], after: Sequence[Guesses], tokenizer: Tokenizer
) -> list[MaskedSentence]:
    """Put sentences with a hole beside what two models, or one at two times, put into it."""
    tokens = tokenizer.tokens
    return [
        MaskedSentence([tokens[piece] for piece in cloze.ids], cloze.place, tokens[cloze.answer], first, second)
        for cloze, first, second in zip(clozes, before, after, strict=True)
    ]


def findings(found: Evaluation, task: Task, items: Sequence[Any]) -> Findings | None:
    """Show an evaluation; None for one of items without labels.

    Args:
        found: what was measured.
        task: that was measured.
        items: that it was measured on.
    """
    if not found.predictions:
        return None
    estimates = _estimates(found.predictions, items)
    drawable = isinstance(items[0], Words | Question)
    return Findings(
        labels=found.labels,
        confusion=found.confusion,
        per_class=found.per_class,
        # How sure a number is of itself is not said by it.
        certainty=() if estimates else found.certainty,
        estimates=estimates,
        worst=[
            Wrong(_text(wrong.item), wrong.gold, wrong.guess, None if estimates else wrong.score)
            for wrong in found.worst
        ],
        worst_drawn=[
            _passage(wrong.item, wrong.prediction, Judgement(wrong.gold, wrong.guess, wrong.credit, wrong.score))
            for wrong in (found.worst if drawable else ())
        ],
        examples=_examples(found, task, items) if drawable else (),
    )


def _text(item: object) -> str:
    text, pair = sides(item)
    return text if pair is None else f"{text}  |  {pair}"


def _estimates(predictions: Sequence[Any], items: Sequence[Any]) -> list[tuple[float, float]]:
    """Pair numbers with the right ones, for a task that gives numbers."""
    numbers = all(isinstance(getattr(prediction, "value", None), float | int) for prediction in predictions)
    if not numbers or any(getattr(item, "label", None) is None for item in items):
        return []
    return [(float(item.label), guess.value) for guess, item in zip(predictions, items, strict=True)]


def _examples(found: Evaluation, task: Task, items: Sequence[Any]) -> list[Passage]:
    """Draw items spread evenly over the data: of each part the first with a span, gold or guessed."""
    taken = {wrong.number for wrong in found.worst}
    edges = [place * len(items) // _NUM_EXAMPLES for place in range(_NUM_EXAMPLES + 1)]
    examples = []
    for start, end in pairwise(edges):
        for number in (number for number in range(start, end) if number not in taken):
            judged = task.judge(found.predictions[number], items[number])
            if judged is not None and (passage := _passage(items[number], found.predictions[number], judged)).marks:
                examples.append(passage)
                break
    return examples


def _passage(item: Words | Question, prediction: Any, judged: Judgement) -> Passage:
    return _answered(item, prediction, judged) if isinstance(item, Question) else _tagged(item, prediction)


def _tagged(item: Words, prediction: Any) -> Passage:
    """Draw the spans of a tagged text: a guess is right when its ends and its label are."""
    gold = set(_gold_spans(item))
    guesses = {(span.start, span.end, span.label) for span in prediction.spans}
    marks = [
        *(
            Mark(start, end, "right" if (start, end, label) in gold else "wrong", label)
            for start, end, label in guesses
        ),
        *(Mark(start, end, "missed", label) for start, end, label in gold - guesses),
    ]
    if not marks:  # tags that are no entities: every word has one, and those of some are wrong
        for (start, end), tag, guess in zip(word_offsets(item), item.label or (), prediction.tags, strict=True):
            marks += [Mark(start, end, "missed", tag), Mark(start, end, "wrong", guess)] if tag != guess else []
    return Passage(whole_text(item), sorted(marks, key=lambda mark: (mark.start, mark.end, mark.kind, mark.label)))


def _gold_spans(item: Words) -> Iterator[tuple[int, int, str]]:
    """Yield first character, end and label of every entity that an item's tags say."""
    offsets = word_offsets(item)
    for label, first, end in entities(item.label or ()):
        yield offsets[first][0], offsets[end - 1][1], label


def _answered(item: Question, prediction: Any, judged: Judgement) -> Passage:
    """Draw a guessed answer in its context and, where it isn't right, the answer most annotators gave."""
    right = judged.credit >= 1.0
    marks = []
    if prediction.text:
        marks.append(Mark(prediction.start, prediction.end, "right" if right else "wrong"))
    placed = [answer for answer in item.label or () if answer.start >= 0]
    if placed and not right:
        gold = max(placed, key=placed.count)  # the first of those given equally often
        marks.append(Mark(gold.start, gold.start + len(gold.text), "missed"))
    return Passage(
        item.context,
        marks,
        question=item.text,
        gold=judged.gold,
        guess=judged.guess,
        right=right,
        score=judged.score if math.isfinite(judged.score) else None,
    )
