"""An exported model predicts, is evaluated and is served in a process that can't import torch, as the network does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertie.backends.onnx import Onnx
from bertie.files.checksums import seal
from bertie.formats import exported
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.inference.answers import find_answers, rank_targets
from bertie.inference.evaluate import evaluate
from bertie.inference.filling import fill_jointly
from bertie.inference.likelihood import pseudo_log_likelihood
from bertie.inference.predictor import Predictor, load
from bertie.inference.render import records
from bertie.items.choice import Choice
from bertie.items.text import Text
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
import importlib.util
MISSING = ("torch", "onnx")
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Block())
found = importlib.util.find_spec
def find(name, package=None):
    return None if name.partition(".")[0] in MISSING else found(name, package)
importlib.util.find_spec = find
"""
PREDICT = """
import json, sys
import bertie
from bertie.items.choice import Choice
from bertie.items.text import Text
from bertie.items.text import Text
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
OTHERS = """
import json, sys
import bertie
from bertie.inference.answers import find_answers, rank_targets
from bertie.inference.filling import fill_jointly
from bertie.inference.likelihood import pseudo_log_likelihood
from bertie.inference.render import records
model, texts = bertie.load(sys.argv[1]), json.loads(sys.argv[2])
one = texts[1:2]
for items, answers in (
    (texts, fill_jointly(model, texts)),
    (one, rank_targets(model, one, ["dog", "very good"])),
    (one, find_answers(model, one, max_pieces=2)),
    (["the dog sat"], pseudo_log_likelihood(model, ["the dog sat"])),
):
    print(json.dumps(records(items, answers)))
assert "torch" not in sys.modules
"""
SERVE = """
import json, sys, threading, time, urllib.request
import bertie
from bertie.serving.guard import Rules
from bertie.serving.hub import Hub, Served
from bertie.serving.limits import Limits
from bertie.serving.metrics import Metrics
from bertie.serving.run import listen, server_of
limits = Limits(window=0.0)
hub = Hub([Served(folder.rpartition("/")[2], bertie.load(folder), limits) for folder in sys.argv[1:]], limits)
listening = listen("127.0.0.1", 0)
server = server_of(hub, Rules(body=limits.body), Metrics())
thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
thread.start()
while not server.started:
    time.sleep(0.01)
url = f"http://127.0.0.1:{listening.getsockname()[1]}"
def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()
print(ask("/models/classification", {"inputs": "the film was very good ."}))
print(ask("/models/masked_lm", {"inputs": "the [MASK] sat"}))
print(ask("/v1/embeddings", {"model": "embedding", "input": ["a poor story"]}))
assert ask("/ready") and "playground" in ask("/").lower()
server.should_exit = True
thread.join(30)
assert "torch" not in sys.modules
"""
MAIN = """
import sys
from bertie.cli import main
sys.exit(main(sys.argv[1:]))
"""
TEXTS = [
    "the film was very good .",
    "a poor story",
    "",
    "the old dog ran in the city , and the cat saw it . " * 3,
    "北京的猫",
]
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


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=lambda array: array.tolist()))


def assert_alike(found: Any, expected: Any) -> None:
    """Compare predictions: texts, labels and places exactly, numbers to a relative or absolute 1e-5."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_alike(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_alike(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-5, abs=1e-5)
    else:
        assert found == expected


