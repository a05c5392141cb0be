"""Best weights and early ends by dev scores: what is better, what is kept, and that a broken run chooses alike."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn

import bertie
from bertie.errors import SettingsError
from bertie.training.selection import Selection
from bertie.training.settings import TrainingSettings

EVERY_STEP = TrainingSettings(evaluate_every=1, best=True, patience=3)


def scored(selection: Selection, *scores: float, start: int = 1) -> nn.Linear:
    """Show evaluations to a selection, the model being filled with the step's number at each."""
    model = nn.Linear(1, 1)
    for step, score in enumerate(scores, start):
        for value in model.parameters():
            value.data.fill_(step)
        selection.consider(step, {"loss": 1.0, "accuracy": score}, model)
    return model


def kept(selection: Selection, model: nn.Linear) -> float:
    selection.apply(model)
    assert model.weight.item() == model.bias.item()
    return model.weight.item()


def test_the_best_weights_come_back() -> None:
    selection = Selection(EVERY_STEP, "accuracy")
    model = scored(selection, 0.5, 0.7, 0.6)
    assert not selection.exhausted
    assert kept(selection, model) == 2
    assert selection.facts(ended_early=False) == {"weights_chosen_on_dev": {"step": 2, "accuracy": 0.7}}


def test_the_first_of_equals_wins_and_is_no_gain() -> None:
    selection = Selection(EVERY_STEP, "accuracy")
    model = scored(selection, 0.5, 0.5, 0.5)
    assert not selection.exhausted
    selection.consider(4, {"accuracy": 0.5}, model)
    assert selection.exhausted
    assert kept(selection, model) == 1
    assert selection.facts(ended_early=True)["ended_early_on_dev"] == {"evaluations_without_gain": 3}


def test_a_gain_starts_the_waiting_anew() -> None:
    selection = Selection(EVERY_STEP, "accuracy")
    model = scored(selection, 0.5, 0.4, 0.4, 0.6, 0.1, 0.1)
    assert not selection.exhausted
    selection.consider(7, {"accuracy": 0.6}, model)
    assert selection.exhausted


def test_what_was_before_training_is_no_candidate() -> None:
    selection = Selection(EVERY_STEP, "accuracy")
    assert kept(selection, scored(selection, 0.9, 0.2, start=0)) == 1


def test_negative_scores_and_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    selection = Selection(EVERY_STEP, "accuracy")
    assert kept(selection, scored(selection, -0.5, math.nan, -0.4)) == 3
    lost = Selection(EVERY_STEP, "accuracy")
    assert kept(lost, scored(lost, math.nan, math.nan)) == 2
    assert "warning: no evaluation gave a number for accuracy: the last weights" in capsys.readouterr().err
    assert lost.facts(ended_early=False) == {}


def test_patience_alone_keeps_the_last_weights() -> None:
    selection = Selection(TrainingSettings(evaluate_every=1, patience=1), "accuracy")
    model = scored(selection, 0.7, 0.6)
    assert selection.exhausted
    assert kept(selection, model) == 2
    assert selection.tensors() == {}


def test_off_unless_asked() -> None:
    selection = Selection(TrainingSettings(evaluate_every=1), "accuracy")
    model = scored(selection, *[0.5] * 50)
    selection.consider(51, {}, model)
    assert not selection.exhausted
    assert kept(selection, model) == 50
    assert (selection.tensors(), selection.facts(ended_early=False)) == ({}, {})


def test_state_goes_through_a_checkpoint() -> None:
    for scores in ((), (0.5, 0.7, 0.6), (math.nan,)):
        selection, other = Selection(EVERY_STEP, "accuracy"), Selection(EVERY_STEP, "accuracy")
        scored(selection, *scores)
        other.restore(json.loads(json.dumps(selection.state(), allow_nan=False)), selection.tensors())
        for each in (selection, other):
            scored(each, 0.65, 0.6, start=4)
        assert selection.state() == other.state()
        assert selection.exhausted == other.exhausted
        assert kept(selection, nn.Linear(1, 1)) == kept(other, nn.Linear(1, 1))


def test_a_criterion_that_is_not_measured() -> None:
    with pytest.raises(SettingsError, match="by spearman, which isn't measured here; the measures are loss, accuracy"):
        scored(Selection(EVERY_STEP, "spearman"), 0.5, start=0)


