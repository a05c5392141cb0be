"""Causal LM: which tokens are guessed, how likely texts are, how they are gone on with."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.inference.evaluate import evaluate
from bertie.inference.predictor import Predictor
from bertie.sampling.instances import Instances
from bertie.tasks.causal_lm import CausalLM, perplexity
from bertie.tasks.task import TaskModel, Text

TEXTS = ["the old cat sat in the house by the river .", "good", "the dog ran and ran and ran"]
KEYS = np.arange(len(TEXTS), dtype=np.uint64)


def predictor(build_model: Callable[..., TaskModel], tokenizer: Any, task: CausalLM) -> Predictor:
    model = build_model(task, deviation=0.3)
    return Predictor(Bundle(model, task, tokenizer, model.encoder.config), device="cpu")


def test_every_token_but_the_first_is_guessed(tiny_tokenizer: Any) -> None:
    pieces = tiny_tokenizer.pack(TEXTS, max_length=64)
    drawn = Instances(pieces.tokens, pieces.segments, pieces.offsets, np.full(len(TEXTS), -1), KEYS)
    for batch in (CausalLM().encode(drawn, tiny_tokenizer, KEYS), CausalLM().encode(TEXTS, tiny_tokenizer, KEYS)):
        assert batch.causal and np.array_equal(batch.tokens.numpy(), pieces.tokens)
        firsts = pieces.offsets[:-1].tolist()
        places = [place for place in range(len(pieces.tokens)) if place not in firsts]
        assert batch.targets["slot.position"].tolist() == places
        assert batch.targets["slot.token"].tolist() == pieces.tokens[places].tolist()
        assert CausalLM().counts(batch) == {"causal": len(pieces.tokens) - len(TEXTS)}


def test_what_is_guessed_is_what_comes_next(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    task = CausalLM(max_length=64)
    model, batch = build_model(task, deviation=0.3).eval(), task.encode(TEXTS, tiny_tokenizer, KEYS)
    with torch.no_grad():
        table = model.head.token_logits(model.encoder(batch)).materialise().log_softmax(-1)  # of every place
        loss = task.loss(model(batch), batch)
    edges, tokens = batch.offsets.tolist(), batch.tokens.tolist()
    expected = -sum(
        float(table[place, tokens[place + 1]]) for start, end in pairwise(edges) for place in range(start, end - 1)
    )
    assert float(loss.terms["causal"].sum) == pytest.approx(expected, rel=1e-5)


def test_texts_are_measured(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    task = CausalLM(max_length=64)
    items = [Text(text, label="whatever") for text in TEXTS]  # there is no right way to go on
    found = evaluate(build_model(task), task, items, tiny_tokenizer, max_tokens=20)
    assert found.loss is not None and found.loss > 0
    assert found.scores["perplexity"] == pytest.approx(math.exp(found.loss))
    assert 0 <= found.scores["causal_accuracy"] <= 1
    assert perplexity(0.0) == 1.0 and math.isfinite(perplexity(1e9))


def test_texts_are_gone_on_with(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    batch = CausalLM().encode(["good", ""], tiny_tokenizer)
    good = tiny_tokenizer.token_id("good")
    assert batch.tokens.tolist() == [tiny_tokenizer.start, good, tiny_tokenizer.start] and batch.causal
    assert "slot.position" not in batch.targets
    found = predictor(build_model, tiny_tokenizer, CausalLM(max_new_tokens=6)).predict(TEXTS)
    assert all(0 < guess.score < 1 for guess in found) and not all(guess.ended for guess in found)
    draws = CausalLM(max_new_tokens=6, sample=True, seed=4, num_texts=3, top_p=0.9)
    once, again = (predictor(build_model, tiny_tokenizer, draws).predict(TEXTS[0]) for _ in range(2))
    assert once == again and len({once.target, *(other.target for other in once.others)}) > 1


def test_long_texts(tiny_tokenizer: Any) -> None:
    task = CausalLM(max_length=12, max_new_tokens=6)
    kept = task.encode(["the cat sat in it"], tiny_tokenizer)
    assert kept.num_tokens == 6  # with the six that may be written there are twelve
    with pytest.raises(DataError, match=r"text 2 has 6 pieces and may get 6 new tokens, more than max_length 12"):
        task.encode(["good", "the cat sat in it ."], tiny_tokenizer)
    cut = task.adjusted({"truncation": "truncate"}).encode(["good", "the cat sat in it ."], tiny_tokenizer)
    assert tiny_tokenizer.decode(cut.tokens.tolist()[2:]) == "cat sat in it."
    assert cut.targets["sequence.cut"].tolist() == [0, 1]
    with pytest.raises(DataError, match="text 2 is a pair"):
        task.encode(["good", ("a", "b")], tiny_tokenizer)
    with pytest.raises(SettingsError, match="max_new_tokens 11 leaves no room for a prompt in max_length 12"):
        task.adjusted({"max_new_tokens": 11}).encode(["good"], tiny_tokenizer)


def test_short_sequences_leave_room_for_a_text(tiny_tokenizer: Any) -> None:
    for length in (5, 32, 40):
        task = CausalLM(max_length=length)
        assert task.max_new_tokens == length // 2
        assert task.encode(["cat"], tiny_tokenizer).num_tokens == 2
    assert CausalLM(max_length=64).max_new_tokens == 32
    assert CausalLM(max_length=40, max_new_tokens=30).max_new_tokens == 30


def test_an_encoder_that_cannot_write_is_refused() -> None:
    with pytest.raises(SettingsError, match="can't continue texts"):
        CausalLM().head(torch.nn.Identity())
