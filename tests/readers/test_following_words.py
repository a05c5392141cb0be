"""A later file that could be read in two ways is read as the model's training file was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.tagging import Tagging

TWO_TAGS = "Ann B-PER B-X\nsaw O O\nUlm B-LOC B-Y\n\nYes O O\n"


def test_tags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    progress.set_quiet(False)
    train, dev = tmp_path / "train.conll", tmp_path / "dev.conll"
    for path in (train, dev):
        path.write_text(TWO_TAGS)
    learned = Tagging.read(train, columns={"tags": "1"}, labelled=True).reading
    assert Tagging.read(dev, labelled=True, like=learned).items[0].label == ("B-PER", "O", "B-LOC")
    with pytest.raises(DataError, match="may all be the tags"):
        Tagging.read(dev, labelled=True)
    with pytest.raises(DataError, match="may all be the tags"):  # a plan that doesn't fit is no help
        dev.write_text("".join(f"a{line}\n" if line else "\n" for line in TWO_TAGS.split("\n")))
        train.write_text("tok lab\nAnn B-PER\nsaw O\nUlm B-LOC\n")
        Tagging.read(dev, labelled=True, like=Tagging.read(train, columns={"words": "tok", "tags": "lab"}).reading)
    train.write_text("Ann B-PER\nsaw O\n")
    capsys.readouterr()
    dev.write_text("B-PER Ann\nO saw\n")  # plain by itself: the difference is said
    assert Tagging.read(dev, labelled=True, like=Tagging.read(train).reading).items[0].words == ("Ann", "saw")
    assert "the model learned from column '1'" in capsys.readouterr().err


def test_labels_of_choices(tmp_path: Path) -> None:
    def written(name: str, *labels: int) -> Path:
        rows = [{"text": "a", "choices": ["b", "c", "d"], "label": label} for label in labels]
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / name

    for labels, expected in (((0, 1, 2), "2"), ((1, 2, 3), "1")):
        learned = MultipleChoice.read(written("train.jsonl", *labels), labelled=True).reading
        dev = MultipleChoice.read(written("dev.jsonl", 2), labelled=True, like=learned)
        assert dev.items[0].label == expected


def test_answers(tmp_path: Path) -> None:
    row = {"question": "Wo?", "context": "In Ulm um Ulm", "answers": "Ulm", "answer": "In Ulm"}
    for name in ("train.jsonl", "dev.jsonl"):
        (tmp_path / name).write_text(json.dumps(row) + "\n")
    columns = {"question": "question", "context": "context", "answers": "answer"}
    learned = QuestionAnswering.read(tmp_path / "train.jsonl", columns=columns, labelled=True).reading
    (item,) = QuestionAnswering.read(tmp_path / "dev.jsonl", labelled=True, like=learned).items
    assert item.label is not None and item.label[0].text == "In Ulm"


def test_one_column_has_one_role(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"a": "x", "b": "y", "c": "z"}) + "\n")
    for task, columns in (
        (Tagging, {"words": "a", "tags": "a"}),
        (QuestionAnswering, {"question": "a", "context": "a"}),
        (MultipleChoice, {"text": "a", "choices": "b+c", "label": "a"}),
    ):
        with pytest.raises(SettingsError, match="one column has one role"):
            task.read(path, columns=columns)
