"""Files as users have them, broken in every way: read, or refused in one sentence that names file and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bertie.cli import main

CONTEXT = "Anna wrote it in Berlin. Bob wrote it in Paris."
EMOJI = "😀 Anna wrote 𝒳 for cafe\u0301 owners."


def rows(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


def squad(*answers: tuple[str, int], context: str = CONTEXT, name: str = "1") -> str:
    told = [{"text": text, "answer_start": start} for text, start in answers]
    return json.dumps(
        {"data": [{"paragraphs": [{"context": context, "qas": [_asked(name, told), _asked("2", told)]}]}]}
    )


def _asked(name: str, answers: Any) -> dict[str, Any]:
    return {"id": name, "question": "Who?", "answers": answers}


def run(capsys: pytest.CaptureFixture[str], path: Path, task: str) -> tuple[int, str]:
    code = main(["check", str(path), "--task", task])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, " ".join((captured.out + captured.err).split())


@pytest.mark.parametrize(
    ("name", "task", "content", "message"),
    [
        ("a.tsv", "classification", "text\tlabel\nfine\t1\ncaf\xe9\t0\n".encode("cp1252"), "a.tsv:3: byte 0xe9"),
        ("a.tsv", "classification", "text\tlabel\nx\t1\n".encode("utf-16"), "this is UTF-16"),
        ("a.tsv", "classification", "text\tlabel\tlabel\nx y\t1\t2\nz w\t0\t1\n", "several columns are named 'label'"),
        ("a.tsv", "classification", "text\tlabel\n", "holds no rows"),
        ("a.tsv", "classification", "text\tlabel\na\tb\tc\n", "a.tsv:2: 3 fields"),
        ("a.tsv", "classification", "text\tlabel\na\t\nb\t1\n", "labels are empty or NaN"),
        ("a.csv", "classification", 'text,label\n"a,1\nb,0\n', "a.csv:"),
        ("a.jsonl", "classification", "", "a.jsonl is empty"),
        ("a.jsonl", "classification", '{"text": "a", "label": ["\\ud800"]}\n', "a.jsonl:1: 'label' holds half a char"),
        ("a.json", "classification", '["a", "b"]\n', "each row must be an object"),
        ("a.gz", "classification", b"\x1f\x8b\x08", "texts and labels are read from"),
        ("a.tsv.gz", "classification", b"\x1f\x8b\x08\0\0", "the file was damaged or not copied to its end"),
        ("a.parquet", "classification", b"PAR1", "no valid Parquet file"),
        ("a.tsv", "regression", "text\tscore\na\t1e300\nb\t-1e300\n", "needs numbers, below 1e+30"),
        ("a.tsv", "regression", "text\tscore\na\t1_0\nb\t2\n", "labels are no numbers, such as '1_0'"),
        ("a.conll", "tagging", "Anna\nruns\n\n", "a.conll:1: no tags here"),
        ("a.conll", "tagging", "a O\nb\nc O\nd O O\ne O\n\n", "a.conll:2: 1 fields and 1 more such lines (4)"),
        (
            "a.jsonl",
            "tagging",
            '{"tokens": ["a\\udfff"], "tags": ["O"]}\n',
            "a.jsonl:1: it contains half a char",
        ),
        ("a.jsonl", "tagging", '{"text": "Ann", "spans": [[0, 3, "\\ud800"]]}\n', "a.jsonl:1: it contains half"),
        ("a.json", "question_answering", squad(("Anna", 0), name="\ud800"), "the id holds half a character"),
        ("a.json", "question_answering", squad(), "none of 2 questions has an answer in its context"),
        (
            "a.jsonl",
            "question_answering",
            '{"question": "q", "context": "c", "answers": NaN}\n',
            "1: nothing is said",
        ),
        (
            "a.jsonl",
            "multiple_choice",
            '{"text": "q", "choices": ["a", "\\ud800"], "label": 0}\n',
            "a.jsonl:1: it contains half",
        ),
    ],
)
def test_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, task: str, content: str | bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, said = run(capsys, path, task)
    assert code in (2, 3) and message in said, said


@pytest.mark.parametrize(
    ("name", "task", "content", "message"),
    [
        ("a.tsv", "classification", "\ufefftext\tlabel\r\na b\tnone\r\nc d\tfavor\r\n" * 1, "none"),
        ("a.json", "classification", rows({"text": "a b", "label": 1}, {"text": "c d", "label": 0}), "fine"),
        ("a.json", "question_answering", squad(("  Paris ", 3)), "were moved to the only place"),
        ("a.json", "question_answering", squad(("Anna", 0), (" ", 4)), "answers that don't stand at their offset"),
        ("a.json", "question_answering", squad(("Anna", 0), name="2"), "have the id of an earlier one: 1 (2)"),
        ("a.json", "question_answering", squad(("𝒳", 13), ("cafe\u0301", 19), context=EMOJI), "several answers 2"),
    ],
)
def test_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, task: str, content: str, message: str
) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    code, said = run(capsys, path, task)
    assert code == 0 and message in said, said


def test_ten_thousand_labels_are_looked_at_in_no_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.tsv"
    lines = [f"text number {number}\tLabel{number}\n" for number in range(10_000)]
    path.write_text("".join(["text\tlabel\n", *lines, "one more text\tlabel7\n"]))
    code, said = run(capsys, path, "classification")  # comparing all pairs of labels took two minutes
    assert code == 0 and "forms of a number: 'Label7' and 'label7'" in said
