"""What is said of a finished run: each remark where it belongs, and nothing of a run that went well."""

from typing import Any

import pytest

from bertie.training.plateau import Recipe
from bertie.training.remarks import (
    Extent,
    fallen,
    little_data,
    of_finetuning,
    of_pretraining,
    one_answer,
    risen,
    short_stages,
    too_short,
)
from bertie.training.schedule import parse_stages
from bertie.training.settings import OptimizerSettings, TrainingSettings

RECIPE = Recipe(task="masked_lm", optimizer="adamw", peak=1e-3, vocab_size=4096)
WELL = Extent(steps=1000, done=3.0, data="the training table")


def dev(*scores: float, name: str = "accuracy", every: int = 100, first: int = 1) -> list[dict[str, Any]]:
    rows = [{"kind": "dev", "step": every * number, name: score} for number, score in enumerate(scores, first)]
    return [{"kind": "train", "step": 1, "loss": 9.0}, *rows]


def test_a_score_that_fell_and_what_was_kept() -> None:
    said = fallen(dev(0.5, 0.696, 0.65, 0.626), "accuracy", kept_best=False)
    assert said.startswith("accuracy on dev fell from 0.6960 at step 200 to 0.6260 at step 400: the last weights were")
    assert "--training.best keeps the best ones" in said
    assert "the weights of step 200 were kept" in fallen(dev(0.7, 0.6), "accuracy", kept_best=True).replace(
        "100", "200"
    )
    for records in (
        dev(0.5, 0.6, 0.7),
        dev(0.7, 0.695),
        dev(0.7),
        [],
        dev(0.9, 0.8, name="f1"),
        dev(0.9, float("nan")),
    ):
        assert fallen(records, "accuracy", kept_best=False) == ""
    assert fallen(dev(0.9, 0.5, first=0), "accuracy", kept_best=False) == ""  # before the first step is no candidate


def test_a_loss_that_rose() -> None:
    assert "the encoder is worse than the one it began with" in risen(dev(3.0, 2.9, 7.4, name="loss", first=0))
    said = risen(dev(5.0, 3.0, 3.2, name="loss", first=0))
    assert said.startswith("the dev loss was lowest at step 100 (3.000) and is 3.200 at step 200")
    assert risen(dev(5.0, 4.0, 3.9, 3.95, name="loss", first=0)) == "" == risen(dev(5.0, name="loss"))


@pytest.mark.parametrize(
    ("said", "right", "remark"),
    [
        (["a"] * 20, ["a", "b"] * 10, "predicts 'a' for all 20 dev items, and that is right for 50% of them"),
        (["(no answer)"] * 12, ["(no answer)", "x", "y"] * 4, "predicts '(no answer)' for all 12 dev items"),
        ([""] * 12, ["", "x"] * 6, "predicts nothing for all 12"),
        (["a"] * 99 + ["b"], ["a", "b"] * 50, "predicts 'a' for 99 of 100 dev items"),
        (["a", "b"] * 10, ["a", "b"] * 10, ""),
        (["a"] * 20, ["a"] * 19 + ["b"], ""),
        (["a"] * 5, ["a", "b", "a", "b", "a"], ""),
        ([None] * 20, [None] * 20, ""),
        ([], [], ""),
    ],
)
def test_one_answer_for_everything(said: list[str | None], right: list[str | None], remark: str) -> None:
    found = one_answer(said, right)
    assert remark in found and bool(found) == bool(remark)


def test_little_data_and_few_steps() -> None:
    short = Extent(steps=22, done=0.021, data="the corpus")
    assert little_data(short).startswith("the run saw 2.1% of the corpus in 22 steps: give it a longer --budget")
    assert little_data(WELL) == ""
    assert too_short(short, [], TrainingSettings(), OptimizerSettings()) == [
        "the run had 22 updates in all: few for a model to learn from"
    ]
    assert too_short(WELL, [], TrainingSettings(), OptimizerSettings()) == []


def test_settings_that_need_more_steps() -> None:
    run = Extent(steps=400, done=1.0, data="the training table")
    settings = TrainingSettings(evaluate_every=500, patience=3)
    first, second, third = too_short(run, dev(0.5, every=400), settings, OptimizerSettings(ema=0.999))
    assert "--training.evaluate-every 500 is more than the 400 steps of the run" in first
    assert "--training.patience 3 could not end a run of 1 evaluation;" in second
    assert "--optimizer.ema 0.999 averages over 1,000 steps and the run had 400" in third
    enough = TrainingSettings(evaluate_every=50, patience=3)
    assert too_short(run, dev(*[0.5] * 8), enough, OptimizerSettings(ema=0.99)) == []


def test_a_stage_of_hardly_any_steps() -> None:
    stages = parse_stages("128:90%,512:10%", length=128)
    (said,) = short_stages(Extent(steps=60, done=1.0, data="the corpus"), stages)
    assert said.startswith("sequences of 512 tokens had about 6 steps: too few to learn from")
    assert short_stages(Extent(steps=100, done=1.0, data="the corpus"), stages) == []
    assert short_stages(Extent(steps=3, done=1.0, data="the corpus"), parse_stages(None, length=128)) == []


def test_a_run_that_went_well_gets_no_remark() -> None:
    how: dict[str, Any] = {"settings": TrainingSettings(), "optimizer": OptimizerSettings()}
    answers = ["a", "b"] * 10
    assert of_finetuning(WELL, dev(0.5, 0.9), "accuracy", answers=answers, right=answers, **how) == []
    beside: dict[str, Any] = {**how, "yardsticks": {}, "recipe": RECIPE}
    assert of_pretraining(WELL, dev(9.0, 3.0, name="loss"), stages=parse_stages(None, length=128), **beside) == []


def test_all_of_them_together() -> None:
    how: dict[str, Any] = {"settings": TrainingSettings(), "optimizer": OptimizerSettings()}
    short = Extent(steps=22, done=0.02, data="the corpus")
    assert len(of_finetuning(short, dev(0.9, 0.5), "accuracy", answers=["a"] * 20, right=["a", "b"] * 10, **how)) == 4
    rising, stages = dev(3.0, 7.0, name="loss", first=0), parse_stages(None, length=9)
    assert len(of_pretraining(short, rising, stages=stages, **how, yardsticks={}, recipe=RECIPE)) == 3
    on_it = {"kind": "train", "step": 2000, "tokens": 9_000_000, "loss": 7.0, "mask_loss": 6.6}
    beside: dict[str, Any] = {**how, "yardsticks": {"yardstick_unigram_loss": 6.6}, "recipe": RECIPE}
    said = of_pretraining(WELL, [on_it], stages=stages, **beside)
    assert len(said) == 1 and said[0].startswith("the run ended on the plateau")
