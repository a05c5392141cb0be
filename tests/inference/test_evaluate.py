"""Evaluating: batches of a dev corpus, labelled items, items that make their own targets; mistakes and confusion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bertie.errors import DataError, SettingsError
from bertie.inference.evaluate import Evaluation, evaluate, evaluate_batches
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream
from bertie.tasks.classification import Classification
from bertie.tasks.features import FeaturesTask
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.regression import Regression
from bertie.tasks.task import TaskModel, Text

TASK = Classification(labels=("bad", "good"), max_length=16)
WORDS = ["cat", "the old dog sat", "good", "not very good .", "a film", "bird in the house by the river"]
ITEMS = [Text(text, label=("good", "bad", "bad")[place % 3]) for place, text in enumerate(WORDS * 3)]
Build = Callable[..., TaskModel]


def test_batches_give_means_over_everything(build_model: Build, tiny_tokenizer: Any) -> None:
    task = Pretraining(max_length=32, mask_rate=0.4)
    pieces = tiny_tokenizer.pack(WORDS, WORDS[::-1], max_length=32)
    labels, keys = np.array([0, 1, 1, 0, 1, 0]), stream(1, np.arange(6))
    instances = Instances(pieces.tokens, pieces.segments, pieces.offsets, labels, keys)
    model, whole = build_model(task, dropout=0.3).train(), task.encode(instances, tiny_tokenizer, keys)
    found = evaluate_batches(model, task, whole.split(20))
    assert model.training  # as it was
    model.eval()
    loss = task.loss(model(whole), whole)
    means = {name: float((term.sum / term.count).detach()) for name, term in loss.terms.items()}
    of_masks = {"mask_loss", "mask_accuracy"}
    assert set(found) == {"loss", "mlm_loss", "nsp_loss", "mlm_accuracy", "nsp_accuracy", *of_masks}
    assert found["mlm_loss"] == pytest.approx(means["mlm"], abs=1e-5)
    assert found["nsp_loss"] == pytest.approx(means["nsp"], abs=1e-5)
    assert found["loss"] == pytest.approx(means["mlm"] + means["nsp"], abs=1e-5)
    assert found["nsp_accuracy"] == pytest.approx(float(loss.figures["nsp_accuracy"][0]) / 6)
    assert found == evaluate_batches(model, task, whole.split(20), device=torch.device("cpu"))


def test_a_single_term_has_no_second_name(build_model: Build, tiny_tokenizer: Any) -> None:
    batch = TASK.encode(ITEMS, tiny_tokenizer)
    assert set(evaluate_batches(build_model(TASK), TASK, [batch])) == {"loss", "accuracy"}


def test_no_batches(build_model: Build) -> None:
    with pytest.raises(DataError, match="there are no batches"):
        evaluate_batches(build_model(TASK), TASK, [])


def test_labelled_items(build_model: Build, tiny_tokenizer: Any) -> None:
    model = build_model(TASK, deviation=0.5, dropout=0.2).train()
    found = evaluate(model, TASK, ITEMS, tiny_tokenizer, max_tokens=20, num_worst=3)
    assert model.training
    model.eval()
    batch = TASK.encode(ITEMS, tiny_tokenizer)
    with torch.inference_mode():
        outputs = model(batch)
        expected = TASK.decode(outputs, batch, ITEMS, tiny_tokenizer)
        loss = float(TASK.loss(outputs, batch).total({"classification": len(ITEMS)}))
    assert [one.label for one in found.predictions] == [other.label for other in expected]
    assert found.loss == pytest.approx(loss, abs=1e-5)
    right = sum(guess.label == item.label for guess, item in zip(expected, ITEMS, strict=True))
    assert found.scores["accuracy"] == pytest.approx(right / len(ITEMS)) and "macro_f1" in found.scores
    assert found.num_items == len(ITEMS) and found.num_cut == 0
    assert found.labels == ("bad", "good") and sum(map(sum, found.confusion)) == len(ITEMS)
    assert sum(found.confusion[place][place] for place in range(2)) == right
    assert found.per_class["good"]["support"] == sum(item.label == "good" for item in ITEMS)


def test_worst_mistakes_come_first(build_model: Build, tiny_tokenizer: Any) -> None:
    found = evaluate(build_model(TASK, deviation=0.5), TASK, ITEMS, tiny_tokenizer, num_worst=4)
    wrong = [
        (guess.score, number)
        for number, (guess, item) in enumerate(zip(found.predictions, ITEMS, strict=True))
        if guess.label != item.label
    ]
    assert len(wrong) > 4
    assert [mistake.confidence for mistake in found.worst] == sorted((score for score, _ in wrong), reverse=True)[:4]
    for mistake in found.worst:
        assert mistake.item is ITEMS[mistake.number] and mistake.gold == mistake.item.label != mistake.guess


def test_numbers_have_no_confidence(build_model: Build, tiny_tokenizer: Any) -> None:
    items = [Text(f"the cat {'sat ' * number}", label=str(number)) for number in range(6)]
    task = Regression(center=2.0, spread=1.0, max_length=32)
    found = evaluate(build_model(task, deviation=0.5), task, items, tiny_tokenizer, num_worst=3)
    errors = [abs(guess.value - float(item.label)) for guess, item in zip(found.predictions, items, strict=True)]
    assert found.calibration == [] and {mistake.confidence for mistake in found.worst} == {None}
    assert [errors[mistake.number] for mistake in found.worst] == sorted(errors, reverse=True)[:3]


def test_cut_items_are_counted(build_model: Build, tiny_tokenizer: Any) -> None:
    items = [Text("the cat sat " * 9, label="bad"), Text("cat", label="good")]
    assert evaluate(build_model(TASK), TASK, items, tiny_tokenizer).num_cut == 1


def test_pairs_without_classes_of_their_own(build_model: Build, tiny_tokenizer: Any) -> None:
    task = NextSentence(max_length=32)
    items = [Text(text, "it ran", label=str(place % 2)) for place, text in enumerate(WORDS)]
    found = evaluate(build_model(task), task, items, tiny_tokenizer)
    assert found.loss is not None and set(found.scores) >= {"accuracy"}
    assert len(found.predictions) == 6


@pytest.mark.parametrize("task", [MaskedLM(max_length=32), Pretraining(max_length=32)])
def test_plain_texts_are_masked_by_the_seed(build_model: Build, tiny_tokenizer: Any, task: Any) -> None:
    model = build_model(task)
    found = evaluate(model, task, WORDS, tiny_tokenizer)
    assert (
        found.loss is not None
        and set(found.scores) == {"mlm_accuracy", "mask_loss", "mask_accuracy"}
        and found.predictions == []
    )
    again = evaluate(model, task, WORDS, tiny_tokenizer, max_tokens=9)
    assert again.loss == pytest.approx(found.loss, abs=1e-5)
    assert evaluate(model, task, WORDS, tiny_tokenizer, seed=1).loss != pytest.approx(found.loss, abs=1e-3)


def test_labelled_masks(build_model: Build, tiny_tokenizer: Any) -> None:
    task = MaskedLM(max_length=32)
    items = [Text("the [MASK] sat", label="cat"), Text("[MASK] [MASK]", label="sats")]
    model = build_model(task).eval()
    found = evaluate(model, task, items, tiny_tokenizer)
    batch = task.encode(items, tiny_tokenizer)
    with torch.inference_mode():
        expected = float(task.loss(model(batch), batch).total({"mlm": 3}))
    assert found.loss == pytest.approx(expected, abs=1e-5)
    assert len(found.predictions) == 2 and "mlm_accuracy" in found.scores


def test_what_can_not_be_measured(build_model: Build, tiny_tokenizer: Any) -> None:
    model = build_model(TASK)

    def run(items: list[Any], task: Any = TASK, used: Any = model) -> Evaluation:
        return evaluate(used, task, items, tiny_tokenizer)

    with pytest.raises(DataError, match="there are no items"):
        run([])
    with pytest.raises(DataError, match="text 2 has no label, but others have"):
        run([Text("a", label="good"), Text("b")])
    with pytest.raises(DataError, match="evaluating classification needs items with labels"):
        run(["a", "b"])
    unseen = run([Text("a", label="good"), Text("b", label="great")])  # a mistake, whatever the model says
    assert unseen.per_class["great"]["support"] == 1 and unseen.scores["accuracy"] <= 0.5
    features = FeaturesTask()
    with pytest.raises(SettingsError, match="can't be trained or evaluated"):
        run(["a"], features, build_model(features))
