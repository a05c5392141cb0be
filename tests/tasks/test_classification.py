"""Classification: labels as strings, pairs, cut texts, verdicts and scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.tasks.classification import Classification
from bertie.tasks.task import TaskModel, Text

TASK = Classification(labels=("bad", "good", "so so"), max_length=8)


def test_labels_become_numbers_when_every_item_has_one(tiny_tokenizer: Any) -> None:
    items = [Text("cat", label="good"), Text("dog", label="bad"), Text("fish", "bird", "so so")]
    assert TASK.encode(items, tiny_tokenizer).targets["item.label"].tolist() == [1, 0, 2]
    assert "item.label" not in TASK.encode([*items, "bare"], tiny_tokenizer).targets


def test_a_label_that_training_did_not_show_is_a_mistake(tiny_tokenizer: Any) -> None:
    items = [Text("cat", label="good", line=1), Text("dog", label="great", line=2), Text("fish", label="bad", line=3)]
    with progress.collected() as said:
        TASK.check_items(items, Path("dev.tsv"))
    (warning,) = said
    assert "dev.tsv:2: the label 'great' (1 times) is unknown to the model" in warning
    batch = TASK.encode(items, tiny_tokenizer)
    assert batch.targets["item.label"].tolist() == [1, -1, 0]
    outputs = torch.tensor([[0.0, 2.0, 0.0], [0.0, 3.0, 0.0], [1.0, 0.0, 0.0]])
    loss = TASK.loss(outputs, batch)
    known = torch.nn.functional.cross_entropy(outputs[[0, 2]], torch.tensor([1, 0]))
    assert float(loss.total(TASK.counts(batch))) == pytest.approx(float(known))
    right, count = loss.figures["accuracy"]
    assert (int(right), count) == (2, 3.0)
    verdicts = TASK.decode(outputs, batch, items, tiny_tokenizer)
    assert TASK.score(verdicts, items)["accuracy"] == pytest.approx(2 / 3)
    assert TASK.per_class(verdicts, items)["great"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}
    assert [TASK.judge(verdict, item).credit for verdict, item in zip(verdicts, items, strict=True)] == [1.0, 0.0, 1.0]
    weighed = TASK.adjusted({"class_weights": (1.0, 2.0, 1.0)})
    assert weighed.counts(batch) == {"classification": 3.0}
    with pytest.raises(DataError, match="knows no label of this table"):
        TASK.check_items([Text("dog", label="great")], Path("dev.tsv"))


def test_one_of_several_labels_that_training_did_not_show(tiny_tokenizer: Any) -> None:
    task = TASK.adjusted({"multi_label": True})
    items = [Text("cat", label=("good", "new")), Text("dog", label=("bad",))]
    batch = task.encode(items, tiny_tokenizer)
    assert batch.targets["item.label"].tolist() == [[0, 1, 0], [1, 0, 0]]
    verdicts = task.decode(torch.tensor([[-9.0, 9.0, -9.0], [9.0, -9.0, -9.0]]), batch, items, tiny_tokenizer)
    scores = task.score(verdicts, items)
    assert (scores["micro_f1"], scores["accuracy"]) == (pytest.approx(4 / 5), 0.5)
    assert task.per_class(verdicts, items)["new"]["support"] == 1
    assert task.judge(verdicts[0], items[0]).credit == 0.0
    assert 0.0 < task.tune(verdicts, items)["threshold"] < 1.0


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


def test_windows_of_a_text_share_one_verdict(tiny_tokenizer: Any) -> None:
    task = Classification(labels=("bad", "good"), max_length=8, truncation="window", stride=3)
    items = [Text("cat", label="good"), Text("the cat ran in the city by the river", label="bad")]
    batch = task.encode(items, tiny_tokenizer)
    assert batch.rows.tolist() == [0, *[1] * (len(batch) - 1)] and len(batch) > 3
    outputs = torch.randn(len(batch), 2, generator=torch.Generator().manual_seed(0))
    verdict = task.decode(outputs, batch, items, tiny_tokenizer)[1]
    assert verdict.scores["good"] == pytest.approx(float(outputs[1:].mean(0).softmax(0)[1]))
    loss = task.loss(outputs, batch).terms["classification"]
    expected = torch.nn.functional.cross_entropy(
        torch.stack([outputs[0], outputs[1:].mean(0)]), torch.tensor([1, 0]), reduction="sum"
    )
    assert float(loss.sum) == pytest.approx(float(expected)) and loss.count == 2.0
    few = Classification(labels=("bad", "good"), max_length=8, truncation="window", max_windows=2)
    assert few.encode(items, tiny_tokenizer).targets["sequence.cut"].tolist() == [0, 1, 0]


def test_several_labels_at_once(tiny_tokenizer: Any) -> None:
    items = [Text("cat", label="red, big"), Text("dog", label=""), Text("fish", label=("blue",))]
    settings = {"multi_label": True}
    assert Classification.learn([items[0], items[2]], settings) == {"labels": ("big", "blue", "red"), **settings}
    task = Classification(labels=("big", "blue", "red"), multi_label=True, threshold=0.6)
    batch = task.encode(items, tiny_tokenizer)
    assert batch.targets["item.label"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    outputs = torch.tensor([[2.0, -2.0, 0.3], [-3.0, -3.0, -3.0], [-1.0, 3.0, 1.0]])
    verdicts = task.decode(outputs, batch, items, tiny_tokenizer)
    assert [verdict.label for verdict in verdicts] == ["big", "", "blue, red"]
    scores = task.score(verdicts, items)
    assert scores["micro_f1"] == pytest.approx(2 * 2 / (3 + 3)) and scores["accuracy"] == pytest.approx(1 / 3)
    tuned = task.tune(verdicts, items)["threshold"]
    assert 0.2689 < tuned < 0.5745  # 0.3 is worth taking too: micro F1 6/7 instead of 4/5
    moved = task.adjusted({"threshold": tuned})
    assert moved.redecode(verdicts) == moved.decode(outputs, batch, items, tiny_tokenizer)
    assert moved.redecode(verdicts)[0].label == "big, red"
    assert float(task.loss(outputs, batch).terms["classification"].sum) == pytest.approx(
        float(torch.nn.functional.binary_cross_entropy_with_logits(outputs, batch.targets["item.label"])) * 3
    )
    assert task.judge(verdicts[2], items[2]).credit == 0.0
    assert Classification.learn(items[2:], {})["multi_label"] is True  # labels in a list may be several
    with pytest.raises(SettingsError, match="no row has a label"):
        Classification.learn([Text("dog", label=())], {})
    one = Classification(labels=("blue", "red"))
    with pytest.raises(DataError, match="the label 'blue, red'"):
        one.check_items([Text("fish", label=("blue", "red"), line=4)], Path("dev.jsonl"))
    assert task.per_class(verdicts, items)["red"]["support"] == 1.0


def test_labels_by_the_users_word() -> None:
    items = [Text("cat", label="good"), Text("dog", label="bad")]
    assert Classification.learn(items, {"labels": ["good", "bad", "never"]})["labels"] == ("good", "bad", "never")
    with pytest.raises(DataError, match="the label 'bad' is not among those of --settings, which are good, fair"):
        Classification.learn(items, {"labels": ["good", "fair"]})


def test_classes_are_weighed_and_targets_smoothed(tiny_tokenizer: Any) -> None:
    items = [Text("cat", label="a"), Text("dog", label="a"), Text("fish", label="a"), Text("bird", label="b")]
    learned = Classification.learn(items, {"class_weights": "balanced"})
    assert learned["class_weights"] == pytest.approx((4 / 6, 2.0))
    task = Classification(**learned, label_smoothing=0.1)
    batch = task.encode(items, tiny_tokenizer)
    outputs = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    loss = task.loss(outputs, batch)
    assert float(loss.total(task.counts(batch))) == pytest.approx(
        float(
            torch.nn.functional.cross_entropy(
                outputs, torch.tensor([0, 0, 0, 1]), torch.tensor(learned["class_weights"]), label_smoothing=0.1
            )
        )
    )
    with pytest.raises(SettingsError, match="one number for each of 2 labels"):
        Classification(labels=("a", "b"), class_weights=(1.0,))


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
