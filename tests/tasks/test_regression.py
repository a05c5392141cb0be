"""Regression: numbers learned on a standardised scale and stored on the table's own, windows, correlations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bertie.errors import DataError
from bertie.tasks.regression import Regression
from bertie.tasks.task import TaskModel, Text

ITEMS = [Text("cat", label="1000"), Text("dog", "fish", label="1400"), Text("bird", label="1800.0")]


def test_scale_and_center_come_from_the_table() -> None:
    learned = Regression.learn(ITEMS, {})
    assert learned == {"center": 1400.0, "spread": 256.0, "activation": "none"}  # the deviation is 327
    with pytest.raises(DataError, match="every row has the label 3"):
        Regression.learn([Text("a", label="3"), Text("b", label="3.0")], {})
    with pytest.raises(DataError, match="line 7 has label 'high'; regression needs numbers"):
        Regression.learn([Text("a", label="high", line=7)], {})
    with pytest.raises(DataError, match="label 'nan'"):
        Regression.learn([Text("a", label="nan")], {})


def test_stored_weights_give_the_numbers_of_the_table(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any
) -> None:
    task = Regression(center=1400.0, spread=256.0)
    model = build_model(task).eval()
    batch = task.encode(ITEMS, tiny_tokenizer)
    with torch.no_grad():
        outputs = model(batch)
        pooled = model.head.pooler(model.encoder(batch), batch)
    state = model.state_dict()
    plain = torch.nn.functional.linear(pooled, state["head.classifier.weight"], state["head.classifier.bias"])
    torch.testing.assert_close(plain.squeeze(1), outputs, rtol=1e-6, atol=0)
    assert abs(float(outputs.mean()) - 1400) < 256  # a new head begins near the center
    other = build_model(task, seed=1)
    other.load_state_dict(state)
    with torch.no_grad():
        torch.testing.assert_close(other.eval()(batch), outputs, rtol=1e-6, atol=0)


def test_loss_decode_and_score(tiny_tokenizer: Any) -> None:
    task = Regression(center=1400.0, spread=256.0)
    batch = task.encode(ITEMS, tiny_tokenizer)
    outputs = torch.tensor([1100.0, 1400.0, 1700.0])
    assert float(task.loss(outputs, batch).terms["regression"].sum) == pytest.approx(2 * (100 / 256) ** 2)
    estimates = task.decode(outputs, batch, ITEMS, tiny_tokenizer)
    scores = task.score(estimates, ITEMS)
    assert scores["pearson"] == pytest.approx(1.0) and scores["spearman"] == pytest.approx(1.0)
    assert scores["mean_squared_error"] == pytest.approx(2 * 100**2 / 3)
    assert task.judge(estimates[1], ITEMS[1]).credit == 1.0 > task.judge(estimates[0], ITEMS[0]).credit
