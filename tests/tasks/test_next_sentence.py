"""Next sentence prediction: labels in both spellings, pairs only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bertie.errors import DataError
from bertie.tasks.next_sentence import Follows, NextSentence
from bertie.tasks.task import Text

TASK = NextSentence(max_length=32)


def test_labels_may_be_names_or_numbers(tiny_tokenizer: Any) -> None:
    items = [Text("a", "b", label) for label in ("is_next", "random", "0", "1")]
    assert TASK.encode(items, tiny_tokenizer).targets["sequence.label"].tolist() == [0, 1, 0, 1]
    with pytest.raises(DataError, match=r"text 2 has label 'maybe'; a next_sentence label is is_next .0. or random"):
        TASK.encode([items[0], Text("a", "b", "maybe")], tiny_tokenizer)


def test_single_texts_are_refused(tiny_tokenizer: Any) -> None:
    with pytest.raises(DataError, match="text 1 has no second text"):
        TASK.encode(["alone"], tiny_tokenizer)
    with pytest.raises(DataError, match="text 2 has no second text"):
        TASK.encode([("one", "two"), "alone"], tiny_tokenizer)


def test_decode_and_score(tiny_tokenizer: Any) -> None:
    items = [Text("a", "b", "0"), Text("c", "d", "random"), Text("e", "f", "is_next")]
    batch = TASK.encode(items, tiny_tokenizer)
    outputs = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 1.0]])
    decoded = TASK.decode(outputs, batch, items, tiny_tokenizer)
    assert [guess.label for guess in decoded] == ["is_next", "random", "random"]
    likelier = pytest.approx(0.880797, abs=1e-5)
    assert decoded[0] == Follows(
        "is_next", likelier, {"is_next": likelier, "random": pytest.approx(0.119203, abs=1e-5)}
    )
    assert TASK.score(decoded, items) == {"accuracy": pytest.approx(2 / 3)}
    loss = TASK.loss(outputs, batch)
    expected = torch.nn.functional.cross_entropy(outputs, torch.tensor([0, 1, 0]), reduction="sum")
    assert float(loss.terms["nsp"].sum) == pytest.approx(float(expected))
    assert [float(value) for value in loss.figures["nsp_accuracy"]] == [2.0, 3.0]


def test_judgements_and_figures_of_both_labels(tiny_tokenizer: Any) -> None:
    items = [Text("a", "b", "0"), Text("c", "d", "random"), Text("e", "f", "is_next")]
    outputs = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 1.0]])
    found = TASK.decode(outputs, TASK.encode(items, tiny_tokenizer), items, tiny_tokenizer)
    judged = [TASK.judge(*both) for both in zip(found, items, strict=True)]
    assert [(one.gold, one.guess, one.credit) for one in judged] == [
        ("is_next", "is_next", 1.0),
        ("random", "random", 1.0),
        ("is_next", "random", 0.0),
    ]
    classes = TASK.per_class(found, items)
    assert classes["is_next"] == {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "support": 2.0}
    assert classes["random"]["precision"] == 0.5


def test_a_table_of_other_labels_is_refused_by_its_line() -> None:
    TASK.check_items([Text("a", "b", "1", 2)], Path("dev.tsv"))
    with pytest.raises(DataError, match=r"dev.tsv:3: has label 'yes'; a next_sentence label is"):
        TASK.check_items([Text("a", "b", "1", 2), Text("a", "b", "yes", 3)], Path("dev.tsv"))
