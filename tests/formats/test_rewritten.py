"""Folders that bertie wrote and transformers, or a hand, has changed since: another head, other labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from bertie.errors import DataError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.inference.predictor import load
from bertie.models.bert import BertConfig
from bertie.tasks._lookup import task_name
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.regression import Regression
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(40))], lowercase=True)
CONFIG = BertConfig(45, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24, max_positions=32)
TEXTS = ["piece1 piece2", "piece3"]


def written(folder: Path, task: Any) -> Path:
    huggingface.write(new(CONFIG, task, TOKENIZER, 3), folder)
    return folder


def by_transformers(folder: Path, out: Path, **values: Any) -> Path:
    """Open a folder with a head for classes, as one does to train it, and save it."""
    theirs: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, ignore_mismatched_sizes=True, **values
    )
    theirs.save_pretrained(out)
    transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(out)
    return out


def named(*names: str) -> dict[str, Any]:
    return {
        "num_labels": len(names),
        "id2label": dict(enumerate(names)),
        "label2id": {n: i for i, n in enumerate(names)},
    }


def changed(folder: Path, **values: Any) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    return folder


@pytest.mark.parametrize("task", [MaskedLM(max_length=16), Regression(max_length=16)])
def test_another_head(task: Any, tmp_path: Path) -> None:
    values = {**named("x", "y", "z"), "problem_type": "single_label_classification"}
    out = by_transformers(written(tmp_path / "a", task), tmp_path / "b", **values)
    bundle = huggingface.read(out)
    assert task_name(bundle.task) == "classification" and bundle.task.labels == ("x", "y", "z")  # type: ignore[attr-defined]
    assert "bertie wrote it for" in bundle.notes[0]
    theirs = transformers.pipeline("text-classification", model=str(out), top_k=None)(TEXTS)
    for ours, expected in zip(load(out, device="cpu").predict(TEXTS), theirs, strict=True):
        assert ours.scores == pytest.approx({one["label"]: one["score"] for one in expected}, abs=1e-5)


@pytest.mark.parametrize("names", [("bad", "good"), ("x", "y", "z")])
def test_other_labels_of_the_same_head(names: tuple[str, ...], tmp_path: Path) -> None:
    folder = written(tmp_path / "a", Classification(labels=("neg", "pos"), max_length=16))
    bundle = huggingface.read(by_transformers(folder, tmp_path / "b", **named(*names)))
    assert bundle.task.labels == names and bundle.task.max_length == 16  # type: ignore[attr-defined]
    assert f"its labels are {', '.join(names)}, no longer neg, pos" in bundle.notes[0]
    several = by_transformers(folder, tmp_path / "c", problem_type="multi_label_classification")
    read = huggingface.read(several)
    assert read.task.multi_label and read.task.labels == ("neg", "pos")  # type: ignore[attr-defined]
    assert not huggingface.read(by_transformers(folder, tmp_path / "d")).notes


def test_what_a_hand_changed_in_one_place_is_asked_for(tmp_path: Path) -> None:
    folder = written(tmp_path / "a", Classification(labels=("neg", "pos"), max_length=16))
    changed(folder, id2label={"0": "bad", "1": "good"})
    with pytest.raises(DataError, match=r"bad, good in id2label, neg, pos in bertie.*--settings 'labels=bad\|good'"):
        huggingface.read(folder)
    bundle = huggingface.read(folder, settings={"labels": "bad|good"})
    assert bundle.task.labels == ("bad", "good") and not bundle.notes  # type: ignore[attr-defined]
    other = written(tmp_path / "b", Classification(labels=("neg", "pos"), max_length=16))
    changed(other, problem_type="multi_label_classification")
    with pytest.raises(DataError, match=r"multi_label: true in problem_type, false in .*'multi_label=true'"):
        huggingface.read(other)
    assert huggingface.read(other, settings={"multi_label": "true"}).task.multi_label  # type: ignore[attr-defined]
