"""An exported model predicts, is evaluated and is served in a process that can't import torch, as the network does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertie.backends.onnx import Onnx
from bertie.files.checksums import seal
from bertie.formats import exported
from bertie.formats.format import Bundle
from bertie.inference.predictor import Predictor
from bertie.items.choice import Choice
from bertie.tasks.classification import Classification
from bertie.tasks.embedding import Embedding
from bertie.tasks.features import FeaturesTask
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.passages import Passages
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.sentence_order import SentenceOrder
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import Task, TaskModel

pytest.importorskip("onnxruntime")

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnx", "scipy", "sklearn"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.partition(".")[0] == "torch" else found(name, package)
"""
PREDICT = """
import json, sys
import bertie
from bertie.items.choice import Choice
from bertie.inference.render import records
for line in sys.stdin:
    folder, kind, items = json.loads(line)
    items = [Choice(item[0], tuple(item[1])) if kind == "choices" else tuple(item) if isinstance(item, list) else item
             for item in items]
    model = bertie.load(folder)
    answers = model.predict(items)
    assert model.predict(items[:1])[0] is not None
    print(json.dumps(records(items, answers), default=lambda array: array.tolist()))
assert "torch" not in sys.modules
"""
TEXTS = ["the film was very good .", "a poor story", "", "the old dog ran in the city , and the cat saw it . " * 3, "北京的猫"]
MASKED = [f"{text} [MASK]" if place % 2 else f"[MASK] {text} [MASK]" for place, text in enumerate(TEXTS)]
PAIRS = [(text, TEXTS[place - 2]) for place, text in enumerate(TEXTS)]
CASES: dict[str, tuple[Any, list[Any]]] = {
    "classification": (Classification(labels=("bad", "good"), max_length=16), [*TEXTS[:3], *PAIRS[3:]]),
    "multi_label": (
        Classification(labels=("bad", "good", "odd"), multi_label=True, max_length=16, truncation="window", stride=5),
        TEXTS,
    ),
    "regression": (Regression(center=2.5, spread=2.0, max_length=16, truncation="window", stride=5), TEXTS),
    "sigmoid": (Regression(activation="sigmoid", max_length=16), PAIRS),
    "tagging": (Tagging(labels=("O", "B-LOC", "I-LOC"), max_length=16, stride=5), TEXTS),
    "question_answering": (
        QuestionAnswering(max_length=16, stride=3, max_query=5, max_answer=6, n_best=4, null_threshold=0.0),
        PAIRS,
    ),
    "without_null": (QuestionAnswering(max_length=16, stride=3, max_query=5, max_answer=6, n_best=4), PAIRS[:2]),
    "embedding": (Embedding(max_length=16, truncation="window", stride=5), [*TEXTS[:3], *PAIRS[3:]]),
    "cls": (Embedding(pooling="cls", normalize=False, max_length=16, truncation="window"), TEXTS),
    "max": (Embedding(pooling="max", max_length=16, truncation="window"), TEXTS),
    "features": (FeaturesTask(max_length=64, truncation="truncate"), TEXTS),
    "masked_lm": (MaskedLM(max_length=64, top_k=9), MASKED),
    "pretraining": (Pretraining(max_length=64, top_k=9), MASKED),
    "sentence_order": (SentenceOrder(max_length=64, top_k=9), MASKED[:2]),
    "passages": (Passages(max_length=64, top_k=9), MASKED[:2]),
    "next_sentence": (NextSentence(max_length=64, truncation="truncate"), PAIRS),
    "multiple_choice": (
        MultipleChoice(max_length=14, truncation="window", stride=4),
        [Choice(text, tuple(TEXTS[: 2 + place % 3])) for place, text in enumerate(TEXTS)],
    ),
}


def bundle_of(build_model: Callable[..., TaskModel], tokenizer: Any, task: Task) -> Bundle:
    model = build_model(task, deviation=0.3).eval()
    return Bundle(model, task, tokenizer, model.encoder.config)


def export(bundle: Bundle, folder: Path) -> Path:
    """Write an exported folder."""
    folder.mkdir()
    facts = Onnx().freeze(bundle, folder, "exact")
    exported.write(bundle, folder, export=facts.as_json(), card="")
    seal(folder)
    return folder


def run(code: str, *words: str, text: str = "", code_of_exit: int = 0) -> subprocess.CompletedProcess[str]:
    """Run Python in a process that can't import torch."""
    command = [sys.executable, "-c", BLOCK + code, *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == code_of_exit, done.stderr
    return done


def plain(value: Any) -> Any:
    """Return a prediction as JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(part) for part in value]
    return value


def assert_alike(found: Any, expected: Any) -> None:
    """Compare predictions: texts, labels and places exactly, numbers to 1e-5."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_alike(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-5)
    else:
        assert found == expected


def test_predictions_are_those_of_torch(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    from bertie.inference.render import records

    lines, expected = [], {}
    for name, (task, items) in CASES.items():
        bundle = bundle_of(build_model, tiny_tokenizer, task)
        folder = export(bundle, tmp_path / name)
        kind = "choices" if task.takes_choices else "texts"
        shown = [[item.text, list(item.choices)] if kind == "choices" else item for item in items]
        lines.append(json.dumps([str(folder), kind, shown]))
        predictions = Predictor(bundle, device="cpu").predict(items)
        expected[name] = plain(json.loads(json.dumps(records(items, predictions), default=lambda array: array.tolist())))
    done = run(PREDICT, text="\n".join(lines))
    found = dict(zip(CASES, map(json.loads, done.stdout.splitlines()), strict=True))
    for name in CASES:
        assert_alike(found[name], expected[name])
