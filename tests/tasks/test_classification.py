"""Classification: labels as strings, pairs, cut texts, verdicts and scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bertie.errors import DataError
from bertie.tasks.classification import Classification
from bertie.tasks.task import TaskModel, Text

TASK = Classification(labels=("bad", "good", "so so"), max_length=8)


def test_labels_become_numbers_when_every_item_has_one(tiny_tokenizer: Any) -> None:
    items = [Text("cat", label="good"), Text("dog", label="bad"), Text("fish", "bird", "so so")]
    assert TASK.encode(items, tiny_tokenizer).targets["sequence.label"].tolist() == [1, 0, 2]
    assert "sequence.label" not in TASK.encode([*items, "bare"], tiny_tokenizer).targets


def test_an_unknown_label_is_named_with_its_text(tiny_tokenizer: Any) -> None:
    with pytest.raises(DataError, match="text 2 has label 'great'; the model knows bad, good, so so"):
        TASK.encode([Text("cat", label="good"), Text("dog", label="great")], tiny_tokenizer)


def test_cut_texts_are_counted(tiny_tokenizer: Any) -> None:
    batch = TASK.encode(["the cat", "the cat ! the dog ! the bird", ("the cat sat in it", "a dog")], tiny_tokenizer)
    assert batch.targets["sequence.cut"].tolist() == [0, 2, 2]
    assert batch.lengths.tolist() == [4, 8, 8]


def test_decode_and_score(tiny_tokenizer: Any) -> None:
    items = [Text("cat", label="good"), Text("dog", label="bad"), Text("fish", label="bad")]
    batch = TASK.encode(items, tiny_tokenizer)
    outputs = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    verdicts = TASK.decode(outputs, batch, items, tiny_tokenizer)
    assert [verdict.label for verdict in verdicts] == ["good", "bad", "so so"]
    for verdict, row in zip(verdicts, outputs.softmax(1), strict=True):
        assert list(verdict.scores) == ["bad", "good", "so so"]
        assert list(verdict.scores.values()) == pytest.approx(row.tolist())
        assert verdict.score == max(verdict.scores.values())
    scores = TASK.score(verdicts, items)
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["macro_f1"] == pytest.approx((1.0 + 2 / 3 + 0.0) / 3)
    loss = TASK.loss(outputs, batch)
    assert [float(value) for value in loss.figures["accuracy"]] == [2.0, 3.0]


def test_dropout_stands_between_pooler_and_classifier(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any
) -> None:
    model = build_model(TASK, dropout=0.5)
    batch = TASK.encode(["cat", "dog"], tiny_tokenizer)
    hidden = model.encoder.eval()(batch)
    head = model.head
    with torch.no_grad():
        plain = head.eval()(hidden, batch, None)
        dropped = torch.stack([head.train()(hidden, batch, None) for _ in range(2000)])
    assert dropped[0].ne(dropped[1]).any()
    torch.testing.assert_close(dropped.mean(0), plain, rtol=0, atol=0.05)
