"""bertie check: a verdict, findings and figures before any training; exit code 3 where data can't be used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.cli import main
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.writing import save_tokenizer

GOOD = [("good", f"the film {letter} was very good") for letter in "abcdefghij"]
BAD = [("bad", f"a poor story , not {letter}") for letter in "abcdefghij"]


@pytest.fixture
def tokenizer(tiny_tokenizer: Tokenizer, tmp_path: Path) -> str:
    save_tokenizer(tiny_tokenizer, tmp_path / "tokenizer")
    return str(tmp_path / "tokenizer")


def table(folder: Path, name: str, rows: list[tuple[str, str]]) -> str:
    path = folder / name
    path.write_text("".join(f"{label}\t{text}\n" for label, text in [("label", "text"), *rows]), encoding="utf-8")
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["check", *words])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def found(out: str) -> dict[str, list[str]]:
    findings = json.loads(out)["findings"]
    return {kind: [one["what"] for one in findings if one["severity"] == kind] for kind in ("error", "warning", "note")}


def test_sound_data_is_fine(tmp_path: Path, tokenizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    train, dev = (
        table(tmp_path, "train.tsv", GOOD + BAD),
        table(tmp_path, "dev.tsv", [("good", "it is"), ("bad", "not"), ("good", "the day"), ("bad", "the story")]),
    )
    code, out, said = run(capsys, train, "--task", "classification", "--dev", dev, "--model", tokenizer)
    assert code == 0
    assert out.splitlines()[0] == f"{train}, {dev}: fine"
    for part in (
        "columns.label",
        "pieces per word",
        "uncased, ",
        "50.0%   ████",
        "as the model will see them",
    ):
        assert part in out
    assert "line 2: good\n    [CLS] the film a was very good [SEP]" in out
    assert f"next: bertie finetune {tokenizer} --task classification --train {train} --dev {dev} --out" in said


def test_every_fault_is_found_at_once(tmp_path: Path, tokenizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*GOOD, *BAD, GOOD[0], ("bad", GOOD[1][1]), ("", "no label"), ("good", ""), ("once", "the " * 250_000)]
    train, dev = table(tmp_path, "train.tsv", rows), table(tmp_path, "dev.tsv", [("great", "a new one"), BAD[0]])
    code, out, _ = run(capsys, train, "--task", "classification", "--dev", dev, "--model", tokenizer, "--json")
    assert code == 3
    whole = found(out)
    assert whole["error"] == ["1 of 25 labels are empty or NaN", "label 'great' (1 items) is in no training item"]
    text = "\n".join(whole["warning"])
    for part in (
        "1 of 25 items have an empty text",
        "1 texts are longer than 100,000 characters, the longest has 1,000,000",
        "1 label has only one example: 'once'",
        "1 items have the text of an earlier one, but another label",
        "2 of 25 items (8.0%) are exact copies",
        "1 of 25 items (4.0%) have more than 128 pieces",
        "1 of 2 dev items (50.0%) are in",
    ):
        assert part in text
    assert json.loads(out)["verdict"].startswith("can't be used: 2 errors, ")
    code, out, said = run(capsys, train, "--task", "classification", "--dev", dev)
    assert code == 3 and "error: 1 of 25 labels are empty or NaN\n  " in out and "train.tsv: line 24" in out
    assert "-> complete or remove these rows" in out and "next:" not in said


@pytest.mark.parametrize(
    ("content", "task", "said"),
    [
        ("label\ttext\nx\ta b\nx\tc d\n", "classification", "every item has the label 'x'"),
        ("sentence\na b\n", "classification", "no column holds labels"),
        ("label\ttext\nx\ta\tb\n", "classification", "3 fields, but the header names 2"),
        ("label\ttext\n1\ta\nhigh\tb\n2\tc\n", "regression", "1 of 3 labels are not numbers, such as 'high'"),
        ("label\ttext\n1\ta\n1\tb\n", "regression", "every label is 1"),
        ("", "classification", "is empty"),
        ("EU B-ORG\nrejects\n", "tagging", "fields"),
        ("EU O\nsays O\n", "tagging", "all tags are O"),
    ],
)
def test_what_makes_training_impossible(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, task: str, said: str
) -> None:
    file = tmp_path / ("a.conll" if task == "tagging" else "a.tsv")
    file.write_text(content, encoding="utf-8")
    code, out, _ = run(capsys, str(file), "--task", task)
    assert code == 3
    assert "can't be used: 1 error" in out.splitlines()[0] and said in " ".join(out.split())


def squad(folder: Path, *answers: tuple[str, int]) -> str:
    context = "Bonn lies on the Rhine, and Bonn is old."
    asked = [
        {"id": f"q{number}", "question": "Where is it?" * number, "answers": [{"text": text, "answer_start": start}]}
        for number, (text, start) in enumerate(answers, 1)
    ]
    path = folder / "a.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": asked}]}]}), encoding="utf-8")
    return str(path)


def test_answers(tmp_path: Path, tokenizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = squad(tmp_path, ("the Rhine", 13), ("Rhine", 3), ("Bonn", 7), ("Köln", 0))
    code, out, _ = run(
        *(capsys, file, "--task", "question_answering", "--model", tokenizer, "--length", "48", "--json")
    )
    assert code == 0, out
    text = "\n".join(found(out)["warning"])
    assert "were moved to the only occurrence of their text" in text
    assert "2 of 4 questions have answers that never occur" in text and "'Bonn'" in text
    assert "questions have more than" in text  # q3 and q4 fill more than half of a window
    assert "as the model" not in text
    assert json.loads(out)["files"][0]["examples"][0]["label"] == "the Rhine"
    code, out, _ = run(capsys, squad(tmp_path, ("", 0)), "--task", "question_answering")
    assert code == 3 and "there is nothing to learn" in out


def test_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.dumps({"text": text, "label": label}) for label, text in GOOD + BAD]
    (tmp_path / "train.jsonl").write_text("\n".join(rows), encoding="utf-8")
    code, out, _ = run(capsys, f"hub:{tmp_path}:train", "--task", "classification", "--dev", f"hub:{tmp_path}:train")
    assert code == 0 and "20 of 20 dev items (100.0%)" in out
    assert run(capsys, f"hub:{tmp_path}:dev", "--task", "classification")[0] == 2


def test_several_files_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("label\ttext\ncomedy, drama\tone\ndrama\ttwo\nhorror, drama\tthree\ncomedy, horror\tfour\n")
    other = table(tmp_path, "b.tsv", GOOD + BAD)
    report: Any = bertie.check([path, other], task="classification", settings={"multi_label": "true"})
    assert report.exit_code == 0 and len(report.values["files"]) == 2
    assert {row["label"] for row in report.values["files"][0]["labels"]} == {"comedy", "drama", "horror"}
    assert report.findings == [] and report.title.endswith("fine")


def test_labels_in_lists(tmp_path: Path) -> None:
    path, dev = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    rows = [{"text": f"number {n}", "label": [["big", "red"], [], ["red"], ["big"]][n % 4]} for n in range(40)]
    path.write_text("\n".join(map(json.dumps, rows[:20])), encoding="utf-8")
    dev.write_text("\n".join(map(json.dumps, rows[20:])), encoding="utf-8")
    report: Any = bertie.check([path], task="classification", dev=dev)
    assert report.exit_code == 0 and report.findings == []
    assert {row["label"]: row["items"] for row in report.values["files"][0]["labels"]} == {"big": 10, "red": 10}


def test_pairs_for_embeddings_are_two_sequences(tmp_path: Path, tokenizer: str, capsys: Any) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("text\tpair\nthe cat\ta poor dog\nthe story\tthe film\n", encoding="utf-8")
    whole = json.loads(run(capsys, str(path), "--task", "embedding", "--model", tokenizer, "--json")[1])["files"][0]
    assert whole["lengths"]["longest"] == 5
    assert whole["examples"][0]["pieces"] == ["[CLS] the cat [SEP]", "[CLS] a poor dog [SEP]"]


def test_targets_to_write_are_no_classes(tmp_path: Path, tokenizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"the film {letter} was long and {letter} was good\ta good {letter} film\n" for letter in "abcdef")
    file = tmp_path / "a.tsv"
    file.write_text(f"source\ttarget\n{rows}what is it\tNaN\n", encoding="utf-8")
    words = (str(file), "--task", "generation", "--json")
    code, out, _ = run(capsys, *words, "--model", tokenizer, "--settings", "max_target=4", "--length", "8")
    told = [one for one in json.loads(out)["findings"] if "more than" in one["what"]]
    assert code == 0
    assert [one["what"] for one in told] == [
        "6 of 7 targets (85.7%) have more than 4 pieces",
        "6 of 7 items (85.7%) have more than 8 pieces",
    ]
    assert "max_target=5" in told[0]["remedy"] and "window" not in told[1]["remedy"]
    code, out, _ = run(capsys, *words)
    assert (code, json.loads(out)["files"][0]["targets"]["longest"]) == (0, 4)
    file.write_text(f"source\ttarget\n{rows}what is it\t\n", encoding="utf-8")
    assert run(capsys, *words)[0] == 3


@pytest.mark.parametrize(("task", "slides"), [("masked_lm", False), ("classification", True)])
def test_windows_are_offered_where_a_task_has_them(
    tmp_path: Path, task: str, slides: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    file = table(tmp_path, "a.tsv", GOOD + BAD)
    out = run(capsys, file, "--task", task, "--length", "5", "--json")[1]
    (told,) = (one for one in json.loads(out)["findings"] if "more than 5 words" in one["what"])
    assert ("--truncation window" in told["remedy"]) == slides


def story(folder: Path, *documents: str) -> str:
    path = folder / "text.txt"
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return str(path)


def test_raw_text(tmp_path: Path, tokenizer: str, capsys: pytest.CaptureFixture[str]) -> None:
    sentences = [
        f"The cat ran to the {letter} house. The dog sat. A bird slept. The fish ate." for letter in "abcdefghij" * 4
    ]
    path = story(tmp_path, *sentences)
    code, out, said = run(capsys, path)
    assert code == 0 and out.splitlines()[0] == f"{path}: 2 warnings"
    assert "30 of 40 documents (75.0%) are exact copies" in out
    assert "estimated random next share" in out and "sentences" in out and "Reading" in said
    assert f"next: bertie train-tokenizer {path} --out out/tokenizer" in said
    figures = json.loads(run(capsys, path, "--model", tokenizer, "--json")[1])["files"][0]
    assert figures["sentences"] == 160 and figures["unknown_share"] == 0
    corpus = bertie.prepare_corpus([Path(path)], tokenizer=Path(tokenizer), out=tmp_path / "corpus", processes=1)
    assert figures["estimated_random_next_share"] == pytest.approx(corpus.values["random_next_share"])
    assert figures["pieces"] == corpus.values["tokens"]


def test_raw_text_that_can_not_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"One caf\xe9. Two.\n\nThree. Four.\n")
    code, out, _ = run(capsys, str(bad), str(tmp_path / "*.txt"))
    assert code == 0 and "byte offset 7" in out and "--bad-utf8 replace" in out
    empty = tmp_path / "empty.txt"
    empty.touch()
    code, out, _ = run(capsys, str(empty))
    assert code == 3 and "no text found in 1 files" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.txt"], "no such file"),
        (["text.txt", "--dev", "text.txt"], "--dev requires --task"),
        (["text.txt", "--columns", "label=a"], "raw text has one column"),
        (["text.txt", "--task", "clasification"], "did you mean 'classification'"),
        (["text.txt", "--task", "classification", "--documents", "file"], "--documents is for raw text"),
        (["text.txt", "--task", "classification", "--settings", "colour=red"], "no setting 'colour'"),
        (["text.txt", "--task", "classification", "--length", "3"], "must be at least 5"),
        (["nowhere.tsv", "--task", "classification"], "no such file"),
    ],
)
def test_what_a_user_must_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    story(tmp_path, "One. Two.", "Three. Four.")
    code, out, said = run(capsys, str(tmp_path / words[0]), *words[1:])
    assert (code, out) == (2, "") and message in said


def test_raw_text_is_checked_without_torch(tmp_path: Path) -> None:
    words = ["check", story(tmp_path, "One. Two.", "Three. Four.")]
    code = f"import sys\nfrom bertie.cli import main\ncode = main({words!r})\nsys.exit(code or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.realdata
def test_real_tables(test_data: Path, tokenizer: str) -> None:
    sst2, vocabulary = test_data / "glue" / "sst2", test_data / "vocab" / "bert-base-uncased-vocab.txt"
    report: Any = bertie.check(
        [sst2 / "dev.tsv.gz"], task="classification", dev=sst2 / "test.tsv.gz", model=str(vocabulary)
    )
    assert report.exit_code == 0
    first = report.values["files"][0]
    assert first["items"] == 872 and first["lengths"]["longest"] == 55 and first["unknown_share"] == 0
    assert len(first["examples"]) == 10


def test_raw_text_in_one_of_two_columns_says_what_check_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("headline,story\n" + "".join(f"A headline {n},A longer story of day {n}\n" for n in range(9)))
    code, out, _ = run(capsys, str(path), "--json")
    assert code == 3 and "--columns text=NAME" in found(out)["error"][0] and "--text-column" not in out
    assert run(capsys, str(path), "--columns", "text=story")[0] == 0