@pytest.mark.parametrize("wish", [{"best": True}, {"patience": 2}])
def test_wishes_that_need_evaluations(wish: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"choose how often with --training\.evaluate-every STEPS or"):
        TrainingSettings(**wish)
    table = tmp_path / "train.tsv"
    table.write_text("text\tlabel\na\tx\nb\ty\n", encoding="utf-8")
    settings = {**wish, "evaluate_each_epoch": True}
    with pytest.raises(SettingsError, match="need the scores on a dev table; give one with --dev"):
        bertie.finetune("nowhere", train=table, out=tmp_path / "run", training=settings)
    with pytest.raises(SettingsError, match=r"are only for finetune"):
        bertie.pretrain(corpus=tmp_path, out=tmp_path / "run", training=settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("field", ["patience", "evaluate_every"])
def test_counts_below_one(field: str) -> None:
    with pytest.raises(SettingsError, match=f"training.{field} must be at least 1; got 0"):
        TrainingSettings(**{"evaluate_each_epoch": True, field: 0})


def dev_lines(outcome: Any) -> dict[int, float]:
    return {line["step"]: line["accuracy"] for line in outcome.journal if line["kind"] == "dev"}


def test_a_run_ends_with_its_best_weights(aided_run: Callable[..., Any], tmp_path: Path) -> None:
    scores = (0.9, 0.1, 0.2, 0.1, 0.4, 0.3, 0.8, 0.7, 0.8, 0.6, 0.5, 0.5, 0.4)
    training = TrainingSettings(evaluate_every=1, best=True, save_every=3, keep=9)
    best = aided_run(training=training, scores=scores).check_resuming(tmp_path)
    assert best.position.step == 12
    assert best.position.chosen == {"weights_chosen_on_dev": {"step": 6, "accuracy": 0.8}}
    assert dev_lines(best) == dict(enumerate(scores))
    last = aided_run(training=replace(training, best=False), scores=scores).start(tmp_path / "last")
    assert last.journal == best.journal  # to choose changes nothing on the way
    assert last.position.chosen == {}
    for outcome, step in ((best, 6), (last, 12)):
        file = tmp_path / "last" / "checkpoints" / f"step-{step:08d}" / "tensors-00001.safetensors"
        with safe_open(file, framework="pt") as stored:
            assert all(
                torch.equal(value, stored.get_tensor(f"model.{name}")) for name, value in outcome.weights.items()
            )
    assert not torch.equal(last.weights["head.classifier.weight"], best.weights["head.classifier.weight"])


def test_a_run_that_gets_no_better_ends_early(aided_run: Callable[..., Any], tmp_path: Path) -> None:
    scores = (0.0, 0.5, 0.4, 0.6, 0.7, 0.65, 0.7, 0.9)
    training = TrainingSettings(evaluate_every=1, patience=2, best=True, save_every=5, log_every=5)
    early = aided_run(training=training, scores=scores).check_resuming(tmp_path, stops=(2, 5))
    assert early.position.step == 6
    assert early.position.chosen["ended_early_on_dev"] == {"evaluations_without_gain": 2}
    assert early.position.chosen["weights_chosen_on_dev"] == {"step": 4, "accuracy": 0.7}
    assert early.journal[-1]["kind"] == "dev" and early.journal[-2]["kind"] == "train"
    assert [line["step"] for line in early.journal[-2:]] == [6, 6]


def test_a_broken_run_chooses_by_real_scores_alike(aided_run: Callable[..., Any], tmp_path: Path) -> None:
    training = TrainingSettings(evaluate_every=2, best=True, save_every=4)
    best = aided_run(training=training).check_resuming(tmp_path, stops=(7,))
    step, score = best.position.chosen["weights_chosen_on_dev"].values()
    scores = {step: score for step, score in dev_lines(best).items() if step > 0}
    assert list(scores) == [2, 4, 6, 8, 10, 12]
    assert score == round(max(scores.values()), 4) and scores[step] == max(scores.values())


def test_each_epoch(aided_run: Callable[..., Any], tmp_path: Path) -> None:
    run = aided_run(training=TrainingSettings(evaluate_each_epoch=True, best=True, save_every=0))
    assert list(dev_lines(run.start(tmp_path / "run"))) == [0, 4, 8, 12]
