"""Predictions as people and programs read them, whatever form they have."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bertie.inference.answers import ScoredAnswer
from bertie.inference.filling import Filling
from bertie.inference.likelihood import Likelihood
from bertie.inference.render import record, records, show, show_hits, sides
from bertie.items.choice import Choice
from bertie.tasks._prediction import Prediction
from bertie.tasks.classification import Verdict
from bertie.tasks.embedding import Similarity, Vector
from bertie.tasks.features import Features
from bertie.tasks.generation import Alternative, Generated
from bertie.tasks.masked_lm import Fill
from bertie.tasks.multiple_choice import Chosen
from bertie.tasks.regression import Estimate
from bertie.tasks.task import Text

GOOD = Verdict("good", 0.75, {"bad": 0.25, "good": 0.75})
CAT, DOG = Fill("cat", 0.5, 7), Fill("猫", 0.25, 8)


@dataclass(frozen=True)
class Span:
    """A prediction nobody foresaw."""

    answer: str
    score: float


def test_sides() -> None:
    assert sides("a") == {"text": "a"} == sides(Text("a", label="x"))
    assert sides(("a", "b")) == {"text": "a", "pair": "b"} == sides(Text("a", "b"))


def test_records_of_every_form_are_json() -> None:
    vectors = Features(["[CLS]"], np.array([[0.1, -2.0]], np.float32), None)
    forms: list[tuple[Any, dict[str, Any]]] = [
        (GOOD, {"label": "good", "score": 0.75, "scores": {"bad": 0.25, "good": 0.75}}),
        ([CAT], {"masks": [[{"token": "cat", "score": 0.5, "token_id": 7}]]}),
        ([[CAT], [DOG]], {"masks": [[vars(CAT)], [vars(DOG)]]}),
        (vectors, {"tokens": ["[CLS]"], "hidden": [[0.1, -2.0]], "pooled": None}),
        (Span("x", 0.5), {"answer": "x", "score": 0.5}),
        (0.25, {"prediction": 0.25}),
    ]
    for prediction, expected in forms:
        assert json.loads(json.dumps(record("a", prediction))) == {"text": "a", **expected}


def test_written_texts_one_a_line() -> None:
    ended = Generated("a cat", 0.5, ended=True)
    assert show(["x"], [ended], 80) == "x\n  0.5000  a cat"
    several = Generated("a\x1b cat", 0.5, ended=False, others=(Alternative("a dog", 0.25),))
    assert show(["x"], [several], 80).splitlines() == ["x", "  0.5000  a  cat …", "  0.2500  a dog"]


def test_bars_are_as_long_as_their_probability() -> None:
    assert show(["a [MASK]"], [[CAT, DOG]], 80).splitlines() == [
        "a [MASK]",
        "  cat  0.5000  " + "█" * 12,
        "  猫   0.2500  " + "█" * 6,  # two columns wide
    ]


def test_labels_stand_in_columns() -> None:
    bad = Verdict("bad", 0.5, {})
    assert show(["a", ("b", "c")], [GOOD, bad], 80) == "good  0.7500  a\nbad   0.5000  b  |  c"


def test_an_unforeseen_form_shows_its_fields() -> None:
    assert show(["a"], [Span("x", 0.5)], 80) == "a\n  answer: x\n  score: 0.5"
    assert show(["a"], [0.25], 80) == "a\n  prediction: 0.25"


def test_choices_stand_by_their_probability() -> None:
    chosen = Chosen("1", "a cat", 0.75, (0.25, 0.75))
    item = Choice("it is", ("a dog", "a cat"), lead="now")
    assert show([item], [chosen], 80).splitlines() == [
        "it is now",
        "  a cat  0.7500  " + "█" * 18,
        "  a dog  0.2500  " + "█" * 6,
    ]
    assert record(item, chosen) == {
        "text": "it is now",
        "pair": "a dog  /  a cat",
        "label": "1",
        "choice": "a cat",
        "score": 0.75,
        "scores": [0.25, 0.75],
    }


def test_fillings_answers_and_likelihoods() -> None:
    filling = Filling(("cat", "猫"), 0.5, (7, 8))
    answer = ScoredAnswer("a cat", 1.0, -4.0, -2.0, ("a", "cat"))
    assert record("m", [filling]) == {
        "text": "m",
        "fillings": [{"tokens": ["cat", "猫"], "score": 0.5, "token_ids": [7, 8]}],
    }
    assert list(record("m", [answer])) == ["text", "answers"]
    assert show(["m"], [[filling]], 80) == "m\n  cat … 猫  0.5000  " + "█" * 12
    assert show(["m"], [[answer]], 80) == "m\n  a cat  1.0000  sum   -4.000  per piece  -2.000  " + "█" * 24
    assert show(["m"], [[]], 80) == "m\n  nothing found"
    shown = show(["a cat"], [Likelihood(-4.0, -2.0, 7.389, ("a", "cat"), (-1.0, -3.0))], 80)
    assert shown == "       sum  per piece  perplexity\n    -4.000     -2.000       7.389  a cat"


@dataclass(frozen=True)
class Mood(Prediction):
    """A third party's prediction that shows itself."""

    mood: str
    sure: bool

    def record(self, item: Any) -> dict[str, Any]:
        return {"said": item, "mood": self.mood}

    def lines(self, item: Any, width: int) -> list[str]:
        return [f"{item}: {self.mood}".rjust(width)]


