"""A model says the same before saving, after loading, and in transformers' class: labels, numbers, answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bertie.formats import huggingface
from bertie.formats.format import Bundle
from bertie.inference.predictor import Predictor, load
from bertie.tasks.classification import Classification
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.task import Task, TaskModel

ITEMS = [
    ("the old dog ran in the city", "the cat saw it"),
    ("not bad !", "the film was very good ."),
    ("北京的猫", "three fish ate two red birds"),
]
Build = Callable[..., TaskModel]


def here_and_there(build_model: Build, tokenizer: Any, task: Task, folder: Path) -> tuple[list[Any], Any, Any]:
    """Return our predictions, the same before and after saving, with transformers' model and its padded inputs."""
    model = build_model(task, deviation=0.5)
    bundle = Bundle(model, task, tokenizer, model.encoder.config)
    before = Predictor(bundle, device="cpu").predict(ITEMS)
    huggingface.write(bundle, folder)
    after = load(folder, device="cpu")
    assert after.task == task and repr(after.predict(ITEMS)) == repr(before)
    kind = getattr(transformers, task.architecture.format("Bert"))
    theirs, report = kind.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    inputs = transformers.AutoTokenizer.from_pretrained(folder)(
        [first for first, _ in ITEMS], [second for _, second in ITEMS], padding=True, return_tensors="pt"
    )
    return before, theirs.eval(), inputs


def test_labels(build_model: Build, tiny_tokenizer: Any, tmp_path: Path) -> None:
    task = Classification(labels=("bad", "good", "so so"), max_length=64)
    ours, theirs, inputs = here_and_there(build_model, tiny_tokenizer, task, tmp_path / "model")
    with torch.inference_mode():
        shares = theirs(**inputs).logits.softmax(1)
    assert [theirs.config.id2label[place] for place in shares.argmax(1).tolist()] == [said.label for said in ours]
    for row, said in zip(shares.tolist(), ours, strict=True):
        assert list(said.scores.values()) == pytest.approx(row, abs=1e-5)


def test_several_labels(build_model: Build, tiny_tokenizer: Any, tmp_path: Path) -> None:
    task = Classification(labels=("a", "b", "c", "d"), max_length=64, multi_label=True, threshold=0.4)
    ours, theirs, inputs = here_and_there(build_model, tiny_tokenizer, task, tmp_path / "model")
    assert theirs.config.problem_type == "multi_label_classification"
    with torch.inference_mode():
        shares = theirs(**inputs).logits.sigmoid()
    for row, said in zip(shares.tolist(), ours, strict=True):
        given = [theirs.config.id2label[place] for place, share in enumerate(row) if share >= 0.4]
        assert ", ".join(given) == said.label


def test_numbers(build_model: Build, tiny_tokenizer: Any, tmp_path: Path) -> None:
    task = Regression(center=250.0, spread=64.0, max_length=64)
    model = build_model(task, deviation=0.5)
    bundle = Bundle(model, task, tiny_tokenizer, model.encoder.config)
    before = Predictor(bundle, device="cpu").predict(ITEMS)
    huggingface.write(bundle, tmp_path / "model")
    after = load(tmp_path / "model", device="cpu").predict(ITEMS)
    theirs = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    assert theirs.config.problem_type == "regression" and theirs.config.num_labels == 1
    inputs = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")(
        [first for first, _ in ITEMS], [second for _, second in ITEMS], padding=True, return_tensors="pt"
    )
    with torch.inference_mode():
        values = theirs(**inputs).logits.squeeze(1).tolist()
    assert [said.value for said in before] == pytest.approx(values, abs=64 * 2e-5)
    assert [said.value for said in after] == pytest.approx(values, abs=64 * 2e-5)


def test_answers(build_model: Build, tiny_tokenizer: Any, tmp_path: Path) -> None:
    task = QuestionAnswering(max_length=64, stride=32, null_threshold=None)
    ours, theirs, inputs = here_and_there(build_model, tiny_tokenizer, task, tmp_path / "model")
    with torch.inference_mode():
        outputs = theirs(**inputs)
    for row, (said, (_, context)) in enumerate(zip(ours, ITEMS, strict=True)):
        places = [place for place, kind in enumerate(inputs.encodings[row].sequence_ids) if kind == 1]
        spans = [(first, last) for first in places for last in places if first <= last < first + task.max_answer]
        best = max(spans, key=lambda span: float(outputs.start_logits[row, span[0]] + outputs.end_logits[row, span[1]]))
        offsets = inputs.encodings[row].offsets
        assert said.text == context[offsets[best[0]][0] : offsets[best[1]][1]] != ""
