"""Replaced tokens: what is chosen and drawn, what each network learns from, and what a discriminator says of a text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from bertie.errors import SettingsError
from bertie.formats.format import Bundle
from bertie.inference.predictor import Predictor
from bertie.inference.render import record, show
from bertie.models.bert import BertConfig
from bertie.nn.logits import Logits
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream
from bertie.tasks._generator import ReplacedTokenModel, sample
from bertie.tasks._outputs import ReplacedTokenOutputs
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.replaced_token import ReplacedToken
from bertie.tasks.task import TaskModel

TASK = ReplacedToken(max_length=64)
Build = Callable[..., TaskModel]


def instances_of(tokenizer: Any, count: int, seed: int = 0) -> Instances:
    """Sequences of 5 to 20 pieces between [CLS] and [SEP]."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(5, 21, count)
    parts = [[tokenizer.start, *draw.integers(5, 60, length), tokenizer.separator] for length in lengths]
    offsets = np.concatenate([[0], np.cumsum(lengths + 2)]).astype(np.int32)
    tokens = np.concatenate(parts).astype(np.int64)
    return Instances(tokens, np.zeros_like(tokens), offsets, np.full(count, -1), stream(seed, np.arange(count)))


def test_what_is_chosen_is_hidden_and_gets_a_number_of_its_own(tiny_tokenizer: Any) -> None:
    instances = instances_of(tiny_tokenizer, 6_000)
    batch = TASK.encode(instances, tiny_tokenizer, instances.keys)
    slots, draws = batch.targets["slot.position"], batch.targets["slot.draw"]
    plain = MaskedLM(max_length=64).encode(instances, tiny_tokenizer, instances.keys)
    assert torch.equal(slots, plain.targets["slot.position"])
    assert torch.equal(batch.targets["slot.token"], plain.targets["slot.token"])
    hidden = batch.tokens == tiny_tokenizer.mask
    assert torch.equal(hidden.nonzero().flatten(), slots)
    assert torch.equal(batch.tokens[~hidden], torch.from_numpy(instances.tokens)[~hidden])
    assert draws.dtype == torch.float32 and float(draws.min()) >= 0.0 and float(draws.max()) < 1.0
    shares = torch.histc(draws, 20, 0.0, 1.0) / len(draws)
    assert float((shares - 0.05).abs().max()) < 5 * (0.05 * 0.95 / len(draws)) ** 0.5
    assert len(draws.unique()) > 0.99 * len(draws)
    assert abs(float(torch.corrcoef(torch.stack([draws[1:], draws[:-1]]))[0, 1])) < 4 / len(draws) ** 0.5
    part = TASK.encode(instances, tiny_tokenizer, instances.keys).select([7, 3])
    again = batch.select([7, 3])
    assert torch.equal(part.targets["slot.draw"], again.targets["slot.draw"]) and len(again.targets["slot.draw"]) > 1
    other = TASK.encode(instances, tiny_tokenizer, stream(9, np.arange(len(instances))))
    assert not torch.equal(other.targets["slot.draw"], draws)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_pieces_are_drawn_as_often_as_they_are_likely(temperature: float) -> None:
    count, scores = 200_000, torch.tensor([2.0, -1.0, 0.5, -40.0, 1.0, 0.0, 0.0])
    guesses = Logits(torch.zeros(count, 1), torch.zeros(7, 1), scores)
    draws = torch.rand(count, generator=torch.Generator().manual_seed(0))
    shares = torch.bincount(sample(guesses, draws, temperature), minlength=7) / count
    expected = (scores / temperature).softmax(0)
    spread = (expected * (1 - expected) / count).sqrt()
    assert bool(((shares - expected).abs() <= 4.5 * spread + 1e-9).all())
    assert int(sample(guesses, torch.full((count,), 1.0 - 2.0**-24), temperature).max()) == 6


def test_only_guesses_teach_the_generator(build_model: Build, tiny_tokenizer: Any) -> None:
    instances = instances_of(tiny_tokenizer, 12)
    batch, learned = TASK.encode(instances, tiny_tokenizer, instances.keys), {}
    for name in ("mlm", "detection"):
        model = build_model(TASK)
        TASK.loss(model(batch), batch).terms[name].sum.backward()
        learned[name] = {key for key, value in model.named_parameters() if value.grad is not None}
    shared = {f"encoder.embeddings.{part}" for part in ("word.weight", "position.weight", "segment.weight")}
    shared |= {"encoder.embeddings.norm.weight", "encoder.embeddings.norm.bias"}
    own = {name for name in learned["mlm"] if name.startswith("generator.")}
    assert learned["mlm"] == shared | own
    assert "generator.encoder.blocks.1.attention.qkv.weight" in own and "generator.head.token_logits.bias" in own
    assert not any(name.startswith("generator.") for name in learned["detection"])
    assert learned["mlm"] | learned["detection"] == {name for name, _ in build_model(TASK).named_parameters()}
    assert learned["mlm"] & learned["detection"] == shared