@dataclass(frozen=True)
class Rank(Prediction):
    """A third party's prediction with a table."""

    place: int

    @classmethod
    def table(cls, items: Sequence[Any], predictions: Sequence[Rank], width: int) -> list[str]:
        return [f"{one.place}. {item}" for item, one in zip(items, predictions, strict=True)]


def test_a_prediction_shows_itself() -> None:
    moods = [Mood("calm", True), Mood("glad", False)]
    assert show(["a", "b"], moods, 10) == "   a: calm\n\n   b: glad"
    assert records(["a", "b", "c"], [*moods, None]) == [
        {"said": "a", "mood": "calm"},
        {"said": "b", "mood": "glad"},
        {"text": "c", "said": None, "mood": None},
    ]
    assert show(["a", "b"], [Rank(1), Rank(2)], 80) == "1. a\n2. b"


def test_a_prediction_has_a_form_by_itself() -> None:
    @dataclass(frozen=True)
    class Own(Prediction):
        vector: tuple[float, ...]
        secret: int = field(default=7, repr=False)

    own = Own((0.5, math.inf))
    assert own.record(("a", "b")) == {"text": "a", "pair": "b", "vector": [0.5, None]}
    assert own.lines("a\x1b", 80) == ["a ", "  vector: (0.5, inf)"]
    assert Own.table(["a"], [own], 80) is None
    assert show(["a", "b"], [own, own], 80) == "\n\n".join(f"{text}\n  vector: (0.5, inf)" for text in "ab")


def test_predictions_of_several_classes_stand_below_each_other() -> None:
    vector = np.array([0.5, -0.25], np.float32)
    mixed = [Vector(vector), Similarity(0.75, None, np.stack([vector, vector]))]
    assert show(["a", ("b", "c")], mixed, 80).splitlines() == [
        "a",
        "  vector 2:  0.5000 -0.2500 ...",
        "",
        "b  |  c",
        "  similarity: 0.75",
        "  value: None",
    ]
    labels = [GOOD, Foreign("bad", 0.5)]  # all have what a table of labels needs
    assert show(["a", "b"], labels, 80) == "good  0.7500  a\nbad   0.5000  b"


class Foreign(NamedTuple):
    """A prediction of no class of ours."""

    label: str
    score: float


def test_vectors_of_tokens() -> None:
    pooled = np.array([1.0, 2.0], np.float32)
    lines = Features(["[CLS]"], np.array([[0.1, -2.0]], np.float32), pooled).lines("a", 80)
    assert lines == ["a", "  hidden 1 x 2:  0.1000 -2.0000 ...", "  pooled 2:  1.0000  2.0000 ..."]


def test_several_masks_are_numbered() -> None:
    assert show(["[MASK] [MASK]"], [[[CAT], [DOG]]], 80).splitlines() == [
        "[MASK] [MASK]",
        "  [MASK] 1",
        "  cat  0.5000  " + "█" * 12,
        "  [MASK] 2",
        "  猫   0.2500  " + "█" * 6,
    ]


def test_a_list_that_nobody_foresaw() -> None:
    assert show(["a"], [[1, 2]], 80) == "a\n  prediction: [1, 2]"
    assert record("a", [1, 2]) == {"text": "a", "masks": [[1, 2]]}


def test_nothing() -> None:
    assert show([], [], 80) == ""


def test_embeddings() -> None:
    vector = np.array([0.5, -0.25, 1.0], np.float32)
    alike = Similarity(0.75, 4.0, np.stack([vector, vector]))
    assert record("a", Vector(vector)) == {"text": "a", "vector": [0.5, -0.25, 1.0]}
    assert record(("a", "b"), alike) == {"text": "a", "pair": "b", "similarity": 0.75, "value": 4.0}
    assert show(["a"], [Vector(vector)], 80).splitlines() == ["a", "  vector 3:  0.5000 -0.2500  1.0000 ..."]
    assert show([("a", "b"), ("c", "d" * 80)], [alike, alike], 40).splitlines() == [
        " 0.7500  a  |  b",
        " 0.7500  c  |  " + "d" * 24 + "…",
    ]


def test_hits() -> None:
    hits = [{"score": 0.5, "line": 12345, "text": "x" * 50}, {"score": -0.25, "line": 7, "text": "a\tb"}]
    assert show_hits("what?", hits, 40).splitlines() == [
        "what?",
        "   score    line  text",
        "  0.5000  12,345  " + "x" * 21 + "…",
        " -0.2500       7  a b",
    ]


def test_numbers_stand_in_front_of_their_texts() -> None:
    assert show(["one", ("two", "three")], [Estimate(2.58804), Estimate(-0.5)], 80).splitlines() == [
        " 2.5880  one",
        "-0.5000  two  |  three",
    ]
