"""Multiple choice: how items become sequences, one softmax an item, windows, bad items, learning."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from bertie.errors import DataError
from bertie.formats.format import Bundle
from bertie.inference.evaluate import evaluate
from bertie.inference.predictor import Predictor
from bertie.items.choice import Choice
from bertie.tasks.multiple_choice import Chosen, MultipleChoice
from bertie.tasks.task import TaskModel

TASK = MultipleChoice(max_length=24)
ITEMS = [
    Choice("the cat sat", ("in the house .", "in it"), "1"),
    Choice("the dog", ("ran", "ate two birds", "is not blue", "北京"), "3", lead="it"),
    Choice("", ("good", "bad", "not bad"), "0"),
]


def pieces_of(batch: Any, tokenizer: Any) -> list[str]:
    edges = batch.offsets.tolist()
    ids = batch.tokens.tolist()
    return [" ".join(tokenizer.tokens[token] for token in ids[a:b]) for a, b in pairwise(edges)]


def test_every_choice_is_a_sequence(tiny_tokenizer: Any) -> None:
    batch = TASK.encode(ITEMS, tiny_tokenizer)
    found = pieces_of(batch, tiny_tokenizer)
    assert found[0] == "[CLS] the cat sat [SEP] in the house . [SEP]"
    assert found[2] == "[CLS] the dog [SEP] it ran [SEP]" and found[5] == "[CLS] the dog [SEP] it 北 京 [SEP]"
    assert found[6] == "[CLS] [SEP] good [SEP]"
    assert batch.rows.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert batch.targets["sequence.choice"].tolist() == [0, 1, 0, 1, 2, 3, 0, 1, 2]
    assert batch.targets["item.label"].tolist() == [1, 3, 0]
    assert batch.segments.tolist()[:10] == [0] * 5 + [1] * 5
    assert "item.label" not in TASK.encode([*ITEMS, Choice("a", ("b", "c"))], tiny_tokenizer).targets


def test_items_are_never_parted(tiny_tokenizer: Any) -> None:
    parts = TASK.encode(ITEMS, tiny_tokenizer).split(1)
    assert [len(part) for part in parts] == [2, 4, 3]
    assert [part.targets["item.label"].tolist() for part in parts] == [[1], [3], [0]]


def test_the_loss_is_a_softmax_over_the_choices_of_an_item(tiny_tokenizer: Any) -> None:
    batch = TASK.encode(ITEMS, tiny_tokenizer)
    scores = torch.tensor([0.5, 2.0, -1.0, 0.0, 3.0, 1.0, 0.1, 0.2, 0.3], requires_grad=True)
    loss = TASK.loss(scores, batch)
    by_item = [(scores[:2], 1), (scores[2:6], 3), (scores[6:], 0)]
    expected = sum(own.logsumexp(0) - own[gold] for own, gold in by_item)
    assert isinstance(expected, torch.Tensor)
    assert float(loss.terms["multiple_choice"].sum.detach()) == pytest.approx(float(expected.detach()))
    assert loss.terms["multiple_choice"].count == 3.0 == TASK.counts(batch)["multiple_choice"]
    assert [float(value) for value in loss.figures["accuracy"]] == [1.0, 3.0]
    (found,) = torch.autograd.grad(loss.terms["multiple_choice"].sum, scores, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected, scores)
    torch.testing.assert_close(found, wanted)


def test_decode_score_and_judge(tiny_tokenizer: Any) -> None:
    batch = TASK.encode(ITEMS, tiny_tokenizer)
    scores = torch.tensor([0.0, 0.0, -1.0, 0.0, 3.0, 1.0, 0.3, 0.2, 0.1])
    found = TASK.decode(scores, batch, ITEMS, tiny_tokenizer)
    assert found[0] == Chosen("0", "in the house .", 0.5, (0.5, 0.5))
    assert found[1].choice == "is not blue" and found[1].label == "2" and len(found[1].scores) == 4
    assert found[1].scores == pytest.approx(scores[2:6].softmax(0).tolist())
    assert all(sum(one.scores) == pytest.approx(1.0) and one.score == max(one.scores) for one in found)
    assert TASK.score(found, ITEMS) == {"accuracy": pytest.approx(1 / 3)}
    judged = TASK.judge(found[1], ITEMS[1])
    assert (judged.gold, judged.guess, judged.credit) == ("北京", "is not blue", 0.0)
    assert TASK.judge(found[2], ITEMS[2]).credit == 1.0


def test_windows_of_a_long_text_are_averaged(tiny_tokenizer: Any) -> None:
    long = Choice("the old cat sat in the house and the dog ran " * 2, ("it is good", "bad"), "0")
    task = MultipleChoice(max_length=12, truncation="window", stride=4)
    batch = task.encode([ITEMS[0], long], tiny_tokenizer)
    places = batch.targets["sequence.choice"].tolist()
    assert batch.rows.tolist()[:2] == [0, 0] and places[:2] == [0, 1] and len(places) > 6
    assert places[2:] == sorted(places[2:]) and batch.targets["sequence.cut"].tolist() == [0] * len(places)
    assert all(" it is good [SEP]" in text or "[SEP] bad" in text for text in pieces_of(batch, tiny_tokenizer)[2:])
    scores = torch.arange(len(places), dtype=torch.float32)
    means = [scores[2:][torch.tensor(places[2:]) == choice].mean() for choice in (0, 1)]
    (_, found) = task.decode(scores, batch, [ITEMS[0], long], tiny_tokenizer)
    assert found.scores == pytest.approx(torch.stack(means).softmax(0).tolist())


def test_what_is_cut_is_counted_once_an_item(tiny_tokenizer: Any) -> None:
    task = MultipleChoice(max_length=8)
    batch = task.encode([ITEMS[1], Choice("the old cat sat in it", ("a", "the"))], tiny_tokenizer)
    assert batch.targets["sequence.cut"].tolist() == [3, 0, 0, 0, 4, 0]  # 1 and 2 of two choices; 2 of each
    with pytest.raises(DataError, match="tokens, more than 8"):
        MultipleChoice(max_length=8, truncation="error").encode([ITEMS[0]], tiny_tokenizer)


def test_bad_items(tiny_tokenizer: Any) -> None:
    with pytest.raises(DataError, match="text 2 is 'cat'; multiple_choice takes texts with choices"):
        TASK.encode([ITEMS[0], "cat"], tiny_tokenizer)
    with pytest.raises(DataError, match="text 1 has 1 choices; an item needs two or more"):
        TASK.encode([Choice("a", ("b",))], tiny_tokenizer)
    wrong = Choice("a", ("b", "c"), "2", line=5)
    with pytest.raises(DataError, match="text 1 has label '2'; its choices are numbered 0 to 1"):
        TASK.encode([wrong], tiny_tokenizer)
    with pytest.raises(DataError, match=r"dev.jsonl:5: has label '2'"):
        TASK.check_items([ITEMS[0], wrong], Path("dev.jsonl"))


def test_learn_and_evaluate(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    """A tiny model learns that the right choice is the one about the cat."""
    items = [
        Choice(
            text, tuple("the cat ran" if place == right else f"the {other} ran" for place in range(number)), str(right)
        )
        for text in ("it is", "a story of")
        for other in ("dog", "bird")
        for number in (2, 3)
        for right in range(number)
    ]
    model = build_model(TASK, dropout=0.0)
    assert TASK.learn(items, {}) == {}
    batch = TASK.encode(items, tiny_tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(25):
        loss = TASK.loss(model(batch), batch).total(TASK.counts(batch))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    found = evaluate(model, TASK, items, tiny_tokenizer)
    assert found.scores["accuracy"] == 1.0 and found.loss is not None and found.loss < 0.3
    predictor = Predictor(Bundle(model, TASK, tiny_tokenizer, model.encoder.config), device="cpu")
    single = predictor.predict(Choice("it is", ("the bird ran", "the cat ran")))
    assert isinstance(single, Chosen) and single.label == "1" and single.choice == "the cat ran"
