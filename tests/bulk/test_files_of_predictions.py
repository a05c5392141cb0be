"""`bertie predict --file IN --out OUT`: rows in their order, their own columns, then the columns of the predictions."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.bulk import run
from bertie.cli import main
from bertie.errors import SettingsError
from bertie.files.compression import ByteStream, format_suffix
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import TaskModel

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
zstandard = pytest.importorskip("zstandard")

TEXTS = ["good", "bad film", "the cat", 'a dog, "quoted"', "the river"]
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}
INPUTS = [".txt", ".txt.gz", ".csv", ".csv.xz", ".tsv", ".tsv.zst", ".jsonl", ".jsonl.gz", ".parquet", ".parquet.gz"]
OUTPUTS = [".jsonl", ".jsonl.zst", ".csv", ".csv.gz", ".tsv", ".tsv.xz", ".parquet"]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PART_ROWS", 2)


def fill(path: Path) -> list[dict[str, Any]]:
    """Write the texts into a file, and return its rows."""
    suffix = format_suffix(path)
    rows: list[dict[str, Any]] = [{"id": f"r{number}", "text": text} for number, text in enumerate(TEXTS)]
    if suffix == ".txt":
        rows, content = [{"text": text} for text in TEXTS], "".join(f"{text}\n" for text in TEXTS).encode()
    elif suffix == ".jsonl":
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    elif suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        content = path.read_bytes()
    else:
        mark = "\t" if suffix == ".tsv" else ","
        quoted = [text if mark == "\t" else '"' + text.replace('"', '""') + '"' for text in TEXTS]
        lines = [f"r{number}{mark}{text}" for number, text in enumerate(quoted)]
        content = "".join(f"{line}\n" for line in (f"id{mark}text", *lines)).encode()
    path.write_bytes(PACKED[path.suffix if path.suffix in PACKED else ""](content))
    return rows


def content(path: Path) -> list[dict[str, Any]]:
    """Read a file of predictions; in text tables all values are text."""
    suffix = format_suffix(path)
    if suffix == ".parquet":
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    with ByteStream(path) as stream:
        text = stream.readall().decode()
    if suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines()]
    return list(csv.DictReader(text.splitlines(keepends=True), delimiter="\t" if suffix == ".tsv" else ","))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("given", INPUTS)
def test_each_format_to_each_other(film: str, tmp_path: Path, given: str, output: str) -> None:
    file, out = tmp_path / f"in{given}", tmp_path / f"out{output}"
    rows = fill(file)
    assert main(["predict", film, "--file", str(file), "--out", str(out)]) == 0
    found = content(out)
    assert [{name: row[name] for name in rows[0]} for row in found] == rows
    assert all(list(row) == [*rows[0], "prediction", "score", "scores", "error"] for row in found)
    for one, row in zip(bertie.load(film).predict(TEXTS), found, strict=True):
        assert row["prediction"] == one.label
        assert float(row["score"]) == pytest.approx(one.score, abs=1e-6)
        assert row["error"] in (None, "")
        scores = row["scores"] if isinstance(row["scores"], dict) else json.loads(row["scores"])
        assert scores == pytest.approx(one.scores, abs=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, out.name]


def test_values_of_json_and_types_of_parquet_stay(film: str, tmp_path: Path) -> None:
    rows = [
        {"text": "good", "deep": {"a": [1, None]}, "n": 12345678901234567890123, "score": 7},
        {"text": "bad", "later": "é", "n": 2.5, "error": ["x"], "prediction": 1},
        {"text": 5, "n": True},
    ]
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert bertie.predict(film, file=file, out=tmp_path / "out.jsonl").errors == 0
    found = content(tmp_path / "out.jsonl")
    added = ["prediction_2", "score_2", "scores", "error_2"]  # the file has the shorter names itself
    assert [{name: value for name, value in row.items() if name not in added} for row in found] == rows
    assert all(row["prediction_2"] in ("bad", "good") and row["error_2"] is None for row in found)

    bertie.predict(film, file=file, out=tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table["deep"].to_pylist() == ['{"a": [1, null]}', None, None]
    assert table["n"].to_pylist() == ["12345678901234567890123", "2.5", "true"]  # of several kinds: text in JSON
    assert table["score"].to_pylist() == [7, None, None]

    typed = pyarrow.table(
        {
            "text": TEXTS[:3],
            "day": [dt.date(2020, 1, day) for day in (1, 2, 3)],
            "price": pyarrow.array([decimal.Decimal("1.50")] * 3),
            "small": pyarrow.array([1, None, 3], pyarrow.int8()),
            "nested": [[{"a": 1}], [], None],
            "when": pyarrow.array([1000, 2000, 3000], pyarrow.timestamp("ns")),
        }
    )
    parquet.write_table(typed, tmp_path / "typed.parquet")
    bertie.predict(film, file=tmp_path / "typed.parquet", out=tmp_path / "kept.parquet")
    assert parquet.read_table(tmp_path / "kept.parquet").select(typed.column_names).equals(typed)


BAD_CSV = f'id,text\n1,good\n2\n3,"bad\nfilm"\n4,the cat,more\n5,\n\n6,{"the " * 20}\n7,a'
BAD_JSONL = (
    '{"text": "good"}\n\n{"text": oops}\n[1]\n{"other": 1}\n{"text": ["a"]}\n{"text": "\\ud83d"}\n{"text": null}\n'
    '{"text": "the the the the the the the the the the the the the the the"}\n{"text": "bad"}\n'
)


@pytest.mark.parametrize(
    ("name", "text", "errors"),
    [
        ("in.csv", BAD_CSV, {
            1: "line 3: 1 fields, but there are 2 columns",
            3: "line 6: 3 fields, but there are 2 columns; beyond them: 'more'",
            4: "line 7: no text",
            5: "line 9 has ",
        }),
        ("in.jsonl", BAD_JSONL, {
            1: "line 3: this is not valid JSON",
            2: "line 4: not an object: [1]",
            3: "line 5: no 'text' here; found: other",
            4: "line 6: 'text' holds ['a']",
            5: "line 7: 'text' contains half a character",
            6: "line 8: no text",
            7: "line 9 has ",
        }),
    ],
)  # fmt: skip
def test_bad_rows_keep_their_place_and_say_why(
    film: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, errors: dict[int, str]
) -> None:
    file, out = tmp_path / name, tmp_path / "out.jsonl"
    file.write_text(text)
    words = ["predict", film, "--file", str(file), "--out", str(out), "--truncation", "error", "--json"]
    assert main(words) == 3
    captured = capsys.readouterr()
    found = content(out)
    assert {number for number, row in enumerate(found) if row["error"] is not None} == set(errors)
    for number, row in enumerate(found):
        assert (row["prediction"] is None) == (number in errors)
        assert row["error"] is None or row["error"].startswith(errors[number])
    figures = json.loads(captured.out)
    assert (figures["rows"], figures["errors"]) == (len(found), len(errors))
    assert figures["first_errors"][0] == found[1]["error"]
    assert f"{len(errors)} of {len(found)} rows have no prediction" in captured.err
    if name == "in.csv":
        assert [row["id"] for row in found] == ["1", "2", "3", "4", "5", "6", "7"]
        assert "text" not in found[1]
        assert found[2]["text"] == "bad\nfilm"


def test_the_beginning_may_be_bad(film: str, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text('{"text": ["a"]}\nnothing\n{"text": {"a": 1}}\n{"text": "good"}\n')
    report = bertie.predict(film, file=file, out=tmp_path / "out.csv")
    assert (report.values["rows"], report.values["errors"], report.exit_code) == (4, 3, 3)
    assert [row["error"][:6] for row in content(tmp_path / "out.csv")] == ["line 1", "line 2", "line 3", ""]


def test_columns_without_header_and_by_number(film: str, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_text("1,good film,x\n2,the bad cat,y\n3,the dog ran,z\n")
    assert main(["predict", film, "--file", str(file), "--columns", "text=1", "--out", str(tmp_path / "out.csv")]) == 0
    assert [(row["0"], row["1"], row["2"]) for row in content(tmp_path / "out.csv")] == [
        ("1", "good film", "x"),
        ("2", "the bad cat", "y"),
        ("3", "the dog ran", "z"),
    ]
    file.write_text("id,text,text\n1,good film,x\n2,the bad cat,y\n3,the dog ran,z\n")
    words = ["--columns", "text=1,header=yes", "--out", str(tmp_path / "again.csv")]
    assert main(["predict", film, "--file", str(file), *words]) == 0
    found = content(tmp_path / "again.csv")[0]
    assert (found["text"], found["text_2"]) == ("good film", "x")


def test_truncated_texts_are_counted_and_python_tables_are_taken(film: str, tmp_path: Path) -> None:
    rows = [{"text": text, "n": number} for number, text in enumerate([*TEXTS, "the " * 30])]
    report = bertie.predict(film, file=rows, out=tmp_path / "out.jsonl")  # type: ignore[arg-type]
    assert (report.values["rows"], report.values["truncated"]) == (6, 1)
    assert [row["n"] for row in content(tmp_path / "out.jsonl")] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--file", "in.txt", "--out", "out.txt"], "the suffix must be one of .jsonl, .csv, .tsv, .parquet"),
        (["--file", "in.txt", "--out", "out.parquet.gz"], "compressed inside; leave out .gz"),
        (["--file", "in.txt", "--resume"], "--resume requires --out"),
        (["a text", "--out", "out.jsonl"], "--out requires --file"),
        (["--file", "in.txt", "--out", "in.txt.csv"], "in.txt.csv exists already"),
        (["--file", "in.json", "--out", "out.csv"], "--out needs a file of rows"),
        (["--file", "no.csv", "--out", "out.csv"], "no such file"),
        (["--file", "in.txt.csv", "--out", "out.csv", "--columns", "text=x"], "in.txt.csv has no column 'x'"),
        (["--file", "empty.txt", "--out", "out.csv"], "holds no rows"),
        (["--file", "empty.csv", "--out", "out.csv"], "empty.csv is empty"),
        (["--file", "empty.tsv", "--out", "out.csv"], "empty.tsv is empty"),
        (["--file", "empty.jsonl", "--out", "out.csv"], "empty.jsonl is empty"),
        (["--file", "header.csv", "--out", "out.csv"], "header.csv holds no rows"),
        (["--file", "hub:a:train", "--out", "out.csv"], "--out reads a file"),
    ],
)
def test_refusals_leave_nothing(
    film: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"in.txt": "good\n", "in.txt.csv": "text\ngood\n", "in.json": "[]", "header.csv": "text\n"}
    for name, text in {**files, **{f"empty.{suffix}": "" for suffix in ("txt", "csv", "tsv", "jsonl")}}.items():
        Path(name).write_text(text)
    before = sorted(Path().iterdir())
    assert main(["predict", film, *words]) in (2, 3)
    assert message in capsys.readouterr().err
    assert sorted(Path().iterdir()) == before


def saved(build: Callable[..., TaskModel], tokenizer: Any, folder: Path, task: Any) -> str:
    model = build(task, deviation=0.3)
    write(Bundle(model, task, tokenizer, model.encoder.config), folder)
    return str(folder)


def test_other_tasks(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predicted(task: Any, rows: list[dict[str, Any]], **how: Any) -> list[dict[str, Any]]:
        model = saved(build_model, tiny_tokenizer, tmp_path / f"{task.name}-{len(how)}", task)
        out = tmp_path / f"{task.name}-{len(how)}.jsonl"
        bertie.predict(model, file=rows, out=out, **how)  # type: ignore[arg-type]
        found = content(out)
        assert [{name: row[name] for name in rows[0]} for row in found] == rows
        return found

    words = [{"tokens": ["the", "cat"], "tags": ["O", "B-X"]}, {"tokens": ["good"], "tags": "broken"}]
    tagged = predicted(Tagging(labels=("O", "B-X", "I-X"), max_length=16), [*words, {"tokens": [], "tags": []}])
    assert [len(row["prediction"] or ()) for row in tagged] == [2, 1, 0]
    assert tagged[2]["error"] is not None
    asked = predicted(
        QuestionAnswering(max_length=32),
        [{"question": "the cat", "context": "the cat ran"}, {"question": "the dog", "context": "good film"}],
    )
    assert all(isinstance(row["prediction"], str) and "start" in row for row in asked)
    chosen = predicted(
        MultipleChoice(max_length=16),
        [{"text": "the cat", "choices": ["ran", "film"]}, {"text": "the dog", "choices": ["one"]}],
    )
    assert (chosen[0]["prediction"], chosen[0]["choice"]) in (("0", "ran"), ("1", "film"))
    assert chosen[1]["error"] is not None
    mask = MaskedLM(max_length=16)
    filled = predicted(mask, [{"text": "the [MASK]"}, {"text": "no mask"}])
    assert filled[0]["prediction"][0][0].keys() == {"token", "score", "token_id"}
    assert filled[1]["error"] == "line 2 has no [MASK] to fill: 'no mask'"
    scored = predicted(mask, [{"text": "the cat"}, {"text": "good"}], likelihood=True)
    assert all(row["perplexity"] > 0 for row in scored)


def test_an_item_of_several_rows_is_refused(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    task = Tagging(labels=("O", "B-X", "I-X"), max_length=16)
    file = tmp_path / "in.tsv"
    file.write_text("the\tO\ncat\tB-X\nran\tO\n\n" * 3)
    with pytest.raises(SettingsError, match="--out needs one row for each item"):
        bertie.predict(
            saved(build_model, tiny_tokenizer, tmp_path / "model", task), file=file, out=tmp_path / "out.csv"
        )
