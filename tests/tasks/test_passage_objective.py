"""Passages beside masked LM: which sequences are pairs, what their loss is, and that it draws means together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from bertie.errors import SettingsError
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.passages import Passages
from bertie.tasks.task import TaskModel

TEXTS = ["the cat sat", "it ate fish .", "a dog ran in the city", "good fish", "bad bird", "the bird ate"]
TASK = Passages(max_length=32, mask_rate=0.3)


def drawn(tokenizer: Any, documents: list[int]) -> Instances:
    pieces = tokenizer.pack(TEXTS[: len(documents)], max_length=32)
    none, keys = np.full(len(documents), -1), stream(4, np.arange(len(documents)))
    return Instances(pieces.tokens, pieces.segments, pieces.offsets, none, keys, documents=np.array(documents))


@pytest.mark.parametrize(
    ("documents", "firsts"),
    [
        ([7, 7, 3, 3, 5], [0, 2]),
        ([7, 3, 3, 5, 5, 1], [1, 3]),  # the batch begins within a pair
        ([7, 7, 7, 7, 2, 2], [0, 2, 4]),  # two pairs of a document meet
        ([1, 2, 3], []),
        ([4], []),
    ],
)
def test_pairs_and_their_loss(
    documents: list[int], firsts: list[int], build_model: Callable[..., TaskModel], tiny_tokenizer: Any
) -> None:
    instances = drawn(tiny_tokenizer, documents)
    batch, model = TASK.encode(instances, tiny_tokenizer, instances.keys), build_model(TASK).eval()
    counts = TASK.counts(batch)
    assert counts["passages"] == len(firsts)
    outputs = model(batch)
    loss = TASK.loss(outputs, batch)
    hidden = model.encoder(batch, None)
    means = [hidden[start:end].mean(0) for start, end in zip(batch.offsets[:-1], batch.offsets[1:], strict=True)]
    unit = normalize(torch.stack(means), dim=1).double()
    expected = torch.zeros((), dtype=torch.float64)
    for first in firsts:  # the softmax over the partners of other documents and one's own, to and fro
        others = [other for other in firsts if other == first or documents[other] != documents[first]]
        own = others.index(first)
        for rows, columns in ((0, 1), (1, 0)):
            scores = torch.stack([20.0 * unit[first + rows] @ unit[other + columns] for other in others])
            expected = expected - scores.log_softmax(0)[own] / 2
    torch.testing.assert_close(loss.terms["passages"].sum.double(), expected, atol=1e-4, rtol=1e-4)
    masked = MaskedLM(max_length=32, mask_rate=0.3).loss(outputs.tokens, batch)
    assert torch.equal(loss.terms["mlm"].sum, masked.terms["mlm"].sum)
    total = loss.total(counts)
    total.backward()
    assert torch.isfinite(total) and model.encoder.blocks[0].attention.output.weight.grad.abs().sum() > 0


def test_texts_have_masks_only(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    batch = TASK.encode(TEXTS, tiny_tokenizer, stream(1, np.arange(len(TEXTS))))
    assert set(TASK.loss(build_model(TASK)(batch), batch).terms) == {"mlm"} == set(TASK.counts(batch))
    asked = TASK.encode(["the [MASK] sat"], tiny_tokenizer)
    with torch.inference_mode():
        (guesses,) = TASK.decode(build_model(TASK)(asked), asked, ["the [MASK] sat"], tiny_tokenizer)
    assert len(guesses) == TASK.top_k


def test_means_of_one_document_come_together(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    instances = drawn(tiny_tokenizer, [1, 1, 2, 2, 3, 3])
    task = replace(TASK, contrast=10.0)
    batch, model = task.encode(instances, tiny_tokenizer, instances.keys), build_model(task).eval()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    right = []
    for _ in range(40):
        loss = task.loss(model(batch), batch)
        right.append(float(loss.figures["passage_accuracy"][0]))
        optimizer.zero_grad()
        loss.total(task.counts(batch)).backward()
        optimizer.step()
    assert right[0] < 3.0 == right[-1]


def test_settings() -> None:
    with pytest.raises(SettingsError, match="contrast must be above 0"):
        Passages(contrast=0.0)
    with pytest.raises(SettingsError, match="mask_rate"):
        Passages(mask_rate=2.0)
