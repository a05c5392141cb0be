"""Convert the results of inference to the parts of a report."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from bertie.inference.cloze import Cloze
from bertie.inference.evaluate import Evaluation
from bertie.items.item import Item
from bertie.items.text import sides
from bertie.reports.findings import Findings, Wrong
from bertie.reports.masked import MaskedSentence
from bertie.reports.passages import Passage
from bertie.tasks.task import Judgement, Task
from bertie.tokenizer.tokenizer import Tokenizer

Guesses = Sequence[tuple[str, float]]
_NUM_EXAMPLES = 8


def masked_sentences(
    clozes: Sequence[Cloze], before: Sequence[Guesses], after: Sequence[Guesses], tokenizer: Tokenizer
) -> list[MaskedSentence]:
    """Combine sentences with a masked word and two models' predictions for it, or one model's at two times."""
    tokens = tokenizer.tokens
    return [
        MaskedSentence([tokens[piece] for piece in cloze.ids], cloze.place, tokens[cloze.answer], first, second)
        for cloze, first, second in zip(clozes, before, after, strict=True)
    ]


def findings(found: Evaluation, task: Task, items: Sequence[Any]) -> Findings | None:
    """Convert an evaluation for a report; None if the items have no labels.

    Args:
        found: the evaluation.
        task: the task that was evaluated.
        items: the items that it was evaluated on.
    """
    if not found.predictions:
        return None
    estimates = _estimates(found.predictions, items)
    drawable = getattr(items[0], "has_spans", False)
    return Findings(
        labels=found.labels,
        confusion=found.confusion,
        per_class=found.per_class,
        calibration=found.calibration,
        estimates=estimates,
        worst=[Wrong(_text(wrong.item), wrong.gold, wrong.guess, wrong.confidence) for wrong in found.worst],
        worst_drawn=[
            _passage(wrong.item, wrong.prediction, Judgement(wrong.gold, wrong.guess, wrong.credit, wrong.confidence))
            for wrong in (found.worst if drawable else ())
        ],
        examples=_examples(found, task, items) if drawable else (),
    )


def _text(item: object) -> str:
    text, pair = sides(item)
    return text if pair is None else f"{text}  |  {pair}"


def _estimates(predictions: Sequence[Any], items: Sequence[Any]) -> list[tuple[float, float]]:
    """Return (gold, prediction) of every item, for a task that predicts numbers; empty for other tasks."""
    numbers = all(isinstance(getattr(prediction, "value", None), float | int) for prediction in predictions)
    if not numbers or any(getattr(item, "label", None) is None for item in items):
        return []
    return [(float(item.label), guess.value) for guess, item in zip(predictions, items, strict=True)]


def _examples(found: Evaluation, task: Task, items: Sequence[Any]) -> list[Passage]:
    """Draw items spread evenly over the data: from each eighth the first with a span, gold or predicted."""
    shown = {wrong.number for wrong in found.worst}
    edges = [part * len(items) // _NUM_EXAMPLES for part in range(_NUM_EXAMPLES + 1)]
    examples = []
    for start, end in pairwise(edges):
        for number in (number for number in range(start, end) if number not in shown):
            judged = task.judge(found.predictions[number], items[number])
            if judged is not None and (passage := _passage(items[number], found.predictions[number], judged)).marks:
                examples.append(passage)
                break
    return examples


def _passage(item: Item, prediction: Any, judged: Judgement) -> Passage:
    """Draw the spans of an item; below a question, also its answers."""
    right = judged.credit >= 1.0
    text, marks = item.marked(prediction, right=right)
    question, context = item.sides()
    if context is None:
        return Passage(text, marks)
    return Passage(
        text,
        marks,
        question=question,
        gold=judged.gold,
        guess=judged.guess,
        right=right,
        confidence=judged.confidence if judged.confidence is not None and math.isfinite(judged.confidence) else None,
    )
