"""A prediction for typed texts loads its own task, and neither the other tasks nor readers of files nor training.

With an exported model it doesn't load torch, even where torch is installed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie import registry
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import Task, TaskModel

CODE = """
import sys
from bertie.cli import main
code = main(["predict", *sys.argv[1:], "--json"])
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""
IDLE_ROOMS = {"training", "reports", "checks", "starts", "optimizers", "schedules", "runners"}


def loaded_by(build_model: Callable[..., TaskModel], tokenizer: Any, folder: Path, task: Task, text: str) -> set[str]:
    """Predict in a fresh interpreter, and return bertie's modules in it, such as "tasks.masked_lm"."""
    model = build_model(task, deviation=0.3)
    write(Bundle(model, task, tokenizer, model.encoder.config), folder / "model")
    words = [sys.executable, "-c", CODE, str(folder / "model"), text]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)
    return modules_of(done.stderr)


def modules_of(errors: str) -> set[str]:
    """Return bertie's modules, such as "tasks.masked_lm", from the last line of the output."""
    names = errors.splitlines()[-1].split()
    return {name.removeprefix("bertie.") for name in names if name.startswith("bertie.")}


TASKS = [(MaskedLM(max_length=16), "the [MASK] sat"), (Classification(labels=("bad", "good"), max_length=16), "a film")]


@pytest.mark.parametrize(("task", "text"), TASKS)
def test_a_prediction_loads_neither_other_tasks_nor_readers(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path, task: Task, text: str
) -> None:
    loaded = loaded_by(build_model, tiny_tokenizer, tmp_path, task, text)
    tasks = {name.removeprefix("tasks.") for name in loaded} & set(registry.choices("tasks"))
    assert tasks == {task.name}
    assert {name for name in loaded if name.partition(".")[0] in IDLE_ROOMS} == set()
    assert not loaded & {"nn.search", "nn.contrastive", "nn.pooling"}
    # Tables in memory are recognised by `frames`, and the plan of the training file is read by `reading`.
    assert {name for name in loaded if name.startswith("readers.")} == {"readers.frames", "readers.reading"}
    assert {name for name in loaded if name.startswith("tables.")} == {"tables.table"}


def test_a_masked_prediction_loads_no_metrics(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    loaded = loaded_by(build_model, tiny_tokenizer, tmp_path, MaskedLM(max_length=16), "the [MASK] sat")
    assert {name for name in loaded if name.startswith("metrics.")} == set()


EXPORTED_PACKAGES = {
    *("annotated_types", "docstring_parser", "numpy", "onnxruntime", "pydantic", "pydantic_core", "tokenizers"),
    *("typeguard", "typing_extensions", "typing_inspection", "tyro", "bertie"),
}
"""What a prediction of an exported model may load, on the command line with its parser of flags."""


@pytest.mark.parametrize(("task", "text"), TASKS)
def test_an_exported_model_loads_no_torch(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path, task: Task, text: str
) -> None:
    pytest.importorskip("onnxruntime")
    model = build_model(task, deviation=0.3)
    write(Bundle(model, task, tiny_tokenizer, model.encoder.config), tmp_path / "model")
    bertie.export(str(tmp_path / "model"), tmp_path / "out")
    words = [sys.executable, "-c", CODE, str(tmp_path / "out"), text]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)
    packages = {name.partition(".")[0] for name in done.stderr.splitlines()[-1].split() if name[0] != "_"}
    assert packages - sys.stdlib_module_names <= EXPORTED_PACKAGES
    loaded = modules_of(done.stderr)
    assert {name for name in loaded if name.partition(".")[0] in {*IDLE_ROOMS, "models", "ops"}} == set()
    assert {name for name in loaded if name.startswith("nn.")} == {"nn.device"}
    assert {name.removeprefix("tasks.") for name in loaded} & set(registry.choices("tasks")) == {task.name}
