"""bertie export: a frozen folder predicts as the model does, or isn't there."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bertie
from bertie import registry
from bertie.backends import backend as room
from bertie.cli import main
from bertie.commands.evaluate import evaluate
from bertie.commands.export import export
from bertie.commands.show import show
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.formats.huggingface import read, write
from bertie.inference import proof
from bertie.inference.predictor import load
from bertie.items.question import Question
from bertie.tasks.classification import Classification
from bertie.tasks.embedding import Embedding
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.span_classification import SpanClassification
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import TaskModel

TASKS: dict[str, Any] = {
    "classification": Classification(labels=("bad", "good"), max_length=16),
    "regression": Regression(max_length=16),
    "tagging": Tagging(labels=("O", "B-X", "I-X"), max_length=16),
    "embedding": Embedding(max_length=16),
    "masked_lm": MaskedLM(max_length=16, top_k=2),
    "question_answering": QuestionAnswering(max_length=32),
}
TEXTS = ["the film was good", "the [MASK] sat in the house", "a dog"]


@pytest.fixture(scope="module")
def folders(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("models")
    for name, task in TASKS.items():
        model: Any = build_model(task, deviation=0.3)
        write(Bundle(model, task, tiny_tokenizer, model.encoder.config), place / name)
    return {name: place / name for name in TASKS}


def needs(name: str) -> None:
    if missing := registry.load("backends", name).BACKEND().missing():
        pytest.skip(f"{missing} is not installed")


def numbers(value: Any) -> Any:
    """Return every number of a prediction."""
    if isinstance(value, np.ndarray):
        return value.ravel().tolist()
    if isinstance(value, int | float):
        return [float(value)]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    inner = vars(value).values() if hasattr(value, "__dataclass_fields__") else inner
    return [number for part in inner for number in numbers(part)]


@pytest.mark.parametrize("name", TASKS)
def test_an_exported_folder_predicts_as_the_model(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    needs("onnx")
    report = export(str(folders[name]), tmp_path / "out")
    assert 0 < report.values["largest_difference"] <= 1e-4
    assert report.values["compared"] == "24 sequences of built-in texts"
    assert not list((tmp_path / "out").glob("*.safetensors"))
    items: Any = TEXTS[1:2] if name == "masked_lm" else TEXTS
    if name == "question_answering":
        items = [Question("what sat", text) for text in TEXTS]
    expected, found = (load(place).predict(items) for place in (folders[name], tmp_path / "out"))
    assert len(numbers(expected)) >= len(items)
    np.testing.assert_allclose(numbers(found), numbers(expected), atol=1e-4)


@pytest.mark.parametrize(("backend", "precision"), [("onnx", "int8"), ("openvino", "exact")])
def test_backend_and_precision_travel_with_the_folder(
    backend: str, precision: Any, folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs(backend)
    out = str(tmp_path / "out")
    words = ["export", str(folders["classification"]), "--out", out, "--backend", backend, "--precision", precision]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["backend"] == backend and told["precision"] == precision
    assert precision == "exact" or told["mean_cosine"] >= room.LIMITS["int8"]
    assert main(["predict", out, "the film"]) == 0
    assert f"the encoder is run by {backend}, {precision}, as exported" in capsys.readouterr().err
    other = "int8" if precision == "exact" else "exact"
    assert main(["predict", out, "the film", "--precision", other]) == 2
    assert f"was exported with --precision {precision}, not {other}" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="not eager; export it again"):
        bertie.load(out, backend="eager")
    with pytest.raises(SettingsError, match="is an exported model, for predict, evaluate and search only"):
        read(out)


def test_scores_of_both_are_alike(folders: dict[str, Path], tmp_path: Path) -> None:
    needs("onnx")
    table = tmp_path / "dev.tsv"
    table.write_text("text\tlabel\nthe film\tgood\na dog\tbad\nthe story was poor\tbad\n", encoding="utf-8")
    export(str(folders["classification"]), tmp_path / "out")
    expected, found = (evaluate(str(place), table).values for place in (folders["classification"], tmp_path / "out"))
    assert found["scores"] == expected["scores"] and found["loss"] == pytest.approx(expected["loss"], abs=1e-4)


def test_a_damaged_folder_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    needs("onnx")
    out = tmp_path / "out"
    export(str(folders["classification"]), out)
    for task in ("tagging", "embedding"):
        with pytest.raises(SettingsError, match=f"was exported for another task than {task}"):
            load(out, task=task)
    assert show(out).values["files"] == {"state": "as they were written"}
    graph = out / "model.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=r"model\.onnx is not the file"):
        load(out)
    (out / "SHA256SUMS").unlink()  # as in a copy that left it out
    with pytest.raises(DataError, match=r"model\.onnx is not the file that config\.json was written with"):
        load(out)
    graph.unlink()
    with pytest.raises(SettingsError, match=r"model\.onnx: no such file"):
        load(out)


def test_a_head_without_a_form_stays_in_torch(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    needs("onnx")
    task = SpanClassification(labels=("X", "Y"), threshold=0.3, max_length=16)
    model: Any = build_model(task, deviation=0.3)
    write(Bundle(model, task, tiny_tokenizer, model.encoder.config), tmp_path / "model")
    out = tmp_path / "out"
    report = export(str(tmp_path / "model"), out)
    assert report.values["outputs"] == "last_hidden_state" and "not in the graph" in report.values["head"]
    assert (out / "head.safetensors").is_file()
    found, expected = (numbers(load(place).predict(TEXTS)) for place in (out, tmp_path / "model"))
    assert len(found) > 2 and found == pytest.approx(expected, abs=1e-4)
    (out / "head.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"head\.safetensors does not match"):
        load(out)
    (out / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match=r"head\.safetensors is damaged"):
        load(out)


def test_vectors_of_an_exported_folder_serve_two_tasks(folders: dict[str, Path], tmp_path: Path) -> None:
    needs("onnx")
    export(str(folders["embedding"]), tmp_path / "out")
    found = load(tmp_path / "out", task="features", truncation="truncate").predict(TEXTS[0])
    expected = load(folders["embedding"], task="features", truncation="truncate").predict(TEXTS[0])
    np.testing.assert_allclose(found.hidden, expected.hidden, atol=1e-4)
    long = " ".join(TEXTS * 8)
    windows = [load(place, truncation="window").predict(long) for place in (folders["embedding"], tmp_path / "out")]
    np.testing.assert_allclose(windows[1].vector, windows[0].vector, atol=1e-4)


def test_an_old_export_says_what_to_do(folders: dict[str, Path], tmp_path: Path) -> None:
    needs("onnx")
    out = tmp_path / "out"
    export(str(folders["classification"]), out)
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))
    config["bertie"]["export"] = {"backend": "onnx", "precision": "exact"}
    (out / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (out / "SHA256SUMS").unlink()
    with pytest.raises(DataError, match="export the model again"):
        load(out)


DEV = "text\tlabel\nthe film was good\tgood\na dog\tbad\nthe story was poor\tbad\nin the house\tgood\n"


@pytest.mark.parametrize("precision", ["exact", "int8"])
def test_scores_before_and_after_are_in_the_card(precision: Any, folders: dict[str, Path], tmp_path: Path) -> None:
    needs("onnx")
    table, out = tmp_path / "dev.tsv", tmp_path / "out"
    table.write_text(DEV, encoding="utf-8")
    values = export(str(folders["classification"]), out, precision=precision, dev=table, max_drop=100).values
    assert values["score"] == "accuracy" and values["compared"] == "4 sequences of dev.tsv"
    before, after = (evaluate(str(place), table).values["scores"] for place in (folders["classification"], out))
    assert values["points_lost"] == pytest.approx(100 * (before["accuracy"] - after["accuracy"]))
    proof = json.loads((out / "config.json").read_text(encoding="utf-8"))["bertie"]["export"]["proof"]
    assert proof["scores"] == {"file": "dev.tsv", "items": 4, "before": before, "after": after}
    assert set(proof["versions"]) == {"bertie", "torch", "onnx", "onnxruntime"}
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "## Proof of the export" in card and f"| accuracy | {before['accuracy']:.4f} |" in card
    again = export(str(folders["classification"]), tmp_path / "again", precision=precision, dev=table, max_drop=100)
    assert (tmp_path / "again" / "model.onnx").read_bytes() == (out / "model.onnx").read_bytes()
    assert again.values["graph_megabytes"] == values["graph_megabytes"]


def test_a_loss_of_score_writes_nothing(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("onnx")
    table, out = tmp_path / "dev.tsv", tmp_path / "out"
    texts = [line.split("\t")[0] for line in DEV.splitlines()[1:]]
    labels = [guess.label for guess in load(folders["classification"]).predict(texts)]
    rows = "".join(f"{text}\t{label}\n" for text, label in zip(texts, labels, strict=True))
    table.write_text(f"text\tlabel\n{rows}", encoding="utf-8")
    real = proof.evaluate

    def worse(model: Any, task: Any, items: Any, *rest: Any, **more: Any) -> Any:
        found = real(model, task, items, *rest, **more)
        return replace(found, scores={**found.scores, "accuracy": 0.75}) if model.in_one else found

    monkeypatch.setattr(proof, "evaluate", worse)
    words = ["export", str(folders["classification"]), "--out", str(out), "--dev", str(table)]
    assert main(words) == 2
    with pytest.raises(SettingsError, match=r"accuracy on --dev fell from 1\.0000 to 0\.7500, by 25\.00 points"):
        export(str(folders["classification"]), out, dev=table, max_drop=24.9)
    assert [file.name for file in tmp_path.iterdir()] == ["dev.tsv"]
    assert export(str(folders["classification"]), out, dev=table, max_drop=25).values["points_lost"] == 25


def test_dev_tables_that_do_not_fit(folders: dict[str, Path], tmp_path: Path) -> None:
    needs("onnx")
    out, table = tmp_path / "out", tmp_path / "dev.tsv"
    table.write_text("text\nthe film\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"dev\.tsv"):
        export(str(folders["classification"]), out, dev=table)
    table.write_text("text\tlabel\nthe film\tsplendid\n", encoding="utf-8")
    with pytest.raises(DataError, match="splendid"):
        export(str(folders["classification"]), out, dev=table)
    export(str(folders["classification"]), tmp_path / "short", settings={"max_length": 8})
    assert load(tmp_path / "short").task.max_length == 8
    for wrong in ({"max_drop": -1.0}, {"max_drop": float("nan")}, {"columns": {"text": "a"}}):
        with pytest.raises(SettingsError, match=r"--max-drop|--columns"):
            export(str(folders["classification"]), out, **wrong)
    assert not out.exists()


@pytest.mark.parametrize("name", ["classification", "masked_lm", "question_answering", "embedding"])
@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_the_script_of_the_card_runs(name: str, backend: str, folders: dict[str, Path], tmp_path: Path) -> None:
    needs(backend)
    out = tmp_path / "out"
    export(str(folders[name]), out, backend=backend)
    card = (out / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(blocks) == 2 and "bertie" not in blocks[1]
    script = blocks[1].replace("PATH", str(out))
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    width = {"classification": "2)", "embedding": "32)", "masked_lm": ")", "question_answering": ")"}[name]
    assert found.stdout.startswith("(2, ") and found.stdout.strip().endswith(width)
    assert found.stderr == ""  # no warning about the graph


def test_a_killed_export_leaves_no_folder(folders: dict[str, Path], tmp_path: Path) -> None:
    needs("onnx")
    out = tmp_path / "out"
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom bertie.inference import proof\n"
        "proof.compare_outputs = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from bertie.commands.export import export\n"
        f"export({str(folders['classification'])!r}, Path({str(out)!r}))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert not out.exists()
    export(str(folders["classification"]), out)
    assert [file.name for file in tmp_path.iterdir()] == ["out"]  # the leftover is gone


def test_nothing_is_left_of_what_fails(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = str(folders["classification"]), tmp_path / "out"
    with pytest.raises(SettingsError, match="nothing to export"):
        export(model, out, backend="eager")
    monkeypatch.setattr(room, "find_spec", lambda package: None)
    with pytest.raises(SettingsError, match=r"pip install 'bertie\[export\]'"):
        export(model, out)
    monkeypatch.undo()
    out.mkdir()
    with pytest.raises(SettingsError, match="exists already"):
        export(model, out)
    out.rmdir()
    if not registry.load("backends", "onnx").BACKEND().missing():
        monkeypatch.setitem(room.LIMITS, "exact", 1e-12)
        with pytest.raises(SettingsError, match=r"outputs differ .* not within the limit of --precision exact"):
            export(model, out)
    assert list(tmp_path.iterdir()) == []
