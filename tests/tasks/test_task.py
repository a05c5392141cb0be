"""What all tasks share: losses divided once, items of several forms, the network under a head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bertie.errors import DataError, SettingsError
from bertie.ops.dropout.op import Noise
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import Loss, TaskModel, Term, Text, parse_settings, texts


def test_total_divides_each_term_by_its_global_count() -> None:
    loss = Loss({"one": Term(1.0, torch.tensor(6.0), 2), "two": Term(0.5, torch.tensor(8.0), 1)})
    assert float(loss.total({"one": 3, "two": 4})) == 6 / 3 + 0.5 * 8 / 4
    assert float(Loss({"one": Term(1.0, torch.tensor(0.0), 0)}).total({"one": 0})) == 0.0


def test_texts_of_every_form() -> None:
    assert texts(["a", Text("b")]) == (["a", "b"], None)
    assert texts([("a", "b"), "c", Text("d", "", label="x")]) == (["a", "c", "d"], ["b", None, ""])
    assert texts([]) == ([], None)


@pytest.mark.parametrize("item", [None, 3, ["a", "b"], ("a",), ("a", "b", "c"), b"a"])
def test_other_forms_are_refused_by_their_number(item: Any) -> None:
    with pytest.raises(DataError, match=r"text 2 is .*give a string, a tuple of two strings, or a Text"):
        texts(["fine", item])


def test_the_network_uses_one_noise_for_encoder_and_head(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any
) -> None:
    task = Classification(labels=("a", "b"))
    model, batch = build_model(task, dropout=0.3), task.encode(["the cat sat", "good"], tiny_tokenizer)
    assert torch.equal(model(batch, Noise(1)), model(batch, Noise(1)))
    assert not torch.equal(model(batch, Noise(1)), model(batch, Noise(2)))
    torch.manual_seed(3)
    drawn = int(torch.randint(0, 2**62, ()))
    torch.manual_seed(3)
    assert torch.equal(model(batch), model(batch, Noise(drawn)))  # a single draw for the whole network
    assert torch.equal(model.eval()(batch), model(batch))


def test_a_setting_with_few_choices_takes_no_other() -> None:
    assert parse_settings(Classification, {"truncation": "window"}) == {"truncation": "window"}
    with pytest.raises(SettingsError, match=r"masked_lm.truncation must be one of error, truncate; got 'window'"):
        parse_settings(MaskedLM, {"truncation": "window"})
