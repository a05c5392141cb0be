"""The network is transformers' network: outputs, gradients, and files read by either side; random weights, fp32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from bertie.batch import Batch
from bertie.formats import huggingface
from bertie.models.bert import ARCHITECTURE
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
LENGTHS = (3, 24, 1, 11, 7)
TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(95))], lowercase=True)
SHAPES: dict[str, dict[str, Any]] = {
    "small": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64},
    "odd heads": {"hidden_size": 21, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 17},
    "one head": {"hidden_size": 40, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 80},
    "gelu_new": {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 96,
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-5,
    },
    "relu": {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 50,
        "hidden_act": "relu",
        "type_vocab_size": 3,
    },
    "wide": {"hidden_size": 768, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 3072},
}


@pytest.fixture(scope="module")
def largest() -> Iterator[dict[str, float]]:
    """Collect the largest difference of each kind; they are printed at the end (``pytest -s``)."""
    found: dict[str, float] = {}
    yield found
    print("\nlargest differences:", {name: f"{value:.1e}" for name, value in sorted(found.items())})


def foreign(kind: str, shape: str, folder: Path, **more: Any) -> Any:
    """Make transformers' model with random weights, biases and norms among them, and save it beside a tokenizer."""
    values = {"vocab_size": 103, "max_position_embeddings": 40, **SHAPES[shape], **more}
    torch.manual_seed(5)
    model = getattr(transformers, kind)(transformers.BertConfig(**values)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.05 if values["hidden_size"] > 500 else 0.2
            centre = 1.0 if name.endswith("LayerNorm.weight") else 0.0
            parameter.copy_(torch.randn_like(parameter) * scale + centre)
    model.save_pretrained(folder)
    save_tokenizer(TOKENIZER, folder)
    return model


def padded(num_segments: int = 2) -> dict[str, Tensor]:
    """Return a padded batch of mixed lengths as transformers take it."""
    draw = torch.Generator().manual_seed(3)
    mask = (torch.arange(max(LENGTHS))[None, :] < torch.tensor(LENGTHS)[:, None]).long()
    tokens = torch.randint(5, 103, mask.shape, generator=draw) * mask
    segments = torch.randint(0, num_segments, mask.shape, generator=draw) * mask
    return {"input_ids": tokens, "attention_mask": mask, "token_type_ids": segments}


def targets(inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return (B, S) labels of masked tokens, -100 elsewhere, and (B,) next-sentence labels."""
    draw = torch.Generator().manual_seed(4)
    chosen = (torch.rand(inputs["input_ids"].shape, generator=draw) < 0.3) & inputs["attention_mask"].bool()
    tokens = torch.randint(5, 103, chosen.shape, generator=draw)
    return tokens.where(chosen, torch.tensor(-100)), torch.tensor([0, 1, 1, 0, 1])


def difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    assert float(theirs.detach().abs().max()) > 1e-3  # two networks of zeros would agree too
    return float((ours - theirs).detach().abs().max())


def check(largest: dict[str, float], name: str, value: float, tolerance: float) -> None:
    largest[name] = max(largest.get(name, 0.0), value)
    assert value <= tolerance, name


def reload_equal(bundle: Any, model: Any, folder: Path) -> None:
    """Write what was read; transformers must find every tensor, no other, and equal bits."""
    huggingface.write(bundle, folder)
    again, found = type(model).from_pretrained(folder, output_loading_info=True)
    problems = {kind: list(keys) for kind, keys in found.items() if keys}
    assert problems == {}
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    twice = huggingface.read(folder)
    assert (twice.task, twice.config) == (bundle.task, bundle.config)


@pytest.mark.parametrize("shape", SHAPES)
def test_hidden_and_pooled(shape: str, tmp_path: Path, largest: dict[str, float]) -> None:
    model = foreign("BertModel", shape, tmp_path / "theirs")
    bundle = huggingface.read(tmp_path / "theirs")
    assert (bundle.task.name, bundle.notes) == ("features", ())
    inputs = padded(model.config.type_vocab_size)
    batch = Batch.from_padded(**inputs)
    with torch.no_grad():
        theirs, ours = model(**inputs), bundle.model(batch)
    keep = inputs["attention_mask"].bool()
    check(largest, "hidden", difference(ours.hidden, theirs.last_hidden_state[keep]), TOLERANCE)
    check(largest, "pooled", difference(ours.pooled, theirs.pooler_output), TOLERANCE)
    reload_equal(bundle, model, tmp_path / "ours")


def test_a_model_without_pooler(tmp_path: Path, largest: dict[str, float]) -> None:
    torch.manual_seed(0)
    model = transformers.BertModel(  # type: ignore[no-untyped-call]
        transformers.BertConfig(vocab_size=103, **SHAPES["small"]), add_pooling_layer=False
    ).eval()
    model.save_pretrained(tmp_path / "theirs")
    save_tokenizer(TOKENIZER, tmp_path / "theirs")
    bundle = huggingface.read(tmp_path / "theirs")
    inputs = padded()
    with torch.no_grad():
        ours = bundle.model(Batch.from_padded(**inputs))
        theirs = model(**inputs).last_hidden_state[inputs["attention_mask"].bool()]
    assert ours.pooled is None
    check(largest, "hidden", difference(ours.hidden, theirs), TOLERANCE)


@pytest.mark.parametrize("shape", SHAPES)
def test_pretraining_logits_and_gradients(shape: str, tmp_path: Path, largest: dict[str, float]) -> None:
    model = foreign("BertForPreTraining", shape, tmp_path / "theirs")
    bundle = huggingface.read(tmp_path / "theirs")
    assert (bundle.task.name, bundle.notes) == ("pretraining", ())
    inputs = padded(model.config.type_vocab_size)
    labels, following = targets(inputs)
    flat = labels[inputs["attention_mask"].bool()]
    position = (flat != -100).nonzero().flatten()
    batch = Batch.from_padded(**inputs)
    batch.targets.update({"slot.position": position, "slot.token": flat[position], "sequence.label": following})

    theirs = model(**inputs, labels=labels, next_sentence_label=following)
    ours = bundle.model(batch)
    logits = theirs.prediction_logits[labels != -100]
    check(largest, "mlm logits", difference(ours.tokens.materialise(), logits), TOLERANCE)
    check(largest, "nsp logits", difference(ours.next_sentence, theirs.seq_relationship_logits), TOLERANCE)
    total = bundle.task.loss(ours, batch).total(bundle.task.counts(batch))
    check(largest, "loss", abs(float(total.detach()) / float(theirs.loss.detach()) - 1), TOLERANCE)

    theirs.loss.backward()
    torch.autograd.backward(total)
    check_gradients(bundle.model, model, largest)
    reload_equal(bundle, model, tmp_path / "ours")


def check_gradients(ours: Any, theirs: Any, largest: dict[str, float]) -> None:
    """Compare every tensor's gradient by the norm of the difference over its norm."""
    renamed = ARCHITECTURE.to_foreign({name: value.grad for name, value in ours.named_parameters()})
    wanted = {name: value.grad for name, value in theirs.named_parameters()}
    assert renamed.keys() == wanted.keys()
    greatest = max(float(value.norm()) for value in wanted.values())
    for name, value in wanted.items():
        if name.endswith("key.bias"):
            # Softmax doesn't see a constant added to all keys: the true gradient is 0 and both hold rounding only.
            assert float(value.norm()) < 1e-5 * greatest and float(renamed[name].norm()) < 1e-5 * greatest
        else:
            error = float((renamed[name] - value).norm() / value.norm())
            check(largest, "gradients", error, GRADIENT_TOLERANCE)


@pytest.mark.parametrize("shape", SHAPES)
def test_classification_logits(shape: str, tmp_path: Path, largest: dict[str, float]) -> None:
    names = {number: f"label {9 - number}" for number in range(3)}
    model = foreign("BertForSequenceClassification", shape, tmp_path / "theirs", id2label=names, num_labels=3)
    bundle = huggingface.read(tmp_path / "theirs")
    assert bundle.task.labels == ("label 9", "label 8", "label 7")  # type: ignore[attr-defined]
    inputs = padded(model.config.type_vocab_size)
    with torch.no_grad():
        theirs, ours = model(**inputs).logits, bundle.model(Batch.from_padded(**inputs))
    check(largest, "classification", difference(ours, theirs), TOLERANCE)
    reload_equal(bundle, model, tmp_path / "ours")
    again = transformers.AutoConfig.from_pretrained(tmp_path / "ours")
    assert again.id2label == names and again.label2id == {label: number for number, label in names.items()}


@pytest.mark.parametrize("kind", ["BertForMaskedLM", "BertForNextSentencePrediction"])
def test_single_heads_go_there_and_back(kind: str, tmp_path: Path, largest: dict[str, float]) -> None:
    model = foreign(kind, "small", tmp_path / "theirs")
    bundle = huggingface.read(tmp_path / "theirs")
    assert bundle.notes == ()
    reload_equal(bundle, model, tmp_path / "ours")
