"""bertie export: a frozen folder predicts as the model does, or isn't there."""

from __future__ import annotations

import json
from collections.abc import Callable
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
from bertie.inference.predictor import load
from bertie.items.question import Question
from bertie.tasks.classification import Classification
from bertie.tasks.embedding import Embedding
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
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
    assert report.values["largest_difference"] <= 1e-4 and report.values["texts"] == 12
    assert not (tmp_path / "out" / "model.safetensors").exists()
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
    assert told["mean_cosine"] >= room.LIMITS["int8"]
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
    with pytest.raises(SettingsError, match="was exported for another task than tagging"):
        load(out, task="tagging")
    assert show(out).values["files"] == {"state": "as they were written"}
    graph = out / "encoder.onnx"
    whole = graph.read_bytes()
    graph.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=r"encoder\.onnx does not match"):
        load(out)
    graph.write_bytes(whole)
    (out / "head.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"head\.safetensors does not match"):
        load(out)
    with pytest.raises(DataError, match="the file is broken"):
        show(out, accept_changes=True)
    with pytest.raises(DataError, match=r"head\.safetensors is damaged"):
        load(out)


def test_nothing_is_left_of_what_fails(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = str(folders["classification"]), tmp_path / "out"
    with pytest.raises(SettingsError, match="nothing to export"):
        export(model, out, backend="eager")
    monkeypatch.setattr(room, "find_spec", lambda package: None)
    with pytest.raises(SettingsError, match=r"pip install 'bertie\[onnx\]'"):
        export(model, out)
    monkeypatch.undo()
    out.mkdir()
    with pytest.raises(SettingsError, match="exists already"):
        export(model, out)
    out.rmdir()
    if not registry.load("backends", "onnx").BACKEND().missing():
        monkeypatch.setitem(room.LIMITS, "exact", 1e-12)
        with pytest.raises(SettingsError, match="not within the limit of --precision exact"):
            export(model, out)
    assert list(tmp_path.iterdir()) == []
