"""Predictions as people and programs read them, whatever form they have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertie.inference.plain_text import record, show, sides
from bertie.tasks.classification import Verdict
from bertie.tasks.features import Features
from bertie.tasks.masked_lm import Fill
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


def test_nothing() -> None:
    assert show([], [], 80) == ""
