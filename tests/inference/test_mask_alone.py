"""A dev corpus with every chosen token hidden: loss, accuracy, and the cosine that tells a collapse."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bertie.batch import Batch
from bertie.inference.mask_alone import hide, measure_masks
from bertie.nn.logits import Logits
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream
from bertie.tasks.hybrid import Hybrid
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.task import TaskModel

WORDS = ["cat", "the old dog sat", "good", "not very good .", "a film", "bird in the house by the river"]
CPU = torch.device("cpu")


def drawn(tokenizer: Any) -> Instances:
    pieces = tokenizer.pack(WORDS, WORDS[::-1], max_length=32)
    labels, keys = np.array([0, 1, 1, 0, 1, 0]), stream(1, np.arange(6))
    return Instances(pieces.tokens, pieces.segments, pieces.offsets, labels, keys)


class Constant(nn.Module):
    """Says the same of every place, whatever stands there: the token `best`."""

    def __init__(self, size: int, best: int) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.full((8,), 2.0))
        self.weight = torch.zeros(size, 8)
        self.bias = torch.zeros(size).index_fill(0, torch.tensor([best]), 1.0)

    def forward(self, batch: Batch) -> Logits:
        count = len(batch.targets["slot.position"])
        return Logits(self.hidden.detach().expand(count, 8), self.weight, self.bias)


def test_one_answer_for_all_has_cosine_one_and_the_accuracy_of_that_token(tiny_tokenizer: Any) -> None:
    task, items = MaskedLM(mask_rate=0.4), drawn(tiny_tokenizer)
    batch = hide(task.encode(items, tiny_tokenizer, items.keys), tiny_tokenizer.mask)
    gold = batch.targets["slot.token"]
    size, best = tiny_tokenizer.vocab_size, int(gold.mode().values)
    found = measure_masks(Constant(size, best), batch.split(12), device=CPU)
    share = float((gold == best).double().mean())
    assert found["mask_cosine"] == pytest.approx(1.0, abs=1e-6)
    assert found["mask_accuracy"] == pytest.approx(share)
    assert found["mask_loss"] == pytest.approx(np.log(size - 1 + np.e) - share)


@pytest.mark.parametrize("task", [MaskedLM(mask_rate=0.4), Pretraining(mask_rate=0.4), Hybrid(causal_rate=0.0)])
def test_every_chosen_token_is_hidden_at_the_places_of_the_objective(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, task: Any
) -> None:
    items, model = drawn(tiny_tokenizer), build_model(task, dropout=0.3).train()
    batch = task.encode(items, tiny_tokenizer, items.keys)
    alone = hide(batch, tiny_tokenizer.mask)
    slots = batch.targets["slot.position"]
    assert (alone.tokens[slots] == tiny_tokenizer.mask).all() and torch.equal(alone.targets["slot.position"], slots)
    assert (batch.tokens != tiny_tokenizer.mask)[slots].any()  # of the objective's own some are shown
    found = measure_masks(model, alone.split(20), device=CPU)
    assert model.training  # as it was
    model.eval()
    outputs = model(alone)
    logits = outputs if isinstance(outputs, Logits) else outputs.tokens
    scores = logits.materialise().detach()
    loss = torch.nn.functional.cross_entropy(scores, alone.targets["slot.token"])
    assert found["mask_loss"] == pytest.approx(float(loss), abs=1e-5)
    assert found["mask_accuracy"] == pytest.approx(
        float((scores.argmax(1) == alone.targets["slot.token"]).sum()) / len(slots)
    )
    vectors = logits.hidden.detach().double()
    cosines = [float(torch.cosine_similarity(one, other, dim=0)) for one, other in combinations(vectors, 2)]
    assert found["mask_cosine"] == pytest.approx(np.mean(cosines), abs=1e-5)


def test_kept_and_random_tokens_are_apart_in_the_objectives_own_figures(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any
) -> None:
    task, items = MaskedLM(mask_rate=1.0), drawn(tiny_tokenizer)
    batch = task.encode(items, tiny_tokenizer, items.keys)
    outputs = build_model(task).eval()(batch)
    hidden = batch.tokens[batch.targets["slot.position"]] == tiny_tokenizer.mask
    assert torch.equal(batch.targets["slot.as_mask"], hidden) and 0 < int(hidden.sum()) < len(hidden)
    figures = task.loss(outputs, batch).figures
    scores, gold = outputs.materialise().detach()[hidden], batch.targets["slot.token"][hidden]
    assert float(figures["mask_loss"][1]) == float(figures["mask_accuracy"][1]) == int(hidden.sum())
    expected = torch.nn.functional.cross_entropy(scores, gold, reduction="sum")
    torch.testing.assert_close(figures["mask_loss"][0], expected)
    assert float(figures["mask_accuracy"][0]) == float((scores.argmax(1) == gold).sum())


def test_figures_of_masks_are_left_out_where_none_is_shown(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any
) -> None:
    from bertie.inference.evaluate import evaluate_batches

    task, items = MaskedLM(), drawn(tiny_tokenizer)
    batch = task.encode(items, tiny_tokenizer, items.keys)
    batch.targets["slot.as_mask"] = torch.zeros(len(batch.targets["slot.token"]), dtype=torch.bool)
    assert evaluate_batches(build_model(task), task, [batch]).keys() == {"loss", "mlm_accuracy"}


def test_texts_of_special_tokens_alone_have_no_such_figures(tiny_tokenizer: Any) -> None:
    tokens = [tiny_tokenizer.start, tiny_tokenizer.separator]
    targets = {"slot.position": np.zeros(0, np.int64), "slot.token": np.zeros(0, np.int64)}
    batch = hide(Batch.pack(tokens, [0, 0], [0, 2], targets=targets), tiny_tokenizer.mask)
    assert measure_masks(Constant(tiny_tokenizer.vocab_size, 7), [batch], device=CPU) == {}
