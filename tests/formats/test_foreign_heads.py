"""What a config.json says of a head, or leaves open: one label, sigmoids, names given twice, typed lists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bertie.commands.convert import convert
from bertie.errors import DataError, SettingsError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.inference.predictor import load
from bertie.models.bert import BertConfig
from bertie.tasks.classification import Classification
from bertie.tasks.regression import Regression
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import parse_settings
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(40))], lowercase=True)
CONFIG = BertConfig(45, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24, max_positions=32)
TEXTS = ["piece1 piece2", "piece3"]
SIGMOID = "torch.nn.modules.activation.Sigmoid"
IDENTITY = "torch.nn.modules.linear.Identity"


def foreign(folder: Path, task: Any, **values: Any) -> Path:
    """Write a model as another program would, with `values` in its config.json."""
    made = new(CONFIG, task, TOKENIZER, 3)
    with torch.no_grad():
        for parameter in made.model.head.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    huggingface.write(made, folder)
    file = folder / "config.json"
    old = json.loads(file.read_text())
    drop = ("bertie", "problem_type", "sentence_transformers")
    file.write_text(json.dumps({**{key: value for key, value in old.items() if key not in drop}, **values}))
    return folder


def values(folder: Path, **settings: Any) -> list[float]:
    return [estimate.value for estimate in load(folder, device="cpu", **settings).predict(TEXTS)]


@pytest.mark.parametrize(
    ("said", "sigmoid"),
    [
        ({"sentence_transformers": {"activation_fn": SIGMOID}}, True),
        ({"sentence_transformers": {"activation_fn": IDENTITY}}, False),
        ({"sentence_transformers": {"version": "5.0"}}, True),
        ({"sbert_ce_default_activation_function": SIGMOID}, True),
        ({"sbert_ce_default_activation_function": IDENTITY}, False),
        ({"problem_type": "regression"}, False),
        ({}, False),
    ],
)
def test_a_cross_encoder_of_one_label(said: dict[str, Any], sigmoid: bool, tmp_path: Path) -> None:
    raw = values(foreign(tmp_path / "raw", Regression(max_length=16), problem_type="regression"))
    assert not all(0 < value < 1 for value in raw)
    folder = foreign(tmp_path / "model", Regression(max_length=16), **said)
    expected = torch.tensor(raw).sigmoid().tolist() if sigmoid else raw
    assert values(folder) == pytest.approx(expected, abs=1e-6)
    notes = huggingface.read(folder).notes
    assert any("one label and doesn't say what it means" in note for note in notes) == (said == {})
    huggingface.write(huggingface.read(folder), tmp_path / "again")
    assert values(tmp_path / "again") == pytest.approx(expected, abs=1e-6)
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert written.get("problem_type") == (None if sigmoid else "regression")
    del written["bertie"]
    (tmp_path / "again" / "config.json").write_text(json.dumps(written))
    assert values(tmp_path / "again") == pytest.approx(expected, abs=1e-6)


def test_an_activation_by_the_users_word(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "model", Regression(max_length=16))
    assert all(0 < value < 1 for value in values(folder, activation="sigmoid"))
    assert not huggingface.read(folder, settings={"activation": "none"}).notes
    other = foreign(tmp_path / "other", Regression(max_length=16), sentence_transformers={"activation_fn": "x.Tanh"})
    with pytest.raises(DataError, match=r"activation_fn 'x\.Tanh' is not supported; bertie has Sigmoid and Identity"):
        huggingface.read(other)
    learned = huggingface.read(other, task="classification", settings={"labels": ("a", "b")}, new_head=True)
    assert learned.task.name == "classification"


def test_one_label_of_a_classifier_is_a_sigmoid(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "model", Regression(max_length=16), problem_type="single_label_classification")
    predictor = load(folder, device="cpu")
    shares = [verdict.scores["LABEL_0"] for verdict in predictor.predict(TEXTS)]
    assert shares == pytest.approx(values(folder, task="regression", activation="sigmoid"), abs=1e-6)
    (note,) = huggingface.read(folder).notes
    assert "has one label; its probability is the sigmoid of the logit, as in transformers" in note


def test_a_problem_that_there_is_not(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "model", Regression(max_length=16), problem_type="ranking")
    with pytest.raises(DataError, match="problem_type 'ranking' is not among regression"):
        huggingface.read(folder)


def test_two_labels_of_one_name(tmp_path: Path) -> None:
    task = Classification(("a", "b", "c"), max_length=16)
    folder = foreign(tmp_path / "model", task, id2label={"0": "other", "1": "sport", "2": "other"})
    with pytest.raises(SettingsError, match=r"has 'other' twice.*--settings 'labels=other\|sport\|other_2'"):
        huggingface.read(folder)
    with pytest.raises(SettingsError, match=r"has 3 classes but 2 label names: a, b; name each.*labels=a\|b\|c"):
        huggingface.read(folder, settings={"labels": ("a", "b")})
    convert(str(folder), tmp_path / "renamed", settings={"labels": "rest|sport|news"})
    renamed = json.loads((tmp_path / "renamed" / "config.json").read_text())
    assert renamed["id2label"] == {"0": "rest", "1": "sport", "2": "news"}
    verdict = load(folder, device="cpu", labels="other|sport|other_2").predict(TEXTS[0])
    assert list(verdict.scores) == ["other", "sport", "other_2"] and sum(verdict.scores.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("a|b|c", ["a", "b", "c"]),
        ("bad | not bad", ["bad", "not bad"]),
        ('["a, b", "c|d"]', ["a, b", "c|d"]),
        (("a", "b"), ("a", "b")),
    ],
)
def test_names_that_were_typed(typed: Any, names: Any) -> None:
    assert parse_settings(Classification, {"labels": typed}) == {"labels": names}


@pytest.mark.parametrize("typed", ['["a"', "[1, 2]", '[["a"]]', "[" * 100_000])
def test_names_that_are_none(typed: str) -> None:
    with pytest.raises(SettingsError, match="labels"):
        parse_settings(Classification, {"labels": typed})


def test_a_tagger_with_types_alone(tmp_path: Path) -> None:
    folder = foreign(tmp_path / "model", Tagging(("O", "PER", "LOC"), max_length=16))
    (tagged,) = load(folder, device="cpu").predict(["piece1 piece2 piece3 piece4"])
    assert set(tagged.tags) <= {"O", "B-PER", "I-PER", "B-LOC", "I-LOC"}
    assert bool(tagged.spans) == any(tag != "O" for tag in tagged.tags)
