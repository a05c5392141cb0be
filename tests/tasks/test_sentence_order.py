"""Sentence order beside masked LM: who has an order, what it is measured by, and ALBERT's own head in and out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.formats import huggingface
from bertie.models.bert import BertConfig
from bertie.models.roberta import RobertaConfig
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream
from bertie.tasks.sentence_order import SentenceOrder
from bertie.tasks.task import TaskModel
from bertie.tokenizer.writing import save_tokenizer

FIRST, SECOND = ["the cat sat", "a dog ran in the city", "good fish"], ["it ate fish .", None, "bad bird"]
TASK = SentenceOrder(max_length=32, mask_rate=0.3)


def drawn(tokenizer: Any) -> Instances:
    pieces = tokenizer.pack(FIRST, SECOND, max_length=32)
    return Instances(pieces.tokens, pieces.segments, pieces.offsets, np.array([0, -1, 1]), stream(4, np.arange(3)))


def test_a_single_segment_has_no_order(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    instances = drawn(tiny_tokenizer)
    batch, model = TASK.encode(instances, tiny_tokenizer, instances.keys), build_model(TASK).eval()
    assert TASK.counts(batch) == {"mlm": float(len(batch.targets["slot.token"])), "sop": 2.0}
    outputs = model(batch)
    loss = TASK.loss(outputs, batch)
    likelihoods = outputs.next_sentence.log_softmax(1)
    torch.testing.assert_close(loss.terms["sop"].sum, -likelihoods[0, 0] - likelihoods[2, 1])
    guesses = outputs.next_sentence.argmax(1).tolist()
    assert (float(loss.figures["sop_accuracy"][0]), loss.figures["sop_accuracy"][1]) == (
        (guesses[0] == 0) + (guesses[2] == 1),
        2.0,
    )
    loss.terms["sop"].sum.backward()
    assert model.head.next_sentence.bias.grad.abs().sum() > 0


def test_a_batch_without_any_order(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    pieces = tiny_tokenizer.pack(FIRST, max_length=32)
    alone = Instances(pieces.tokens, pieces.segments, pieces.offsets, np.full(3, -1), stream(4, np.arange(3)))
    batch = TASK.encode(alone, tiny_tokenizer, alone.keys)
    loss = TASK.loss(build_model(TASK)(batch), batch)
    assert float(loss.terms["sop"].sum.detach()) == 0.0 and loss.terms["sop"].count == 0.0
    assert torch.isfinite(loss.total(TASK.counts(batch)))


def test_texts_have_masks_only(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    batch = TASK.encode(FIRST, tiny_tokenizer, stream(1, np.arange(3)))
    assert set(TASK.loss(build_model(TASK)(batch), batch).terms) == {"mlm"} == set(TASK.counts(batch))
    asked = TASK.encode(["the [MASK] sat"], tiny_tokenizer)
    with torch.inference_mode():
        (guesses,) = TASK.decode(build_model(TASK)(asked), asked, ["the [MASK] sat"], tiny_tokenizer)
    assert len(guesses) == TASK.top_k


def test_encoders_without_such_a_head() -> None:
    assert TASK.head(BertConfig.sized("2/32", vocab_size=50).build())
    with pytest.raises(SettingsError, match="Roberta has no sentence order head; use the task masked_lm"):
        TASK.head(RobertaConfig.sized("2/32", vocab_size=50).build())


def test_alberts_own_folder_in_and_out(tiny_tokenizer: Any, tmp_path: Path) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.AlbertConfig(
        vocab_size=tiny_tokenizer.vocab_size, embedding_size=12, initializer_range=0.1, **shape
    )
    torch.manual_seed(0)
    theirs = transformers.AlbertForPreTraining(config).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    save_tokenizer(tiny_tokenizer, tmp_path / "theirs")
    bundle = huggingface.read(tmp_path / "theirs")
    assert (bundle.task.name, bundle.notes) == ("sentence_order", ())
    batch = TASK.encode(FIRST, tiny_tokenizer)
    with torch.inference_mode():
        packed = Batch.pack(
            batch.tokens.numpy(),
            batch.segments.numpy(),
            batch.offsets.numpy(),
            targets={"slot.position": np.arange(batch.num_tokens)},
        )
        ours = bundle.model(packed)
        for row in range(len(batch)):
            span = slice(int(batch.offsets[row]), int(batch.offsets[row + 1]))
            expected = theirs(batch.tokens[None, span], token_type_ids=batch.segments[None, span])
            torch.testing.assert_close(ours.next_sentence[row], expected.sop_logits[0], atol=1e-5, rtol=0)
            logits = ours.tokens.materialise()[span]
            torch.testing.assert_close(logits, expected.prediction_logits[0], atol=1e-5, rtol=0)
    huggingface.write(bundle, tmp_path / "ours")
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["architectures"] == ["AlbertForPreTraining"]
    _, found = transformers.AlbertForPreTraining.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(found[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
