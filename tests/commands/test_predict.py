"""bertie predict: texts from arguments, standard input and files; text and JSON out; wrong wishes answered clearly."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertie.cli import main
from bertie.commands.predict import predict
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.tasks.classification import Classification
from bertie.tasks.features import FeaturesTask
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.task import TaskModel

TASKS = {
    "film": Classification(labels=("bad", "good"), max_length=16),
    "cloze": MaskedLM(max_length=32, top_k=2),
    "vectors": FeaturesTask(max_length=32),
    "follows": NextSentence(max_length=32),
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


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    return lambda raw: monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    code = main(["predict", *words, "--quiet"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert captured.err == ""
    return captured.out


def fail(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main(["predict", *words, "--quiet"])
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ")
    return code, captured.err


def test_labels_as_text(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, folders["film"], "the film was good", "a\tb").splitlines()
    assert len(lines) == 2
    label, score, text = lines[0].split(maxsplit=2)
    assert label in ("bad", "good") and 0.5 <= float(score) <= 1 and text == "the film was good"
    assert lines[1].endswith("a  |  b")


def test_json_is_one_object_a_text(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys, folders["film"], "good", "北京", "--json").splitlines()
    first, second = (json.loads(line) for line in lines)
    assert first["text"] == "good" and second["text"] == "北京"
    assert set(first["scores"]) == {"bad", "good"} and first["score"] == first["scores"][first["label"]]
    assert "北京" in lines[1]


def test_fillings(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(capsys, folders["cloze"], "the [MASK] sat", "[MASK] cat [MASK]").splitlines()
    assert shown[0] == "the [MASK] sat" and shown[4] == "[MASK] cat [MASK]"
    assert shown[5].strip() == "[MASK] 1" and shown[8].strip() == "[MASK] 2" and len(shown) == 11
    (line,) = run(capsys, folders["cloze"], "the [MASK] sat", "--json", "--top-k", "3").splitlines()
    (guesses,) = json.loads(line)["masks"]
    assert len(guesses) == 3 and set(guesses[0]) == {"token", "score", "token_id"}


def test_vectors(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "  hidden 3 x 32:" in run(capsys, folders["vectors"], "cat")
    found = json.loads(run(capsys, folders["vectors"], "cat", "--json"))
    expected = predict(folders["vectors"], ("cat",)).predictions[0]
    np.testing.assert_allclose(np.array(found["hidden"]), expected.hidden, atol=1e-6)
    assert found["tokens"] == ["[CLS]", "cat", "[SEP]"] and len(found["pooled"]) == 32


def test_pairs(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    by_tab = run(capsys, folders["follows"], "the cat\tsat", "--json")
    by_flag = run(capsys, folders["follows"], "the cat", "--pair", "sat", "--json")
    assert json.loads(by_tab) == json.loads(by_flag)
    assert json.loads(by_tab)["pair"] == "sat" and json.loads(by_tab)["label"] in ("is_next", "random")
    code, said = fail(capsys, folders["follows"], "the cat", "--pair", "sat", "ran")
    assert code == 2 and "1 texts and 2 second texts" in said
    code, said = fail(capsys, folders["follows"], "alone")
    assert code == 3 and "text 1 has no second text" in said
    code, said = fail(capsys, folders["follows"], "a\tb\tc")
    assert code == 3 and "has 2 tabs" in said


def test_standard_input(
    folders: dict[str, str], capsys: pytest.CaptureFixture[str], type_in: Callable[[bytes], None]
) -> None:
    type_in("good\r\n\nthe cat\tsat\n".encode("utf-8-sig"))
    records = [json.loads(line) for line in run(capsys, folders["film"], "--json").splitlines()]
    assert [record["text"] for record in records] == ["good", "", "the cat"] and records[2]["pair"] == "sat"
    type_in(b"good\nba\xffd")
    code, said = fail(capsys, folders["film"])
    assert code == 3 and "standard input is not UTF-8 at byte 7" in said
    type_in(b"")
    code, said = fail(capsys, folders["film"])
    assert code == 3 and "standard input is empty" in said


def test_nothing_to_predict_for_at_a_terminal(
    folders: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    type_in: Callable[[bytes], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    type_in(b"")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    code, said = fail(capsys, folders["film"])
    assert code == 2 and "no texts: give them as arguments" in said


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "good\nbad film\n"),
        ("a.tsv", "sentence\tlabel\ngood\tunheard\nbad film\tof\n"),
        ("a.csv", 'text,label\ngood,x\n"bad film",y\n'),
        ("a.jsonl", '{"text": "good"}\n{"text": "bad film"}\n'),
    ],
)
def test_files(
    folders: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, content: str
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    records = [json.loads(line) for line in run(capsys, folders["film"], "--file", str(file), "--json").splitlines()]
    assert [record["text"] for record in records] == ["good", "bad film"]


def test_columns_of_a_file(folders: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("one,two\ngood,bad\n", encoding="utf-8")
    shown = run(capsys, folders["film"], "--file", str(file), "--columns", "text=two,pair=one", "--json")
    assert json.loads(shown)["text"] == "bad" and json.loads(shown)["pair"] == "good"
    assert fail(capsys, folders["film"], "text", "--file", str(file))[0] == 2
    assert fail(capsys, folders["film"], "text", "--columns", "text=two")[0] == 2


def test_wishes(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(run(capsys, folders["cloze"], "the cat", "--task", "features", "--json"))
    assert len(found["tokens"]) == 4
    code, said = fail(capsys, folders["cloze"], "the cat and the dog [MASK]", "--length", "5")
    assert code == 3 and "text 1 has" in said and "more than 5" in said
    code, said = fail(capsys, folders["film"], "the cat", "--top-k", "3")
    assert code == 2 and "classification has no setting 'top_k'" in said
    code, said = fail(capsys, folders["cloze"], "[MASK]", "--top-k", "0")
    assert code == 2 and "top_k must be at least 1" in said


def test_long_texts_are_cut_aloud(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", folders["film"], "the cat " * 30]) == 0
    said = capsys.readouterr().err
    assert "warning: texts longer than 16 tokens are cut" in said and "Predicting" not in said  # one text needs no bar


def test_a_long_file_shows_a_bar(folders: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("cat\n" * 200, encoding="utf-8")
    assert main(["predict", folders["film"], "--file", str(tmp_path / "a.txt")]) == 0
    captured = capsys.readouterr()
    assert "Predicting: 200/200 texts" in captured.err and len(captured.out.splitlines()) == 200


def test_texts_beside_labels_fit_the_terminal(folders: dict[str, str]) -> None:
    report = predict(folders["film"], ("the cat sat " * 20, "北京的猫" * 40, "line\nbreak\x1b[31m"))
    lines = report.as_text(60).splitlines()
    assert len(lines) == 3 and lines[0].endswith("…") and lines[1].endswith("…")
    assert len(lines[0]) <= 60 and len(lines[1]) < 45  # a Chinese character takes two columns
    assert "\x1b" not in lines[2] and lines[2].endswith("line break [31m")
