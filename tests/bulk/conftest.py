"""A tiny classifier in a folder, as `bertie predict` opens it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.tasks.classification import Classification
from bertie.tasks.task import TaskModel


@pytest.fixture(scope="session")
def film(build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    task = Classification(labels=("bad", "good"), max_length=16)
    model = build_model(task, deviation=0.3)
    folder = tmp_path_factory.mktemp("models") / "film"
    write(Bundle(model, task, tiny_tokenizer, model.encoder.config), folder)
    return str(folder)
