"""The page about files and folders: it names every file and every key that a corpus, a run and a model folder have."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import pytest

import bertie
from bertie.backends._frozen import RUNTIMES, Axis, Facts

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
LINES = ["The cat sat by the river.", "The dog ran to the house.", "A bird saw the red fish.", "The old dog slept."]


def section(heading: str) -> str:
    """Return the text below a heading of the page."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found[1]


def named(heading: str) -> set[str]:
    """Return the names in the first cells of a section's tables."""
    cells = re.findall(r"^\| (`.*?) \|", section(heading), re.MULTILINE)
    return {name.rstrip("/") for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def top(folder: Path) -> set[str]:
    """Return the names of a folder's files and subfolders."""
    return {path.name for path in folder.iterdir()}


def keys(file: Path) -> set[str]:
    return set(json.loads(file.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus, a pre-trained and a fine-tuned model, of a few steps each."""
    out = tmp_path_factory.mktemp("made")
    text = out / "text.txt"
    text.write_text(
        "\n\n".join("\n".join(LINES[turn % 4 :] + LINES[: turn % 4]) for turn in range(60)), encoding="utf-8"
    )
    bertie.train_tokenizer([text], out=out / "tokenizer", vocab_size=120)
    bertie.prepare_corpus([text], tokenizer=out / "tokenizer", out=out / "corpus")
    shared: dict[str, Any] = {"steps": 4, "length": 32, "threads": 1, "training": {"log_every": 2, "keep": 1}}
    corpus = out / "corpus"
    bertie.pretrain(corpus=corpus, dev=corpus, model={"size": "2/64"}, batch_tokens=256, out=out / "encoder", **shared)
    rows = [{"text": line, "label": "dog" if "dog" in line else "other"} for line in LINES * 4]
    model = str(out / "encoder" / "model")
    bertie.finetune(model, train=rows, dev=rows, out=out / "classifier", batch_size=4, **shared)
    return out


def test_files_and_keys_of_a_corpus_are_named(made: Path) -> None:
    names = named("Corpus folder")
    assert top(made / "corpus") <= names
    assert keys(made / "corpus" / "manifest.json") <= names


def test_the_example_reads_a_corpus(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", section("Corpus folder"), re.DOTALL)
    assert code is not None
    (made / "out").mkdir()
    (made / "out" / "corpus").symlink_to(made / "corpus")
    monkeypatch.chdir(made)
    values: dict[str, Any] = {}
    exec(code[1], values)
    vocabulary = (made / "tokenizer" / "vocab.txt").read_text(encoding="utf-8").splitlines()
    pieces = " ".join(vocabulary[number] for number in values["first_sentence"]).replace(" ##", "")
    assert pieces == "the cat sat by the river ."


@pytest.mark.parametrize("run", ["encoder", "classifier"])
def test_files_and_keys_of_a_run_are_named(made: Path, run: str) -> None:
    names = named("Run folder")
    assert top(made / run) <= names
    assert keys(made / run / "run.json") <= names
    described = set(re.findall(r"`(\w+)`", section("metrics.jsonl")))
    for line in (made / run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        assert record["kind"] in ("train", "dev")
        assert set(record) - {"macro_f1", "matthews"} <= described


@pytest.mark.parametrize("run", ["encoder", "classifier"])
def test_files_and_keys_of_a_model_folder_are_named(made: Path, run: str) -> None:
    folder = made / run / "model"
    assert top(folder) <= named("Model folder")
    ours = json.loads((folder / "config.json").read_text(encoding="utf-8"))["bertie"]
    assert set(ours) <= named("The bertie object of config.json")


def test_keys_of_an_export_are_named() -> None:
    names = named("Exported folder")
    assert {field.name for field in fields(Facts)} <= names
    assert [word for word in (*get_args(Axis), *RUNTIMES) if f"`{word}`" not in section("Exported folder")] == []
