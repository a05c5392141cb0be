"""Graphs of encoder and head: the head's outputs for every task, as other programs read them; broken graphs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertie.backends._frozen import ASKED, Facts, Output, calls, open_frozen, sha256
from bertie.backends._heads import HEADS
from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.inference.choose_backend import load_backend
from bertie.inference.proof import compare_outputs
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
from bertie.tasks.replaced_token import ReplacedToken
from bertie.tasks.sentence_order import SentenceOrder
from bertie.tasks.span_classification import SpanClassification
from bertie.tasks.tagging import Tagging

# name: (task, architecture, names of the outputs as in exports by optimum or sentence-transformers)
CASES: dict[str, tuple[Any, str, tuple[str, ...]]] = {
    "classification": (Classification(labels=("a", "b", "c")), "bert", ("logits",)),
    "classification, electra": (Classification(labels=("a", "b")), "electra", ("logits",)),
    "classification, distilbert": (Classification(labels=("a", "b")), "distilbert", ("logits",)),
    "regression": (Regression(center=512.0, spread=256.0), "roberta", ("logits",)),
    "tagging": (Tagging(labels=("O", "B-X", "I-X")), "bert", ("logits",)),
    "question answering": (QuestionAnswering(), "bert", ("start_logits", "end_logits")),
    "multiple choice": (MultipleChoice(), "bert", ("logits",)),
    "masked LM": (MaskedLM(), "bert", ("logits",)),
    "masked LM, roberta": (MaskedLM(), "roberta", ("logits",)),
    "masked LM, albert": (MaskedLM(), "albert", ("logits",)),
    "passages": (Passages(), "bert", ("logits",)),
    "pretraining": (Pretraining(), "bert", ("prediction_logits", "seq_relationship_logits")),
    "sentence order": (SentenceOrder(), "albert", ("prediction_logits", "seq_relationship_logits")),
    "next sentence": (NextSentence(), "bert", ("logits",)),
    "replaced token": (ReplacedToken(), "electra", ("logits",)),
    "mean": (Embedding(), "bert", ("token_embeddings", "sentence_embedding")),
    "cls": (Embedding(pooling="cls"), "roberta", ("token_embeddings", "sentence_embedding")),
    "max": (Embedding(pooling="max", normalize=False), "bert", ("token_embeddings", "sentence_embedding")),
    "features": (FeaturesTask(), "bert", ("last_hidden_state", "pooler_output")),
    "features, distilbert": (FeaturesTask(), "distilbert", ("last_hidden_state",)),
    "spans": (SpanClassification(labels=("X",)), "bert", ("last_hidden_state",)),
}
SHAPES: dict[str, dict[str, Any]] = {
    "electra": {"embedding_size": 48},
    "albert": {"embedding_size": 48, "num_layers": 3},
    "distilbert": {"num_segments": 0},
}


@pytest.fixture
def make(build_bundle: Callable[..., Bundle]) -> Callable[[str], Bundle]:
    """Return a function that makes the bundle of a case."""

    def build(case: str) -> Bundle:
        task, architecture, _ = CASES[case]
        return build_bundle(architecture, task, **SHAPES.get(architecture, {}))

    return build


@pytest.fixture
def slotted(mixed: Batch) -> Batch:
    """Return the batch of all lengths, with every fourth token as a slot."""
    return replace(mixed, targets={"slot.position": torch.arange(1, int(mixed.offsets[-1]), 4)})


def of(name: str) -> Any:
    found = load_backend(name)
    if missing := found.missing():
        pytest.skip(f"{missing} is not installed")
    return found


def test_every_head_has_a_case(make: Callable[[str], Bundle]) -> None:
    assert {type(make(case).model.head) for case in CASES} >= set(HEADS)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
@pytest.mark.parametrize("case", CASES)
def test_outputs_are_those_of_the_head(
    case: str, name: str, make: Callable[[str], Bundle], slotted: Batch, tmp_path: Path
) -> None:
    backend, bundle = of(name), make(case)
    facts = backend.freeze(bundle, tmp_path, "exact")
    assert tuple(facts.outputs) == CASES[case][2]
    assert Facts.read(json.loads(json.dumps(facts.as_json())), "here") == facts
    network = backend.open(bundle, tmp_path, facts)
    with torch.inference_mode():
        difference = compare_outputs(bundle, network, [slotted])
        assert difference.num_sequences == 8 and difference.scaled <= 1e-4
        if network.in_one:
            assert isinstance(network(slotted), type(bundle.model(slotted)))  # a table is a kind of logits
            twin = make(case)
            twin.model.head.load_state_dict({key: 1.5 * v for key, v in twin.model.head.state_dict().items()})
            if list(twin.model.head.parameters()) and case not in ("mean", "cls", "max"):
                assert compare_outputs(twin, network, [slotted]).largest > 1e-3  # the comparison can fail


@pytest.mark.parametrize("case", ["masked LM", "tagging", "multiple choice", "mean"])
def test_a_row_does_not_depend_on_padding(case: str, make: Callable[[str], Bundle], tmp_path: Path) -> None:
    backend, bundle = of("onnx"), make(case)
    frozen = open_frozen(tmp_path, backend.freeze(bundle, tmp_path, "exact"), threads=1)
    tokens = np.array([[2, 7, 9, 11, 3]])
    ones, zeros = np.ones_like(tokens), np.zeros_like(tokens)
    alone = frozen.padded(tokens, ones, zeros)
    wide = np.full((2, 12), 13)
    wide[0, :5] = tokens
    mask = np.ones_like(wide)
    mask[0, 5:] = 0
    beside = frozen.padded(wide, mask, np.zeros_like(wide))
    for name, values in alone.items():
        other = beside[name][:1, :5] if frozen.facts.outputs[name].per in ("token", "slot") else beside[name][:1]
        np.testing.assert_allclose(other, values, atol=1e-5)


def test_logits_are_computed_for_slots_only(make: Callable[[str], Bundle], tmp_path: Path) -> None:
    backend, bundle = of("onnx"), make("masked LM")
    frozen = open_frozen(tmp_path, backend.freeze(bundle, tmp_path, "exact"), threads=1)
    tokens = np.arange(5, 25).reshape(2, 10)
    mask = np.ones_like(tokens)
    every = frozen.padded(tokens, mask, np.zeros_like(tokens))["logits"]
    assert every.shape == (2, 10, bundle.config.vocab_size)  # type: ignore[attr-defined]
    mask[0, 3] = mask[1, 7] = ASKED
    some = frozen.padded(tokens, mask, np.zeros_like(tokens))["logits"]
    np.testing.assert_allclose(some, every[[0, 1], [3, 7]], atol=1e-5)
    flat = tokens.ravel()
    whole = frozen.packed(flat, np.zeros_like(flat), np.array([0, 10, 20]))["logits"]
    np.testing.assert_allclose(whole, every.reshape(20, -1), atol=1e-5)
    none = frozen.packed(flat, np.zeros_like(flat), np.array([0, 10, 20]), slots=np.array([], np.int64))
    assert none["logits"].shape == (0, every.shape[2])


def test_a_bare_script_reads_the_graph(make: Callable[[str], Bundle], tmp_path: Path) -> None:
    backend, bundle = of("onnx"), make("multiple choice")
    backend.freeze(bundle, tmp_path, "exact")
    onnxruntime = pytest.importorskip("onnxruntime")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx"]
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    axes = ["batch_size", "num_choices", "sequence_length"]
    names = ("input_ids", "attention_mask", "token_type_ids")
    assert [(one.name, one.shape, one.type) for one in session.get_inputs()] == [
        (name, axes, "tensor(int64)") for name in names
    ]
    tokens = np.arange(5, 41).reshape(2, 3, 6)
    feed = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
    (logits,) = session.run(None, feed)
    flat = Batch.pack(tokens.ravel(), np.zeros(36, np.int64), np.arange(0, 37, 6))
    with torch.inference_mode():
        np.testing.assert_allclose(logits.ravel(), bundle.model(flat).numpy(), atol=1e-4)


def test_encoders_without_segments_have_no_input_for_them(make: Callable[[str], Bundle], tmp_path: Path) -> None:
    backend = of("onnx")
    for case in ("classification, distilbert", "masked LM, roberta"):
        assert backend.freeze(make(case), tmp_path, "exact").inputs == ("input_ids", "attention_mask")


@pytest.mark.parametrize("case", ["classification", "masked LM", "masked LM, albert"])
def test_int8_takes_less_than_a_third(case: str, build_bundle: Callable[..., Bundle], tmp_path: Path) -> None:
    task, architecture, _ = CASES[case]
    shape = {"hidden_size": 256, "intermediate_size": 1024, "embedding_size": 128}
    if architecture == "bert":
        del shape["embedding_size"]
    backend, bundle = of("onnx"), build_bundle(architecture, task, **shape)
    sizes = []
    for precision in ("exact", "int8"):
        (tmp_path / precision).mkdir()
        backend.freeze(bundle, tmp_path / precision, precision)
        sizes.append((tmp_path / precision / "model.onnx").stat().st_size)
    assert sizes[1] <= 0.3 * sizes[0]


@pytest.mark.parametrize("name", ["onnx", "openvino"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "swapped", "missing", "pipe"])
def test_files_that_are_not_the_graph(name: str, damage: str, make: Callable[[str], Bundle], tmp_path: Path) -> None:
    backend, bundle = of(name), make("tagging")
    facts = backend.freeze(bundle, tmp_path, "exact")
    file = tmp_path / next(iter(facts.sha256))
    content = file.read_bytes()
    if damage == "swapped":
        other = tmp_path / "other"
        other.mkdir()
        backend.freeze(make("classification"), other, "exact")
        content = (other / file.name).read_bytes()
    changed = {"cut": content[: len(content) // 2], "empty": b"", "text": b"<html>no graph</html>"}.get(damage, content)
    file.write_bytes(changed)
    if damage in ("missing", "pipe"):
        file.unlink()
    if damage == "pipe":
        os.mkfifo(file)
    with pytest.raises((DataError, SettingsError), match=file.name.replace(".", r"\.")):
        backend.open(bundle, tmp_path, facts)
    if damage in ("cut", "empty", "text"):  # also where config.json was changed to fit
        sums = {**facts.sha256, file.name: sha256(changed)}
        with pytest.raises(DataError, match=f"{file.name} can't be run"):
            backend.open(bundle, tmp_path, replace(facts, sha256=sums))


def test_graphs_that_are_not_as_config_says(make: Callable[[str], Bundle], tmp_path: Path) -> None:
    backend, bundle = of("onnx"), make("tagging")
    facts = backend.freeze(bundle, tmp_path, "exact")
    one = np.array([[2, 5, 3]]), np.ones((1, 3), np.int64), np.zeros((1, 3), np.int64)
    for outputs, message in (
        ({"logits": Output("token", 4)}, "it is the graph of another model"),
        ({"logits": Output("sequence", 3)}, "it is the graph of another model"),
        ({"start_logits": Output("token", 0)}, "config.json says inputs .* and outputs start_logits"),
    ):
        with pytest.raises(DataError, match=message):
            open_frozen(tmp_path, replace(facts, outputs=outputs), threads=1).padded(*one)
    frozen = open_frozen(tmp_path, facts, threads=1)
    with pytest.raises(DataError, match=r"model\.onnx can't be run"):
        frozen.padded(np.array([[2, 10_000, 3]]), np.ones((1, 3), np.int64), np.zeros((1, 3), np.int64))
    with pytest.raises(ValueError, match="65 tokens, the model takes at most 64"):
        frozen.packed(np.ones(65, np.int64), np.zeros(65, np.int64), np.array([0, 65]))


def test_weights_in_other_files_are_refused(make: Callable[[str], Bundle], tmp_path: Path) -> None:
    backend, bundle = of("onnx"), make("tagging")
    onnx = pytest.importorskip("onnx")
    facts = backend.freeze(bundle, tmp_path, "exact")
    file = tmp_path / "model.onnx"
    graph = onnx.load_model_from_string(file.read_bytes())
    onnx.external_data_helper.convert_model_to_external_data(graph, location="../w.bin", size_threshold=0)
    content = graph.SerializeToString()
    file.write_bytes(content)
    with pytest.raises(DataError, match="weights in other files"):
        backend.open(bundle, tmp_path, replace(facts, sha256={"model.onnx": sha256(content)}))


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        [],
        "onnx",
        {"backend": "onnx", "precision": "exact"},
        {"backend": "rm", "precision": "exact", "max_length": 4, "inputs": [], "outputs": {}, "sha256": {}},
    ],
)
def test_facts_from_outside_are_checked(value: Any) -> None:
    with pytest.raises(DataError, match=r"here: bertie\.export doesn't describe a graph.*export the model again"):
        Facts.read(value, "here")


@pytest.mark.parametrize(
    "change",
    [
        {"max_length": "64"},
        {"max_length": -1},
        {"inputs": ["token_type_ids"]},
        {"outputs": {"logits": {"per": "word", "width": 2}}},
        {"outputs": {"logits": {"per": "token", "width": 1 << 40}}},
        {"outputs": {}},
        {"precision": 8},
        {"sha256": {"../../etc/passwd": "00"}},
        {"proof": 3},
    ],
)
def test_wrong_facts_are_refused(change: dict[str, Any]) -> None:
    good = Facts(
        "onnx",
        "exact",
        64,
        ("input_ids", "attention_mask"),
        {"logits": Output("token", 3)},
        {"model.onnx": "0" * 64},
    )
    assert Facts.read(good.as_json(), "here") == good
    with pytest.raises(DataError, match="doesn't describe a graph"):
        Facts.read({**good.as_json(), **change}, "here")


def test_calls_are_limited() -> None:
    lengths = np.full(100, 512)
    found = list(calls(lengths))
    assert sorted(np.concatenate(found).tolist()) == list(range(100))
    assert max(len(group) * 512 for group in found) == 8192
