"""bertie predict's questions to masked language models, and choices: flags, text, JSON, and wishes that don't fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertie.cli import main
from bertie.commands.predict import predict
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.inference.answers import rank_targets
from bertie.inference.predictor import load
from bertie.tasks.classification import Classification
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.task import TaskModel

TASKS = {
    "film": Classification(labels=("bad", "good"), max_length=16),
    "cloze": Pretraining(max_length=32, top_k=3),
    "choose": MultipleChoice(max_length=32),
}


@pytest.fixture(scope="module")
def folders(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    room = tmp_path_factory.mktemp("models")
    for name, task in TASKS.items():
        model = build_model(task, deviation=0.3)
        write(Bundle(model, task, tiny_tokenizer, model.encoder.config), room / name)
    return {name: str(room / name) for name in TASKS}


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code = main(["predict", *words, "--quiet"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def fail(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["predict", *words, "--quiet"])
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ")
    return code, captured.err


def test_masks_filled_together(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(capsys, folders["cloze"], "the [MASK] sat [MASK]", "[MASK] ran", "--joint").splitlines()
    assert shown[0] == "the [MASK] sat [MASK]" and len(shown) == 9 and all(" … " in line for line in shown[1:4])
    (line,) = run(capsys, folders["cloze"], "the [MASK] sat [MASK]", "--joint", "--top-k", "2", "--json").splitlines()
    record = json.loads(line)
    assert record["text"] == "the [MASK] sat [MASK]" and len(record["fillings"]) == 2
    assert set(record["fillings"][0]) == {"tokens", "score", "token_ids"} and len(record["fillings"][0]["tokens"]) == 2


def test_targets(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    words = (folders["cloze"], "the [MASK] sat", "--targets", "cats,old dog", "fish")
    shown = run(capsys, *words).splitlines()
    assert len(shown) == 4 and all("per piece" in line for line in shown[1:])
    (line,) = run(capsys, *words, "--json").splitlines()
    (expected,) = rank_targets(load(folders["cloze"]), ["the [MASK] sat"], ["cats", "old dog", "fish"])
    assert [one["answer"] for one in json.loads(line)["answers"]] == [one.answer for one in expected]
    assert len(run(capsys, *words, "--top-k", "1").splitlines()) == 2
    report = predict(folders["cloze"], ("the [MASK] sat",), targets=("cats", "old dog,fish"))
    assert report.predictions == [expected]


def test_answers_of_several_pieces(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = run(capsys, folders["cloze"], "the [MASK] sat", "--answer-length", "2", "--json").splitlines()
    answers = json.loads(line)["answers"]
    assert 0 < len(answers) <= 3 and set(answers[0]) == {"answer", "score", "sum", "per_piece", "pieces"}
    assert all(1 <= len(answer["pieces"]) <= 2 for answer in answers)


def test_likelihoods(folders: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shown = run(capsys, folders["cloze"], "the cats sat", "", "--likelihood").splitlines()
    assert shown[0].split() == ["sum", "per", "piece", "perplexity"] and shown[1].endswith("  the cats sat")
    assert "nan" in shown[2]
    file = tmp_path / "a.txt"
    file.write_text("the cats sat\n\n", encoding="utf-8")
    lines = run(capsys, folders["cloze"], "--file", str(file), "--likelihood", "--json").splitlines()
    first, second = (json.loads(line) for line in lines)
    assert first["pieces"] == ["the", "cat", "##s", "sat"] and first["sum"] == pytest.approx(sum(first["scores"]))
    assert second["line"] == 2 and second["pieces"] is None and second["per_piece"] is None
    assert float(shown[1].split()[0]) == pytest.approx(first["sum"], abs=1e-3)


def test_does_b_follow_a(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    words = (folders["cloze"], "the cat", "--pair", "it sat", "--task", "next_sentence")
    label, score, text = run(capsys, *words).split(maxsplit=2)
    assert label in ("is_next", "random") and text.strip() == "the cat  |  it sat"
    record = json.loads(run(capsys, *words, "--json"))
    assert set(record["scores"]) == {"is_next", "random"} and sum(record["scores"].values()) == pytest.approx(1.0)
    assert record["scores"][label] == record["score"] == pytest.approx(float(score), abs=1e-4)


def test_choices(folders: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    choices = ("it ran", "a house", "猫")
    flags = [word for choice in choices for word in ("--pair", choice)]
    shown = run(capsys, folders["choose"], "the cat", *flags).splitlines()
    assert shown[0] == "the cat" and sorted(line.split("  ")[1] for line in shown[1:]) == sorted(choices)
    scores = [float(line.removeprefix("  ")[8:].split()[0]) for line in shown[1:]]
    assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1.0, abs=1e-3)
    record = json.loads(run(capsys, folders["choose"], "the cat", *flags, "--json"))
    assert record["choice"] == choices[int(record["label"])] and len(record["scores"]) == 3
    mixed = ["the cat", "--pair", choices[0], "--threads", "1", f"--pair={choices[1]}", "--pair", choices[2]]
    for same in (["the cat", "--pair", *choices], mixed, ["\t".join(("the cat", *choices))]):
        assert json.loads(run(capsys, folders["choose"], *same, "--json")) == record
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"context": "the cat", "endings": choices, "label": 1}), encoding="utf-8")
    assert json.loads(run(capsys, folders["choose"], "--file", str(file), "--json")) == {"line": 1, **record}
    code, said = fail(capsys, folders["choose"], "the cat", "--pair", "alone")
    assert code == 3 and "text 1 has 1 choices" in said
    code, said = fail(capsys, folders["choose"], "the cat", "the dog", "--pair", "a", "b")
    assert code == 2 and "2 texts with choices by --pair; give one text" in said


@pytest.mark.parametrize(
    ("words", "code", "match"),
    [
        (("film", "a [MASK]", "--targets", "cat"), 2, "ranking targets needs a masked language model"),
        (("film", "a", "--likelihood"), 2, "a likelihood needs a masked language model"),
        (("choose", "a\tb\tc", "--joint"), 2, "filling masks needs a masked language model"),
        (("cloze", "a [MASK]", "--joint", "--targets", "cat"), 2, "--joint and --targets can't be combined"),
        (("cloze", "a", "--likelihood", "--top-k", "2"), 2, "--top-k has no effect with --likelihood"),
        (("cloze", "a [MASK]", "--answer-length", "0"), 2, "answers need at least 1 piece"),
        (("cloze", "a [MASK] [MASK]", "--answer-length", "2"), 3, "text 1 has 2 [MASK]"),
        (("cloze", "a [MASK]", "--targets", "cat,,dog"), 2, "target 2 is ''"),
        (("cloze", "a", "--joint"), 3, "text 1 has no [MASK] to fill"),
        (("cloze", "a [MASK]", "--truncation", "window"), 2, "pretraining.truncation must be one of error, truncate"),
    ],
)
def test_wishes_that_do_not_fit(
    folders: dict[str, str], capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, match: str
) -> None:
    found, said = fail(capsys, folders[words[0]], *words[1:])
    assert found == code and match in said
