"""The record and the lines of each class of predictions, by their own methods."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from bertie.inference.answers import ScoredAnswer
from bertie.inference.filling import Filling
from bertie.inference.likelihood import Likelihood
from bertie.items.choice import Choice
from bertie.items.question import Question
from bertie.items.words import Words
from bertie.tasks._guess import lines_of_guesses, record_of_guesses
from bertie.tasks._prediction import Prediction, Span
from bertie.tasks.classification import Verdict
from bertie.tasks.embedding import Similarity, Vector
from bertie.tasks.features import Features
from bertie.tasks.generation import Alternative, Generated
from bertie.tasks.masked_lm import Fill
from bertie.tasks.multiple_choice import Chosen
from bertie.tasks.next_sentence import Follows
from bertie.tasks.question_answering import Reply
from bertie.tasks.regression import Estimate
from bertie.tasks.replaced_token import Detection, Piece
from bertie.tasks.span_classification import FoundSpans
from bertie.tasks.tagging import Tagged

VECTOR = np.array([0.5, -0.25], np.float32)
SPANS = (Span("ORG", "Bank of China", 0, 13, 0.75), Span("LOC", "China", 8, 13, 0.5))
SPAN_LINES = ["  ORG  Bank of China  0-13  0.7500", "  LOC    China        8-13  0.5000"]
BARS = ["  cat  0.5000  " + "█" * 12, "  dog  0.2500  " + "█" * 6]

LINES: dict[str, tuple[Any, Prediction, list[str]]] = {
    "vector": ("a", Vector(VECTOR), ["a", "  vector 2:  0.5000 -0.2500 ..."]),
    "features": ("a", Features(["a"], VECTOR[None], None), ["a", "  hidden 1 x 2:  0.5000 -0.2500 ..."]),
    "similarity": (("a", "b"), Similarity(0.5, None, VECTOR), ["a  |  b", "  similarity: 0.5", "  value: None"]),
    "generated": (
        "a",
        Generated("cat", 0.5, False, (Alternative("dog", 0.25),)),
        ["a", "  0.5000  cat …", "  0.2500  dog"],
    ),
    "chosen": (Choice("it is", ("cat", "dog")), Chosen("0", "cat", 0.5, (0.5, 0.25)), ["it is", *BARS]),
    "detection": ("a", Detection((Piece("cat", 0.5), Piece("dog", 0.25))), ["a", *BARS]),
    "found spans": ("a", FoundSpans(SPANS, 0.5, (), "a"), ["a", *SPAN_LINES]),
    "no spans": ("a", FoundSpans((), 0.5, (), "a"), ["a", "  nothing found"]),
    "entities": (Words(("a",)), Tagged(("a",), ("B-ORG",), SPANS, 0.5), ["a", *SPAN_LINES]),
    "tags": (Words(("a", "b")), Tagged(("a", "b"), ("DT", "O"), (), 0.5), ["a b", "  a/DT"]),
    "no tags": (Words(("a",)), Tagged(("a",), ("O",), (), 0.5), ["a", "  nothing found"]),
    "answer": (
        Question("who?", "Ann ran"),
        Reply("Ann", 0.5, 0, 3, -1.0, []),
        ["who?", "  Ann  0.5000  characters 0-3", "  «Ann» ran"],
    ),
    "no answer": (Question("who?", "it ran"), Reply("", 0.5, -1, -1, 1.0, []), ["who?", "  (no answer)  0.5000"]),
}


@pytest.mark.parametrize("name", LINES)
def test_lines(name: str) -> None:
    item, prediction, expected = LINES[name]
    assert prediction.lines(item, 80) == expected


TABLES: dict[str, tuple[Prediction, list[str]]] = {
    "verdict": (Verdict("good", 0.75, {}), ["good  0.7500  a"]),
    "follows": (Follows("random", 0.75, {}), ["random  0.7500  a"]),
    "estimate": (Estimate(0.5), [" 0.5000  a"]),
    "similarity": (Similarity(0.5, 3.0, VECTOR), [" 0.5000  a"]),
    "likelihood": (
        Likelihood(-4.0, -2.0, 7.389, ("a",), (-4.0,)),
        ["       sum  per piece  perplexity", "    -4.000     -2.000       7.389  a"],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name: str) -> None:
    prediction, expected = TABLES[name]
    assert type(prediction).table(["a"], [prediction], 80) == expected


@pytest.mark.parametrize("name", LINES)
def test_records_hold_the_item_and_the_fields(name: str) -> None:
    item, prediction, _ = LINES[name]
    record = prediction.record(item)
    assert json.loads(json.dumps(record)) == record
    first = ["question", "context"] if isinstance(item, Question) else ["text"]
    assert list(record)[: len(first)] == first
    assert {key: record[key] for key in prediction.as_dict()} == prediction.as_dict()


def test_an_answer_does_not_hide_the_question() -> None:
    record = Reply("Ann", 0.5, 0, 3, float("inf"), []).record(("who?", "Ann ran"))
    assert record["question"] == "who?" and record["text"] == "Ann" and record["null_score"] is None


@pytest.mark.parametrize(
    ("guess", "key", "line"),
    [
        (Fill("cat", 0.5, 7), "masks", BARS[0]),
        (Filling(("c", "t"), 0.5, (1, 2)), "fillings", "  c … t  0.5000  " + "█" * 12),
        (
            ScoredAnswer("cat", 0.5, -4.0, -2.0, ()),
            "answers",
            f"  cat  0.5000  sum   -4.000  per piece  -2.000  {'█' * 12}",
        ),
    ],
)
def test_guesses(guess: Any, key: str, line: str) -> None:
    plain = guess.as_dict()
    assert record_of_guesses("a", [guess]) == {"text": "a", key: [[plain]] if key == "masks" else [plain]}
    assert lines_of_guesses("a", [guess]) == ["a", line]
