"""Stages of several lengths: random positions in the short ones, exact resuming, dev figures at both lengths."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie
from bertie import config, registry
from bertie.batch import Batch
from bertie.corpus.shards import Corpus
from bertie.errors import SettingsError
from bertie.tasks._lookup import task_class
from bertie.training import record
from bertie.training.feed import corpus_feed
from bertie.training.journal import read
from bertie.training.loop import StepBatches
from bertie.training.schedule import Stage
from bertie.training.settings import ScheduleSettings, TrainingSettings

WORDS = ("film", "story", "day", "cat", "dog", "bird", "fish", "house", "river", "city", "good", "bad", "great")
SHORT_FIRST = (Stage(24, 0.5), Stage(48, 0.5))
OBJECTIVES = [name for name in registry.choices("tasks") if task_class(name).plan]
RANDOM, USUAL = ScheduleSettings(random_positions=True), ScheduleSettings(random_positions=False)
STEPS = 12
TINY = {"size": "1/32", "num_heads": 2, "max_positions": 48}

Feed = Callable[..., Iterator[StepBatches]]


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(WORDS, count=1200, lengths=(3, 12), document=6)


@pytest.fixture
def feed(corpus: Path, tiny_tokenizer: Any) -> Feed:
    def start(state: dict[str, Any], schedule: ScheduleSettings, task: str = "pretraining", **more: Any) -> Any:
        settings: dict[str, Any] = {"batch_tokens": 512, "stages": SHORT_FIRST, "micro_tokens": 200, **more}
        return corpus_feed(
            Corpus.open(corpus),
            task_class(task)(max_length=48),  # type: ignore[call-arg]
            tiny_tokenizer,
            seed=3,
            progress=lambda step, tokens: step / STEPS,
            state=state,
            schedule=schedule,
            **settings,
        )

    return start


def batches(draws: Iterator[StepBatches], count: int = STEPS) -> list[Batch]:
    return [batch for draw in islice(draws, count) for batch in draw.batches]


def begins(found: list[Batch]) -> list[int]:
    return [place for batch in found for place in batch.positions[batch.starts].tolist()]


@pytest.mark.parametrize("task", OBJECTIVES)
def test_only_positions_differ(feed: Feed, task: str) -> None:
    moved, usual = batches(feed({}, RANDOM, task)), batches(feed({}, USUAL, task))
    for one, other in zip(moved, usual, strict=True):
        assert torch.equal(one.tokens, other.tokens) and torch.equal(one.begun_at_zero().positions, other.positions)
        assert all(torch.equal(one.targets[name], value) for name, value in other.targets.items())
        assert int(one.positions.max()) < 48
    assert set(begins(usual)) == {0}
    short, long = batches(feed({}, RANDOM, task), STEPS // 2), begins(moved)
    assert len(set(begins(short))) > 12 and set(long[len(begins(short)) :]) == {0}


def test_going_on_from_anywhere(feed: Feed) -> None:
    whole = list(islice(feed({}, RANDOM), STEPS))
    for stop in (1, 5, 9):
        for expected, draw in zip(whole[stop:], feed(whole[stop - 1].state, RANDOM), strict=False):
            assert draw.state == expected.state
            for one, other in zip(draw.batches, expected.batches, strict=True):
                assert torch.equal(one.positions, other.positions)


def test_a_sequence_begins_alike_in_any_batch(feed: Feed) -> None:
    schedule = ScheduleSettings(random_positions=True, batch_warmup=1.0)
    growing = begins(batches(feed({}, schedule, batch_tokens=800), 4))
    assert growing == begins(batches(feed({}, RANDOM, batch_tokens=100, micro_tokens=50), 40))[: len(growing)]


def test_one_length_is_trained_as_ever(feed: Feed) -> None:
    for stages in ((Stage(48, 1.0),), (Stage(48, 0.5), Stage(48, 0.5))):
        draws = list(islice(feed({}, RANDOM, stages=stages), STEPS))
        assert {place for draw in draws for place in begins(draw.batches)} == {0}
        assert all("length" not in draw.state for draw in draws)


def train(corpus: Path, out: Path, **more: Any) -> Any:
    given = {"stages": "24:50%,48:50%", "model": TINY, "steps": 8, "batch_tokens": 512, "threads": 1, **more}
    return bertie.pretrain(corpus=corpus, out=out, **given)


def test_dev_at_both_lengths(corpus: Path, tmp_path: Path) -> None:
    often = TrainingSettings(log_every=1, evaluate_every=2)
    train(corpus, tmp_path / "run", dev=corpus, dev_tokens=2000, training=often)
    lines = read(tmp_path / "run" / "metrics.jsonl")
    rows = {row["step"]: row for row in lines if row["kind"] == "dev"}
    assert sorted(rows) == [0, 2, 4, 6, 8]
    assert [step for step, row in rows.items() if "loss_at_24_tokens" in row] == [0, 2, 4]
    assert all("loss" in row and "mask_loss" in row for row in rows.values())
    assert rows[2]["loss_at_24_tokens"] != rows[2]["loss"]
    assert [row["length"] for row in lines if row["kind"] == "train"] == [24] * 4 + [48] * 4
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "24 → 48" in page and "dev at 24" in page and "began at random positions" in page
    values = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["values"]
    assert "dev_loss" in values and not any("length" in name for name in values)


def test_positions_that_no_sequence_reached_are_told(corpus: Path, tmp_path: Path) -> None:
    def page(name: str, **more: Any) -> str:
        train(corpus, tmp_path / name, steps=1, **more)
        return (tmp_path / name / "report.html").read_text(encoding="utf-8")

    said = "No sequence was longer than 24 tokens, so of the 48 positions"
    assert said in page("short", stages=None, length=24)
    assert "No sequence was longer" not in page("whole", stages=None, length=48)
    rotary = {**TINY, "architecture": "roformer"}
    assert "No sequence was longer" not in page("rotary", stages=None, length=24, model=rotary, task="masked_lm")
    again = {"from_": str(tmp_path / "whole" / "model"), "model": {}}
    assert "No sequence was longer" not in page("again", stages=None, length=24, **again)


def test_what_a_run_is_told(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path / "several", steps=1)
    assert config.read(tmp_path / "several")["schedule"]["random_positions"] is True
    train(corpus, tmp_path / "one", steps=1, stages=None, length=48)
    assert "random_positions" not in config.read(tmp_path / "one")["schedule"]
    rotary = {**TINY, "architecture": "modernbert"}
    train(corpus, tmp_path / "rotary", steps=1, model=rotary, task="masked_lm")
    assert "random_positions" not in config.read(tmp_path / "rotary")["schedule"]
    with pytest.raises(SettingsError, match="random_positions has no effect: the run has one length"):
        train(corpus, tmp_path / "x", stages=None, length=48, schedule=RANDOM)
    with pytest.raises(SettingsError, match="random_positions has no effect: modernbert learns no positions"):
        train(corpus, tmp_path / "x", model=rotary, task="masked_lm", schedule=RANDOM)
    with pytest.raises(SettingsError, match="random_positions is for the --stages of pretrain"):
        bertie.finetune("x", task="classification", train="x.tsv", out=tmp_path / "x", schedule=RANDOM)


def test_runs_from_before_the_setting_go_on_as_they_began() -> None:
    old = {"stages": "24:50%,48:50%", "schedule.warmup": 0.1}
    assert record.compare(old, {**old, "schedule.random_positions": False}) == record.Changes()
    (said,) = record.compare(old, {**old, "schedule.random_positions": True}).changed
    assert said == "schedule.random_positions was False and is now True"
    assert record.compare(old, old) == record.Changes()