def test_a_right_piece_counts_as_the_texts_own(tiny_tokenizer: Any) -> None:
    instances = instances_of(tiny_tokenizer, 30)
    batch = TASK.encode(instances, tiny_tokenizer, instances.keys)
    slots, drawn = batch.targets["slot.position"], batch.targets["slot.token"].clone()
    drawn[::2] += 1
    scores = torch.randn(batch.num_tokens, generator=torch.Generator().manual_seed(0))
    guesses = Logits(torch.zeros(len(slots), 1), torch.zeros(99, 1), torch.zeros(99))
    loss = TASK.loss(ReplacedTokenOutputs(guesses, drawn, scores), batch)
    gold = torch.zeros(batch.num_tokens)
    gold[slots[::2]] = 1.0
    assert loss.terms["detection"].weight == 50.0 and loss.terms["mlm"].weight == 1.0
    assert loss.terms["detection"].count == batch.num_tokens
    torch.testing.assert_close(
        loss.terms["detection"].sum, binary_cross_entropy_with_logits(scores, gold, reduction="sum")
    )
    found, there = loss.figures["detection_recall"]
    assert there == gold.sum() and found == (scores[gold == 1] > 0).sum()
    right, total = loss.figures["detection_accuracy"]
    assert total == batch.num_tokens and right == ((scores > 0) == gold.bool()).sum()


def test_the_discriminator_sees_the_drawn_pieces(build_model: Build, tiny_tokenizer: Any) -> None:
    instances = instances_of(tiny_tokenizer, 8)
    model, batch = build_model(TASK).eval(), TASK.encode(instances, tiny_tokenizer, instances.keys)
    assert isinstance(model, ReplacedTokenModel)
    outputs = model(batch)
    filled = instances.tokens.copy()
    filled[batch.targets["slot.position"].numpy()] = outputs.drawn.numpy()
    seen = TaskModel(model.encoder, model.head).eval()
    plain = Instances(filled, instances.segments, instances.offsets, instances.labels, instances.keys)
    again = MaskedLM(max_length=64).encode(plain, tiny_tokenizer)
    torch.testing.assert_close(seen(again), outputs.scores)
    assert torch.equal(model(batch).drawn, outputs.drawn)


def test_dropout_of_both_networks_differs(build_model: Build, tiny_tokenizer: Any) -> None:
    model = build_model(ReplacedToken(max_length=64, generator_share=1.0), dropout=0.5).train()
    instances = instances_of(tiny_tokenizer, 8)
    batch, seen = TASK.encode(instances, tiny_tokenizer, instances.keys), []
    for part in (model.encoder, model.generator.encoder):  # type: ignore[union-attr]
        part.embeddings.dropout.register_forward_hook(  # type: ignore[union-attr]
            lambda module, inputs, output: seen.append(output == 0.0)
        )
    model(batch)
    assert not torch.equal(*seen) and all(0.4 < float(zeros.float().mean()) < 0.6 for zeros in seen)


def test_what_a_discriminator_says(build_model: Build, tiny_tokenizer: Any) -> None:
    model: Any = build_model(TASK)
    bundle = Bundle(model, TASK, tiny_tokenizer, model.encoder.config, "electra")
    found, empty = Predictor(bundle, device="cpu").predict(["The cat sat.", ""])
    assert [piece.token for piece in found.pieces] == ["the", "cat", "sat", "."] and empty.pieces == ()
    assert all(0.0 < piece.replaced < 1.0 for piece in found.pieces)
    assert record("The cat sat.", found)["pieces"][1] == {"token": "cat", "replaced": found.pieces[1].replaced}
    lines = show(["The cat sat.", ""], [found, empty], 80).splitlines()
    assert lines[0] == "The cat sat." and lines[2].startswith(f"  cat  {found.pieces[1].replaced:.4f}")


def test_wrong_wishes(build_model: Build, tiny_tokenizer: Any) -> None:
    for name, value in {"generator_share": 1.5, "temperature": 0.0, "detection_weight": 0.0, "mask_rate": 0.0}.items():
        with pytest.raises(SettingsError, match=f"{name} must be above 0"):
            ReplacedToken(**{name: value})  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="bert has none"):
        TASK.head(BertConfig(9, hidden_size=8, num_layers=1, num_heads=1, intermediate_size=8).build())
    model, batch = build_model(TASK), TASK.encode(["the cat"], tiny_tokenizer)
    with pytest.raises(SettingsError, match="a discriminator alone"):
        TASK.loss(model(batch), batch)


def test_the_mask_rate_may_fall() -> None:
    falling = ReplacedToken(mask_rate=0.3, mask_rate_end=0.1, across_documents=True)
    assert falling.at(0.5) == ReplacedToken(mask_rate=0.2, across_documents=True)
    assert falling.corpus_plan() == "full" and TASK.corpus_plan() == "texts" and TASK.at(0.5) == TASK
