"""Predictions of a file can be joined to its rows; what is a file's name or a table is not taken for a text."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertie.cli import main
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.tasks.classification import Classification
from bertie.tasks.task import TaskModel


@pytest.fixture(scope="module")
def film(build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    task = Classification(labels=("bad", "good"), max_length=16)
    model = build_model(task, deviation=0.3)
    folder = tmp_path_factory.mktemp("models") / "film"
    write(Bundle(model, task, tiny_tokenizer, model.encoder.config), folder)
    return str(folder)


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda text: monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def records(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["predict", *words, "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["predict", *words]) in (2, 3)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.txt", "good\n\nbad film\n \nthe cat\n", [(1, None), (2, None), (3, None), (4, None), (5, None)]),
        ("a.tsv", "text\tid\ngood\tx1\n\nbad film\tx2\n", [(2, "x1"), (4, "x2")]),
        ("a.csv", 'id,text\nq7,good\n\nq8,"bad\nfilm"\nq9,the cat\n', [(2, "q7"), (4, "q8"), (6, "q9")]),
        ("a.jsonl", '{"id": 3, "text": "good"}\n\n{"id": 5, "text": "bad film"}\n', [(1, "3"), (3, "5")]),
        ("a.jsonl", '{"id": 3, "text": "good"}\n{"id": 4, "text": null}\n{"id": 5, "text": "a"}\n',
         [(1, "3"), (2, "4"), (3, "5")]),
    ],
)  # fmt: skip
def test_each_prediction_says_where_its_row_is(
    film: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, places: list[Any]
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    found = records(capsys, film, "--file", str(file))
    assert [(one["line"], one.get("id")) for one in found] == places
    for one in found:
        assert next(iter(one)) == "line"
        assert (one["label"] is None) == (not one["text"].strip()) == (one["scores"] is None)


def test_a_line_without_text_has_null_and_is_counted(
    film: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("good\n\nbad film\n\n", encoding="utf-8")
    assert main(["predict", film, "--file", str(file)]) == 0
    captured = capsys.readouterr()
    assert "2 of 4 have no text, the first in line 2; their prediction is null" in captured.err
    assert [line.split(maxsplit=2)[2] for line in captured.out.splitlines()] == ["good", "bad film"]
    file.write_text("\n\n", encoding="utf-8")
    assert records(capsys, film, "--file", str(file)) == [{"line": 1, "text": ""}, {"line": 2, "text": ""}]


def test_a_file_whose_name_is_given_as_a_text(
    film: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.csv").write_text("text\ngood\n")
    Path("README").write_text("good\n")
    for name in ("small.csv", "README", str(tmp_path / "small.csv")):
        assert f"{name} is a file; to read it, give --file {name}" in refusal(capsys, film, name)
        assert "is a file" in refusal(capsys, film, "good", "--pair", name)
    assert "other.TSV looks like a file, and there is none" in refusal(capsys, film, "good", "other.TSV")
    assert "to read standard input, give no text at all" in refusal(capsys, film, "-")
    (one,) = records(capsys, film, "we read small.csv")
    assert one["label"] and "line" not in one
    assert len(records(capsys, film, "n" * 5000, "a\0b")) == 2


def test_the_name_of_a_file_may_be_piped_in(
    film: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, type_in: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.csv").write_text("text\ngood\n")
    type_in("small.csv\n\ngood\n")
    found = records(capsys, film)
    assert [(one["line"], one["text"], one["label"] is None) for one in found] == [
        (1, "small.csv", False), (2, "", True), (3, "good", False)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        "id,text\n1,good film\n2,bad film\n",
        "id,nachricht,status\n1,gut,offen\n2,schlecht,zu\n",
        "id;body\n7;good\n8;bad\n",
        "label,sentence\npos,good film\n",
        'text,label\n"good, and cheap",pos\n"bad",neg\n',
        "id\ttext\nx1\tgood\nx2\tbad\n",
        "编号,文本\n1,好\n2,坏\n",
        '{"text": "good"}\n{"text": "bad"}\n',
        '{"id": 1, "text": "good"}\n',
    ],
)
def test_a_table_on_standard_input_is_refused(
    film: str, capsys: pytest.CaptureFixture[str], type_in: Any, text: str
) -> None:
    type_in(text)
    said = refusal(capsys, film)
    assert "save it as a file and give --file; if its lines are texts after all, save them as .txt" in said


@pytest.mark.parametrize(
    "text",
    [
        "Hello, world\nGood food, bad service\n",
        "good\nbad film\n",
        "the film, the cat\n",
        "{not json\n{either}\n",
        "the cat\tsat\nthe film\tran\n",
        "Well, no\n3, 4 or 5 times\nYes, and well, no\n",
    ],
)
def test_lines_with_commas_are_texts(film: str, capsys: pytest.CaptureFixture[str], type_in: Any, text: str) -> None:
    type_in(text)
    assert len(records(capsys, film)) == len(text.splitlines())
