"""Features: the encoder's own vectors, cut into items; nothing to learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bertie.errors import SettingsError
from bertie.tasks.features import FeaturesTask
from bertie.tasks.task import TaskModel

ITEMS = ["the cat sat", "", ("good", "bad dog")]


@pytest.mark.parametrize("pooler", [True, False])
def test_vectors_of_every_item(build_model: Callable[..., TaskModel], tiny_tokenizer: Any, pooler: bool) -> None:
    task = FeaturesTask(pooler=pooler)
    model, batch = build_model(task).eval(), task.encode(ITEMS, tiny_tokenizer)
    with torch.inference_mode():
        found = task.decode(model(batch), batch, ITEMS, tiny_tokenizer)
        hidden = model.encoder(batch).numpy()
    assert [features.tokens for features in found] == [
        ["[CLS]", "the", "cat", "sat", "[SEP]"],
        ["[CLS]", "[SEP]"],
        ["[CLS]", "good", "[SEP]", "bad", "dog", "[SEP]"],
    ]
    assert np.array_equal(np.concatenate([features.hidden for features in found]), hidden)
    for features in found:
        assert features.hidden.dtype == np.float32
        assert (features.pooled is not None) == pooler
        assert features.pooled is None or features.pooled.shape == (32,)


def test_vectors_are_copies(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    """A view would keep the vectors of the whole batch alive."""
    task = FeaturesTask()
    batch = task.encode(ITEMS, tiny_tokenizer)
    with torch.inference_mode():
        found = task.decode(build_model(task)(batch), batch, ITEMS, tiny_tokenizer)
    assert all(features.hidden.base is None for features in found)


def test_nothing_to_learn(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    task = FeaturesTask()
    batch = task.encode(ITEMS, tiny_tokenizer)
    for verb in (lambda: task.counts(batch), lambda: task.loss(build_model(task)(batch), batch)):
        with pytest.raises(SettingsError, match="can't be trained or evaluated"):
            verb()
    assert task.score([], []) == {}
