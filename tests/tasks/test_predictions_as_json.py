"""What models answer with is written by `json.dumps` as it is, and stays a dataclass; arrays have a plain form."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bertie.formats.format import Bundle
from bertie.inference.answers import rank_targets
from bertie.inference.filling import fill_jointly
from bertie.inference.likelihood import pseudo_log_likelihood
from bertie.inference.predictor import Predictor
from bertie.tasks._prediction import Prediction, plain
from bertie.tasks.classification import Classification, Verdict
from bertie.tasks.embedding import Embedding
from bertie.tasks.features import FeaturesTask
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.span_classification import SpanClassification
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import Task

PAIR = ("the cat", "it sat")
CASES: list[tuple[Task, Any]] = [
    (Classification(labels=("bad", "good")), "the film was good"),
    (Classification(labels=("bad", "good"), multi_label=True), "the film was good"),
    (MaskedLM(), "the [MASK] sat [MASK]"),
    (FeaturesTask(max_length=32), "the cat"),
    (NextSentence(max_length=32), PAIR),
    (Regression(), "the cat"),
    (SpanClassification(labels=("LOC", "PER")), "the cat sat"),
    (Tagging(labels=("O", "B-PER", "I-PER")), "the cat sat"),
    (Embedding(), "the cat"),
    (Embedding(), PAIR),
    (QuestionAnswering(max_length=32, stride=8), PAIR),
]


@pytest.fixture(params=range(len(CASES)))
def predictor_and_item(
    request: pytest.FixtureRequest, build_model: Callable[..., Any], tiny_tokenizer: Any
) -> tuple[Predictor, Any]:
    task, item = CASES[request.param]
    model = build_model(task, deviation=0.3)
    return Predictor(Bundle(model, task, tiny_tokenizer, model.encoder.config)), item


def test_json_takes_every_task_s_predictions(predictor_and_item: tuple[Predictor, Any]) -> None:
    predictor, item = predictor_and_item
    one, many = predictor.predict(item), predictor.predict([item, item])
    for written in (json.dumps(one), json.dumps(one, indent=1), json.dumps(one, sort_keys=True)):
        assert json.loads(written) == plain(one)
    assert json.loads(json.dumps(many)) == plain(many)
    if isinstance(one, Prediction):
        shown = {part.name for part in dataclasses.fields(one) if part.repr}  # type: ignore[arg-type]
        assert set(one) == set(one.as_dict()) == shown and type(one.as_dict()) is dict
        assert all(one[name] is getattr(one, name) for name in shown)
        assert dataclasses.is_dataclass(one) and repr(one).startswith(type(one).__name__ + "(")


def test_copies_are_whole(predictor_and_item: tuple[Predictor, Any]) -> None:
    predictor, item = predictor_and_item
    found = predictor.predict([item])
    for again in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):  # noqa: S301 (our own)
        assert plain(again) == plain(found) and type(again[0]) is type(found[0])


def test_ways_to_ask_a_masked_model(build_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    task = MaskedLM()
    model = build_model(task, deviation=0.3)
    predictor = Predictor(Bundle(model, task, tiny_tokenizer, model.encoder.config))
    items = ["the [MASK] sat"]
    for found in (
        rank_targets(predictor, items, ["cat", "film"], bar=None),
        fill_jointly(predictor, items, bar=None),
        pseudo_log_likelihood(predictor, ["the cat", ""]),
    ):
        assert json.loads(json.dumps(found)) == plain(found)
    nothing = pseudo_log_likelihood(predictor, [""])[0]
    assert json.loads(json.dumps(nothing))["per_piece"] is None  # it is no number, and JSON has none such


def test_equality_and_hash_are_the_dataclass_s() -> None:
    one, same, other = Verdict("a", 0.5, {"a": 0.5}), Verdict("a", 0.5, {"a": 0.5}), Verdict("b", 0.5, {"a": 0.5})
    assert one == same and one != other
    assert (one != same) is False  # which dict would answer otherwise
    assert dataclasses.replace(one, label="b") == other and dataclasses.replace(one, label="b")["label"] == "b"


def test_arrays_have_a_plain_form(build_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    task = FeaturesTask(max_length=32)
    model = build_model(task, deviation=0.3)
    found = Predictor(Bundle(model, task, tiny_tokenizer, model.encoder.config)).predict("the cat")
    assert isinstance(found["hidden"], np.ndarray)
    hidden = dict(found.items())["hidden"]
    assert isinstance(hidden[0][0], float)
    np.testing.assert_allclose(np.array(hidden), found.hidden, atol=1e-6)
    assert plain(np.float32(0.5)) == 0.5 and plain(float("inf")) is None


def test_fastapi_returns_them(build_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    encoders = pytest.importorskip("fastapi.encoders")
    task = Classification(labels=("bad", "good"))
    model = build_model(task, deviation=0.3)
    predictor = Predictor(Bundle(model, task, tiny_tokenizer, model.encoder.config))
    found = predictor.predict(["the film", "the cat"])
    assert encoders.jsonable_encoder(found) == plain(found)


def test_multiple_choice(build_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    from bertie.items.choice import Choice

    task = MultipleChoice()
    model = build_model(task, deviation=0.3)
    predictor = Predictor(Bundle(model, task, tiny_tokenizer, model.encoder.config))
    found = predictor.predict([Choice("the cat", ("sat", "ran"))])
    assert json.loads(json.dumps(found))[0]["scores"] == list(found[0].scores)
