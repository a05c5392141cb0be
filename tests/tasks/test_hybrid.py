"""Hybrid: which batches are causal, which tokens are targets, and that one set of weights does all three."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.formats import huggingface
from bertie.formats.format import Bundle, new
from bertie.inference.evaluate import evaluate, evaluate_batches
from bertie.inference.likelihood import pseudo_log_likelihood
from bertie.inference.predictor import load
from bertie.models.bert import BertConfig
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream
from bertie.tasks.causal_lm import CausalLM
from bertie.tasks.hybrid import Hybrid
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import TaskModel

TEXTS = ["the old cat sat in the house by the river .", "good", "the dog ran and ran and ran"]
MASKED, CAUSAL = Hybrid(max_length=64, causal_rate=0.0), Hybrid(max_length=64, causal_rate=1.0)


def instances(tokenizer: Any, seed: int) -> Instances:
    pieces = tokenizer.pack(TEXTS, max_length=64)
    keys = stream(seed, np.arange(len(TEXTS)))
    return Instances(pieces.tokens, pieces.segments, pieces.offsets, np.full(len(TEXTS), -1), keys)


def same(one: Batch, other: Batch) -> bool:
    """Tell whether batches are equal bit by bit."""
    alike = all(torch.equal(value, other.targets[key]) for key, value in one.targets.items())
    return alike and torch.equal(one.tokens, other.tokens) and one.causal == other.causal


@pytest.mark.parametrize("rate", [0.0, 0.0625, 0.5, 1.0])
def test_the_share_of_causal_batches(rate: float) -> None:
    count = 200_000
    drawn = Hybrid(causal_rate=rate).draws_causal(stream(5, np.arange(count)))
    deviation = math.sqrt(rate * (1.0 - rate) / count)
    assert abs(drawn.mean() - rate) <= 4.5 * deviation
    assert not (Hybrid(causal_rate=rate / 2).draws_causal(stream(5, np.arange(count))) & ~drawn).any()


def test_a_batch_is_one_or_the_other_by_its_keys(tiny_tokenizer: Any) -> None:
    task, kinds = Hybrid(max_length=64, causal_rate=0.5), []
    for seed in range(40):
        drawn = instances(tiny_tokenizer, seed)
        batch = task.encode(drawn, tiny_tokenizer, drawn.keys)
        kinds.append(batch.causal)
        masked = MaskedLM(max_length=64).encode(drawn, tiny_tokenizer, drawn.keys)
        causal = CausalLM(max_length=64).encode(drawn, tiny_tokenizer, drawn.keys)
        assert same(batch, causal if batch.causal else masked)  # what masks would hide is as in masked_lm
        assert same(batch, task.encode(drawn, tiny_tokenizer, drawn.keys))  # resume draws the same again
        assert all(part.causal == batch.causal for part in batch.split(10))
    assert 8 < sum(kinds) < 32
    with pytest.raises(SettingsError, match="causal_rate must be from 0 to 1"):
        Hybrid(causal_rate=1.5)


@pytest.mark.parametrize("task", [MASKED, CAUSAL], ids=["masked", "causal"])
def test_a_token_is_guessed_at_the_place_before_it(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, task: Hybrid
) -> None:
    drawn, model = instances(tiny_tokenizer, 1), build_model(task, deviation=0.3).eval()
    batch = task.encode(drawn, tiny_tokenizer, drawn.keys)
    with torch.no_grad():
        table = model.head.token_logits(model.encoder(batch)).materialise().log_softmax(-1)
        loss = task.loss(model(batch), batch)
    places, tokens = batch.targets["slot.position"], batch.targets["slot.token"]
    assert tokens.tolist() == drawn.tokens[places.numpy()].tolist()
    expected = -float(table[places - 1].gather(1, tokens[:, None]).sum())
    assert float(loss.terms["hybrid"].sum) == pytest.approx(expected, rel=1e-5)
    kind = "causal" if batch.causal else "masked"
    of_masks = {"mask_loss", "mask_accuracy"} if kind == "masked" else set()
    assert loss.figures.keys() == {f"{kind}_loss", f"{kind}_accuracy", *of_masks}


def test_both_are_measured_on_everything(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    task, drawn = Hybrid(max_length=64), instances(tiny_tokenizer, 1)
    model = build_model(task)
    found = evaluate(model, task, TEXTS, tiny_tokenizer, max_tokens=20)
    apart = {
        kind: evaluate(model, one, TEXTS, tiny_tokenizer) for kind, one in (("masked", MASKED), ("causal", CAUSAL))
    }
    for kind, one in apart.items():
        assert found.scores[f"{kind}_loss"] == pytest.approx(one.loss, rel=1e-5)
    assert found.scores["perplexity"] == pytest.approx(math.exp(found.scores["causal_loss"]))
    assert found.num_items == len(TEXTS)
    batches = [aspect.encode(drawn, tiny_tokenizer, drawn.keys) for aspect in task.objectives()]
    figures = evaluate_batches(model, task, batches)
    of_masks = {"mask_loss", "mask_accuracy"}
    both = {"loss", "masked_loss", "causal_loss", "masked_accuracy", "causal_accuracy", "perplexity"}
    assert both | of_masks == figures.keys()


@pytest.fixture(scope="module")
def learned(tiny_tokenizer: Any) -> Bundle:
    """A model that knows three texts by heart, in both ways."""
    shape = BertConfig(
        tiny_tokenizer.vocab_size, hidden_size=32, num_layers=2, num_heads=2, intermediate_size=64, max_positions=64
    )
    task = Hybrid(max_length=64, causal_rate=0.5, mask_rate=0.3)
    made = new(replace(shape, dropout=0.0, attention_dropout=0.0), task, tiny_tokenizer, 1)
    optimizer = torch.optim.AdamW(made.model.parameters(), lr=6e-3)
    losses: dict[bool, list[float]] = {False: [], True: []}
    for step in range(120):
        drawn = instances(tiny_tokenizer, step)
        batch = task.encode(drawn, tiny_tokenizer, drawn.keys)
        loss = task.loss(made.model(batch), batch).total(task.counts(batch))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses[batch.causal].append(float(loss.detach()))
    for values in losses.values():
        assert np.mean(values[-10:]) < 0.4 * np.mean(values[:3])
    made.model.eval()
    return made


def test_one_set_of_weights_fills_scores_and_writes(learned: Bundle, tmp_path: Path) -> None:
    huggingface.write(learned, tmp_path / "model")
    hybrid = load(tmp_path / "model")
    best = hybrid.predict("the old cat sat in the [MASK] by the river .")[0]
    assert best.token == "house"
    for scoring in ("masked", "causal"):
        known, strange = pseudo_log_likelihood(hybrid, [TEXTS[0], "river the by house the in sat ."], scoring=scoring)
        assert known.per_piece > strange.per_piece + 1.0
    writer = load(tmp_path / "model", task="causal_lm", max_new_tokens=20)
    assert writer.predict("the old cat").target == "sat in the house by the river."
    assert writer.predict("the old cat").ended


def test_transformers_reads_it_both_ways(learned: Bundle, tiny_tokenizer: Any, tmp_path: Path) -> None:
    import transformers

    huggingface.write(learned, tmp_path / "model")
    pieces = tiny_tokenizer.pack(TEXTS[:1], max_length=64)
    batch = Batch.pack(pieces.tokens, pieces.segments, pieces.offsets)
    for causal in (False, True):
        theirs, report = transformers.BertLMHeadModel.from_pretrained(
            tmp_path / "model", is_decoder=causal, output_loading_info=True
        )
        assert {kind: keys for kind, keys in report.items() if keys} == {}
        with torch.no_grad():
            expected = theirs.eval()(batch.tokens[None]).logits[0]
            hidden = learned.model.encoder(replace(batch, causal=causal))
            found = learned.model.head.token_logits(hidden).materialise()
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
