"""A prediction for typed texts loads its own task, and neither the other tasks nor readers of files nor training."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
print(*(name for name in sys.modules if name.startswith("bertie.")), file=sys.stderr)
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
    return {name.removeprefix("bertie.") for name in done.stderr.splitlines()[-1].split()}


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
