"""The other encoders are transformers' encoders: outputs of every head, and files read by either side; random weights.

A new architecture needs entries in `SHAPES`, nothing else here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from bertie.batch import Batch
from bertie.formats import huggingface
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

TOLERANCE = 1e-5
LENGTHS = (3, 24, 1, 11, 7)
TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(95))], lowercase=True)
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
OTHER = {
    "hidden_size": 21,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 17,
    "hidden_act": "gelu_new",
    "layer_norm_eps": 1e-5,
    "max_position_embeddings": 30,
}
SUMMARY = {"summary_type": "first", "summary_use_proj": True}
MODERN = {**SMALL, "num_hidden_layers": 4, "pad_token_id": 0}
SHAPES: dict[tuple[str, str], dict[str, Any]] = {
    ("Roberta", "small"): {**SMALL, "type_vocab_size": 1},
    ("Roberta", "other"): {**OTHER, "type_vocab_size": 1, "pad_token_id": 0},
    ("DistilBert", "small"): {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    ("DistilBert", "other"): {"dim": 21, "n_layers": 3, "n_heads": 3, "hidden_dim": 17, "activation": "relu"},
    ("Electra", "small"): {**SMALL, "embedding_size": 12},
    ("Electra", "other"): {**OTHER, "embedding_size": 21},
    ("Albert", "small"): {**SMALL, "embedding_size": 12},
    ("Albert", "other"): {**OTHER, "hidden_act": "gelu", "embedding_size": 21, "num_hidden_groups": 3},
    ("RoFormer", "small"): {**SMALL, **SUMMARY, "summary_activation": "gelu"},
    ("RoFormer", "other"): {
        **OTHER,
        **SUMMARY,
        "summary_activation": "gelu_new",
        "hidden_size": 24,
        "embedding_size": 13,
    },
    ("ModernBert", "small"): {**MODERN, "local_attention": 8},
    ("ModernBert", "other"): {
        **MODERN,
        "num_hidden_layers": 5,
        "local_attention": 6,
        "global_attn_every_n_layers": 2,
        "hidden_activation": "gelu_new",
        "classifier_pooling": "mean",
        "norm_eps": 1e-6,
    },
}
HEADS = ("MaskedLM", "SequenceClassification", "TokenClassification", "QuestionAnswering", "MultipleChoice")


def foreign(kind: str, ending: str, shape: str, folder: Path) -> Any:
    """Make transformers' model with random weights, biases and norms among them, and save it beside a tokenizer."""
    values = {"vocab_size": 103, "max_position_embeddings": 40, **SHAPES[kind, shape]}
    if ending in ("ForSequenceClassification", "ForTokenClassification"):
        values["num_labels"] = 3
    torch.manual_seed(5)
    config = getattr(transformers, f"{kind}Config")(**values)
    model = getattr(transformers, f"{kind}{ending}")(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = 1.0 if "norm" in name.lower() and name.endswith(".weight") else 0.0
            parameter.copy_(torch.randn_like(parameter) * 0.2 + centre)
    model.save_pretrained(folder)
    save_tokenizer(TOKENIZER, folder)
    return model


def padded(kind: str) -> dict[str, Tensor]:
    """Return a padded batch of mixed lengths as the model takes it."""
    draw = torch.Generator().manual_seed(3)
    mask = (torch.arange(max(LENGTHS))[None, :] < torch.tensor(LENGTHS)[:, None]).long()
    inputs = {"input_ids": torch.randint(5, 103, mask.shape, generator=draw) * mask, "attention_mask": mask}
    if kind in ("Electra", "Albert", "RoFormer"):
        inputs["token_type_ids"] = torch.randint(0, 2, mask.shape, generator=draw) * mask
    return inputs


def assert_near(ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape
    assert float(theirs.abs().max()) > 1e-3  # two networks of zeros would agree too
    assert float((ours - theirs).abs().max()) <= TOLERANCE


def reload_equal(bundle: Any, model: Any, folder: Path) -> None:
    """Write what was read; transformers must find every tensor, no other, and equal bits."""
    huggingface.write(bundle, folder)
    again, found = type(model).from_pretrained(folder, output_loading_info=True)
    assert {problem: list(keys) for problem, keys in found.items() if keys} == {}
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    twice = huggingface.read(folder)
    assert (twice.task, twice.config, twice.notes) == (bundle.task, bundle.config, ())
    same = twice.model.state_dict()
    assert all(torch.equal(value, same[name]) for name, value in bundle.model.state_dict().items())


@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_hidden_vectors_and_pooler(kind: str, shape: str, tmp_path: Path) -> None:
    model = foreign(kind, "Model", shape, tmp_path / "theirs")
    bundle = huggingface.read(tmp_path / "theirs")
    assert (bundle.task.name, bundle.notes, bundle.architecture) == ("features", (), kind.lower())
    inputs = padded(kind)
    with torch.no_grad():
        theirs, ours = model(**inputs), bundle.model(Batch.from_padded(**inputs))
    assert_near(ours.hidden, theirs.last_hidden_state[inputs["attention_mask"].bool()])
    assert (ours.pooled is None) == (getattr(theirs, "pooler_output", None) is None)
    if ours.pooled is not None:
        assert_near(ours.pooled, theirs.pooler_output)
    reload_equal(bundle, model, tmp_path / "ours")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("kind", "shape"), SHAPES)
def test_heads(kind: str, shape: str, head: str, tmp_path: Path) -> None:
    model = foreign(kind, f"For{head}", shape, tmp_path / "theirs")
    bundle = huggingface.read(tmp_path / "theirs")
    assert bundle.notes == ()
    inputs = padded(kind)
    keep, batch = inputs["attention_mask"].bool(), Batch.from_padded(**inputs)
    batch.targets["slot.position"] = torch.arange(0, batch.num_tokens, 2)
    with torch.no_grad():
        ours = bundle.model(batch)
        if head == "MultipleChoice":
            theirs = model(**{name: value[None] for name, value in inputs.items()}).logits[0]
        elif head == "QuestionAnswering":
            scores = model(**inputs)
            theirs = torch.stack([scores.start_logits, scores.end_logits], -1)[keep]
        else:
            theirs = model(**inputs).logits
        if head == "MaskedLM":
            ours, theirs = ours.materialise(), theirs[keep][::2]
    assert_near(ours, theirs[keep] if head == "TokenClassification" else theirs)
    reload_equal(bundle, model, tmp_path / "ours")


@pytest.mark.parametrize("kind", ["Roberta", "DistilBert", "Electra", "Albert", "ModernBert", "RoFormer"])
def test_texts_go_through_transformers_from_end_to_end(kind: str, tmp_path: Path) -> None:
    """Tokenizer and model of a folder that bertie wrote fit each other there too, for pairs as well."""
    foreign(kind, "Model", "small", tmp_path / "theirs")
    bundle = huggingface.read(tmp_path / "theirs")
    huggingface.write(bundle, tmp_path / "ours")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    model = transformers.AutoModel.from_pretrained(tmp_path / "ours").eval()
    pair = "piece1 piece2 piece3", "piece4 piece5"
    with torch.no_grad():
        theirs = model(**tokenizer(*pair, return_tensors="pt")).last_hidden_state[0]
        ours = bundle.model(bundle.task.encode([pair], bundle.tokenizer)).hidden
    assert_near(ours, theirs)
