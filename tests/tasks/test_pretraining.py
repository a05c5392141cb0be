"""Pre-training arranges its two halves: their targets, their losses, their settings; nothing of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bertie.sampling.instances import Instances
from bertie.sampling.random import stream
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.task import TaskModel

FIRST, SECOND = ["the cat sat", "a dog ran in the city", "good"], ["it ate fish .", "the river", "bad bird"]
TASK = Pretraining(max_length=32, mask_rate=0.3, max_masked=3, top_k=2)


def instances(tokenizer: Any) -> Instances:
    pieces = tokenizer.pack(FIRST, SECOND, max_length=32)
    return Instances(pieces.tokens, pieces.segments, pieces.offsets, np.array([0, 1, 1]), stream(4, np.arange(3)))


def test_both_halves_on_one_pass(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    drawn = instances(tiny_tokenizer)
    batch = TASK.encode(drawn, tiny_tokenizer, drawn.keys)
    assert batch.targets["sequence.label"].tolist() == [0, 1, 1]
    outputs = build_model(TASK)(batch)
    loss = TASK.loss(outputs, batch)
    masked = TASK.masked_lm.loss(outputs.tokens, batch)
    following = TASK.next_sentence.loss(outputs.next_sentence, batch)
    assert set(loss.terms) == {"mlm", "nsp"} and set(loss.figures) == {
        "mlm_accuracy",
        "nsp_accuracy",
        "mask_loss",
        "mask_accuracy",
    }
    assert all(term.weight == 1.0 for term in loss.terms.values())
    expected = masked.total({"mlm": 5}) + following.total({"nsp": 2})
    torch.testing.assert_close(loss.total({"mlm": 5, "nsp": 2}), expected)


def test_settings_reach_the_halves() -> None:
    half = TASK.masked_lm
    assert (half.max_length, half.mask_rate, half.max_masked, half.top_k) == (32, 0.3, 3, 2)
    assert TASK.next_sentence.max_length == 32 and half.truncation == TASK.next_sentence.truncation == "error"


def test_plain_texts_have_the_first_half_only(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    batch = TASK.encode(FIRST, tiny_tokenizer, stream(1, np.arange(3)))
    assert set(TASK.loss(build_model(TASK)(batch), batch).terms) == {"mlm"} == set(TASK.counts(batch))


def test_using_it_fills_masks(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    batch = TASK.encode(["the [MASK] sat"], tiny_tokenizer)
    with torch.inference_mode():
        (guesses,) = TASK.decode(build_model(TASK)(batch), batch, ["the [MASK] sat"], tiny_tokenizer)
    assert len(guesses) == 2 and guesses[0].score >= guesses[1].score
    assert TASK.score([guesses], ["the [MASK] sat"]) == {}
