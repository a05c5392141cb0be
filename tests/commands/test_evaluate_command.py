"""bertie evaluate: a table in, scores, classes, confusion and mistakes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.cli import main
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.tasks.classification import Classification
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.task import TaskModel

TASKS = {
    "film": Classification(labels=("bad", "good"), max_length=16),
    "many": Classification(labels=tuple(f"class {number}" for number in range(20)), max_length=16),
    "cloze": Pretraining(max_length=32),
}
ROWS = [("good", "good"), ("bad", "a bad film"), ("good", "the cat " * 20), ("bad", "very poor")]


@pytest.fixture(scope="module")
def folders(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    room = tmp_path_factory.mktemp("models")
    for name, task in TASKS.items():
        model = build_model(task, deviation=0.3)
        write(Bundle(model, task, tiny_tokenizer, model.encoder.config), room / name)
    return {name: str(room / name) for name in TASKS}


@pytest.fixture
def table(tmp_path: Path) -> str:
    file = tmp_path / "dev.tsv"
    file.write_text("".join(f"{label}\t{text}\n" for label, text in [("label", "text"), *ROWS]), encoding="utf-8")
    return str(file)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["evaluate", *words, "--quiet"])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_json(folders: dict[str, str], table: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, said = run(capsys, folders["film"], table, "--json")
    assert code == 0, said
    found = json.loads(out)
    assert found["items"] == 4 and found["items_cut"] == 1 and found["loss"] > 0
    assert set(found["scores"]) == {"accuracy", "macro_f1", "matthews"}
    assert sum(row["guess bad"] + row["guess good"] for row in found["confusion"]) == 4
    wrong = [row["line"] for row in found["worst"]]
    assert len(wrong) == round(4 * (1 - found["scores"]["accuracy"])) and set(wrong) <= {2, 3, 4, 5}
    assert [row["support"] for row in found["classes"]] == [2, 2]


def test_text(folders: dict[str, str], table: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, folders["film"], table)
    assert code == 0
    for word in ("scores.accuracy", "scores.macro f1", "confusion", "classes", "guess good", "most confident mistakes"):
        assert word in out
    assert "the cat " * 20 not in out


def test_a_wide_confusion_is_left_out_of_the_text(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "dev.tsv"
    file.write_text("label\ttext\nclass 3\tcat\nclass 4\tdog\n", encoding="utf-8")
    assert "guess class" not in run(capsys, folders["many"], str(file))[1]
    assert len(json.loads(run(capsys, folders["many"], str(file), "--json")[1])["confusion"]) == 20


def test_plain_texts_for_a_masked_lm(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "held-out.txt"
    file.write_text("the cat sat in the house\na dog ran\n", encoding="utf-8")
    code, out, said = run(capsys, folders["cloze"], str(file), "--json")
    assert code == 0, said
    found = json.loads(out)
    assert (
        found["loss"] > 0
        and set(found["scores"]) == {"mlm_accuracy", "mask_loss", "mask_accuracy"}
        and "confusion" not in found
    )


def test_a_report(folders: dict[str, str], table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "page.html"
    code, out, said = run(capsys, folders["film"], table, "--length", "12", "--report", str(file), "--json")
    assert code == 0, said
    assert json.loads(out)["report"] == str(file)
    page = file.read_text(encoding="utf-8")
    for words in ("film on dev.tsv", "By class", "Calibration", "Worst errors", "length = 12", "bertie evaluate"):
        assert words in page
    assert "Curves" not in page


def test_in_python(folders: dict[str, str], table: str) -> None:
    assert 0.0 <= bertie.evaluate(folders["film"], table).scores["accuracy"] <= 1.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("label\ttext\ngreat\tcat\n", "dev.tsv:2: the label 'great' (1 times)"),
        ("label\ttext\ngood\tcat\n\tdog\n", "dev.tsv:3: the label is"),
        ("sentence\ncat\n", "no column holds labels"),
        ("", "dev.tsv is empty"),
    ],
)
def test_what_can_not_be_measured(
    folders: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    file = tmp_path / "dev.tsv"
    file.write_text(content, encoding="utf-8")
    code, out, error = run(capsys, folders["film"], str(file))
    assert code == 3 and out == "" and said in error