def test_predictions_are_those_of_torch(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    lines, expected = [], {}
    for name, (task, items) in CASES.items():
        bundle = bundle_of(build_model, tiny_tokenizer, task)
        folder = export(bundle, tmp_path / name)
        kind = "choices" if task.takes_choices else "texts"
        shown = [[item.text, list(item.choices)] if kind == "choices" else item for item in items]
        lines.append(json.dumps([str(folder), kind, shown]))
        predictions = Predictor(bundle, device="cpu").predict(items)
        expected[name] = as_json(records(items, predictions))
    done = run(PREDICT, text="\n".join(lines))
    found = dict(zip(CASES, map(json.loads, done.stdout.splitlines()), strict=True))
    for name in CASES:
        assert_alike(found[name], expected[name])


def test_masks_are_searched_and_scored_as_in_torch(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    texts = ["the [MASK] [MASK] sat .", "a [MASK] film"]
    bundle = bundle_of(build_model, tiny_tokenizer, MaskedLM(max_length=32))
    done = run(OTHERS, str(export(bundle, tmp_path / "model")), json.dumps(texts))
    model = Predictor(bundle, device="cpu")
    expected = [
        records(texts, fill_jointly(model, texts)),
        records(texts[1:], rank_targets(model, texts[1:], ["dog", "very good"])),
        records(texts[1:], find_answers(model, texts[1:], max_pieces=2)),
        records(["the dog sat"], pseudo_log_likelihood(model, ["the dog sat"])),
    ]
    assert_alike([json.loads(line) for line in done.stdout.splitlines()], as_json(expected))


def test_a_table_is_scored_and_a_file_is_predicted(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    task = Classification(labels=("bad", "good"), max_length=16)
    bundle = bundle_of(build_model, tiny_tokenizer, task)
    folder, table = export(bundle, tmp_path / "model"), tmp_path / "dev.tsv"
    rows = [Text(text, label=("bad", "good")[place % 2]) for place, text in enumerate(TEXTS) if text]
    table.write_text("text\tlabel\n" + "".join(f"{row.text}\t{row.label}\n" for row in rows), encoding="utf-8")
    done = run(MAIN, "evaluate", str(folder), str(table), "--json")
    found, expected = json.loads(done.stdout), evaluate(bundle.model, task, rows, tiny_tokenizer)
    assert found["scores"] == pytest.approx(expected.scores) and found["loss"] is None
    assert [[row["guess bad"], row["guess good"]] for row in found["confusion"]] == expected.confusion
    run(MAIN, "predict", str(folder), "--file", str(table), "--out", str(tmp_path / "out.jsonl"))
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["text"] for line in lines] == [row.text for row in rows]
    # With torch the loss is there too: that of the network.
    again = evaluate(load(folder).model, task, rows, tiny_tokenizer)
    assert again.scores == expected.scores and again.loss == pytest.approx(expected.loss, abs=1e-5)


def test_a_masked_model_without_labels_is_evaluated_by_torch_only(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    texts = [text for text in TEXTS if text]
    for name in ("masked_lm", "pretraining"):
        bundle = bundle_of(build_model, tiny_tokenizer, CASES[name][0])
        folder, file = export(bundle, tmp_path / name), tmp_path / "texts.txt"
        file.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
        expected = evaluate(bundle.model, bundle.task, texts, tiny_tokenizer)
        found = evaluate(load(folder).model, bundle.task, texts, tiny_tokenizer)
        assert found.loss == pytest.approx(expected.loss, abs=1e-5) and found.scores.keys() == expected.scores.keys()
        done = run(MAIN, "evaluate", str(folder), str(file), code_of_exit=2)
        assert "pip install 'bertie[torch]'" in done.stderr and done.stderr.count("error:") == 1


def test_a_server_answers(build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path) -> None:
    bundles = {
        name: bundle_of(build_model, tiny_tokenizer, CASES[name][0])
        for name in ("classification", "masked_lm", "embedding")
    }
    folders = [str(export(bundle, tmp_path / name)) for name, bundle in bundles.items()]
    labels, fills, vectors = (json.loads(line) for line in run(SERVE, *folders).stdout.splitlines())
    asked = {"classification": "the film was very good .", "masked_lm": "the [MASK] sat", "embedding": "a poor story"}
    expected = {name: Predictor(bundles[name], device="cpu").predict(text) for name, text in asked.items()}
    best = labels[0][0] if isinstance(labels[0], list) else labels[0]
    assert best["label"] == expected["classification"].label
    assert best["score"] == pytest.approx(expected["classification"].score, abs=1e-5)
    assert [fill["token_str"] for fill in fills] == [fill.token for fill in expected["masked_lm"]][: len(fills)]
    np.testing.assert_allclose(vectors["data"][0]["embedding"], expected["embedding"].vector, atol=1e-5)


def test_what_needs_torch_says_so(build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path) -> None:
    bundle = bundle_of(build_model, tiny_tokenizer, Classification(labels=("bad", "good"), max_length=16))
    folder, table = tmp_path / "model", tmp_path / "t.tsv"
    write(bundle, folder)
    table.write_text("text\tlabel\na\tbad\nb\tgood\n", encoding="utf-8")
    for words in (["predict", str(folder), "a"], ["evaluate", str(folder), str(table)]):
        done = run(MAIN, *words, code_of_exit=2)
        assert "pip install 'bertie[torch]'" in done.stderr and f"bertie export {folder} OUT" in done.stderr
    for words in (
        ["finetune", str(folder), "--train", str(table), "--out", str(tmp_path / "run")],
        ["export", str(folder), "--out", str(tmp_path / "out")],
    ):
        done = run(MAIN, *words, code_of_exit=2)
        assert "pip install 'bertie[torch]'" in done.stderr and "Traceback" not in done.stderr
    call = "import bertie, sys; bertie.export(sys.argv[1], sys.argv[2])"
    done = run(call, str(folder), str(tmp_path / "out"), code_of_exit=1)
    assert done.stderr.splitlines()[-1].startswith("bertie.errors.SettingsError: this needs torch")


def test_text_is_prepared_and_the_installation_is_described(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("The cat sat on the mat. A dog ran.\n\n" * 40, encoding="utf-8")
    assert "predict" in run(MAIN, "--help").stdout
    run(MAIN, "train-tokenizer", str(text), "--out", str(tmp_path / "tokenizer"), "--vocab-size", "60")
    corpus = tmp_path / "corpus"
    run(MAIN, "prepare-corpus", str(text), "--tokenizer", str(tmp_path / "tokenizer"), "--out", str(corpus))
    assert json.loads(run(MAIN, "show", str(corpus), "--json").stdout)["kind"] == "corpus"
    report = run(MAIN, "doctor", "--json", code_of_exit=0).stdout
    lines = json.loads(report)["lines"]
    assert not [line for line in lines if line["state"] == "problem"]
    assert {line["subject"] for line in lines} >= {"versions", "processor", "memory", "backends", "disk"}
