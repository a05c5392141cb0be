"""The mean of the weights: its arithmetic, lending it to a model, and runs that evaluate and end with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from bertie.inference import evaluate
from bertie.training import checkpoint
from bertie.training.average import Average
from bertie.training.settings import LoraSettings, OptimizerSettings, TrainingSettings

MEAN = OptimizerSettings(ema=0.9)


def test_equals_the_formula() -> None:
    model = nn.Linear(3, 2)
    average = Average(model, 0.5)
    expected = model.weight.detach().double()
    for step in range(1, 13):
        with torch.no_grad():
            model.weight.mul_(0.9).add_(step)
        average.update(model, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach().double()
    torch.testing.assert_close(average.tensors()["average.weight"].double(), expected, rtol=1e-5, atol=1e-5)


def test_lent_and_given_back_bit_for_bit() -> None:
    model = nn.Linear(3, 2)
    average = Average(model, 0.99)
    first = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(1.0)
    last = model.weight.detach().clone()
    with pytest.raises(ZeroDivisionError), average.applied(model):
        assert torch.equal(model.weight, first)
        raise ZeroDivisionError
    assert torch.equal(model.weight, last)
    average.apply(model)
    assert torch.equal(model.weight, first)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_a_mean_with_the_first_weights_comes_back_from_a_checkpoint(decay: float) -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    average, again = Average(model, decay, keep=0.25), Average(other, decay, keep=0.25)
    first = model.weight.detach().clone()
    with torch.no_grad():
        model.weight.add_(4.0)
    average.update(model, 1)
    last = model.weight.detach().clone()
    again.restore(average.tensors())
    other.load_state_dict(model.state_dict())
    for each, network in ((average, model), (again, other)):
        with each.applied(network):
            reached = first + 4.0 * (1.0 - (2 / 11 if decay else 0.0))
            torch.testing.assert_close(network.weight.detach(), 0.25 * first + 0.75 * reached)
        assert torch.equal(network.weight, last)


def test_weights_that_do_not_learn_have_no_mean() -> None:
    model = nn.Linear(3, 2)
    model.weight.requires_grad_(False)
    assert Average(model, 0.9).tensors().keys() == {"average.bias"}
    none = Average(model, 0.0)
    none.update(model, 1)
    with none.applied(model):
        assert none.tensors() == {}
    none.restore({})
    with pytest.raises(KeyError):
        Average(model, 0.9).restore({})


@pytest.mark.parametrize(
    "more",
    [
        {"optimizer": MEAN},
        {"optimizer": OptimizerSettings("muon", ema=0.9), "freeze": 1},
        {"optimizer": MEAN, "lora": LoraSettings(rank=2)},
        {"optimizer": MEAN, "training": TrainingSettings(save_every=3, log_every=2, evaluate_every=4, best=True)},
    ],
)
def test_a_broken_run_ends_like_an_unbroken_one(
    aided_run: Callable[..., Any], tmp_path: Path, more: dict[str, Any]
) -> None:
    aided_run(**more).check_resuming(tmp_path)


def test_a_run_ends_with_the_mean_and_learns_as_without(aided_run: Callable[..., Any], tmp_path: Path) -> None:
    training = TrainingSettings(save_every=3, log_every=2, evaluate_every=4)
    plain = aided_run(training=training).start(tmp_path / "plain")
    mean = aided_run(training=training, optimizer=MEAN).start(tmp_path / "mean")
    lines = [[line for line in run.journal if line["kind"] == "train"] for run in (plain, mean)]
    assert lines[0] == lines[1]
    saved = checkpoint.load_newest(tmp_path / "mean" / "checkpoints")
    assert saved is not None
    for name, value in mean.weights.items():
        assert torch.equal(value, saved.tensors[f"average.{name}"])
        assert torch.equal(plain.weights[name], saved.tensors[f"model.{name}"])
    assert any(not torch.equal(value, plain.weights[name]) for name, value in mean.weights.items())


def test_what_is_evaluated_is_the_mean(
    aided_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def total(model: Any, *others: Any) -> Any:
        return SimpleNamespace(scores={"accuracy": float(model.head.classifier.weight.detach().sum())})

    monkeypatch.setattr(evaluate, "evaluate", total)
    found = aided_run(training=TrainingSettings(evaluate_every=12), optimizer=MEAN).start(tmp_path / "run")
    last = [line for line in found.journal if line["kind"] == "dev"][-1]
    saved = checkpoint.load_newest(tmp_path / "run" / "checkpoints")
    assert saved is not None and last["step"] == 12
    assert last["accuracy"] == float(found.model.head.classifier.weight.detach().sum())
    assert last["accuracy"] != float(saved.tensors["model.head.classifier.weight"].sum())
