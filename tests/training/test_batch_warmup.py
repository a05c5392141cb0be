"""Batches that grow: their sizes, the same text as ever, going on from anywhere, and where there is no growing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie
from bertie.batch import Batch
from bertie.corpus.shards import Corpus
from bertie.errors import SettingsError
from bertie.tasks.pretraining import Pretraining
from bertie.training.feed import corpus_feed
from bertie.training.loop import StepBatches
from bertie.training.schedule import BATCH_PARTS, Stage, batch_parts
from bertie.training.settings import ScheduleSettings

GROWING = ScheduleSettings(batch_warmup=0.5)
SIZE, STEPS = 512, 40
WORDS = ("film", "story", "day", "cat", "dog", "bird", "fish", "house", "river", "city", "good", "bad", "great")

Feed = Callable[..., Iterator[StepBatches]]


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(WORDS, count=1200, lengths=(3, 12), document=6)


@pytest.fixture
def feed(corpus: Path, tiny_tokenizer: Any) -> Feed:
    def start(state: dict[str, Any], schedule: ScheduleSettings = GROWING, **more: Any) -> Iterator[StepBatches]:
        settings: dict[str, Any] = {"batch_tokens": SIZE, "stages": (Stage(48, 1.0),), "micro_tokens": 200, **more}
        return corpus_feed(
            Corpus.open(corpus),
            Pretraining(max_length=48),
            tiny_tokenizer,
            seed=3,
            progress=lambda step, tokens: tokens / (STEPS * SIZE),
            state=state,
            schedule=schedule,
            **settings,
        )

    return start


def tokens_of(batches: list[Batch]) -> torch.Tensor:
    return torch.cat([batch.tokens for batch in batches])


def test_parts() -> None:
    found = [batch_parts(fraction, GROWING) for fraction in (0.0, 0.05, 0.25, 0.499, 0.5, 0.9, 1.0)]
    assert found == [1, 1, 4, 7, 8, 8, 8]
    assert batch_parts(0.0, ScheduleSettings()) == BATCH_PARTS


def test_batches_grow_by_tokens_done(feed: Feed) -> None:
    done, sizes = 0, []
    for draw in islice(feed({}), 3 * STEPS):
        parts = batch_parts(done / (STEPS * SIZE), GROWING)
        size = sum(batch.num_tokens for batch in draw.batches)
        assert parts * SIZE / BATCH_PARTS / 3 < size <= parts * SIZE / BATCH_PARTS
        assert all(batch.num_tokens <= 200 for batch in draw.batches)
        sizes.append(size)
        done += size
        assert draw.state["tokens"] == done
    assert max(sizes[:3]) <= SIZE // BATCH_PARTS and min(sizes[-10:]) > SIZE * 0.6


def test_text_comes_in_the_same_order_whatever_the_growth(feed: Feed) -> None:
    growing = tokens_of([batch for draw in islice(feed({}), 30) for batch in draw.batches])
    small = feed({}, ScheduleSettings(), batch_tokens=SIZE // BATCH_PARTS)
    steady = tokens_of([batch for draw in islice(small, 200) for batch in draw.batches])
    assert torch.equal(growing, steady[: len(growing)])  # masks included


def test_goes_on_from_anywhere(feed: Feed) -> None:
    stages = (Stage(24, 0.3), Stage(48, 0.7))
    whole = list(islice(feed({}, stages=stages), STEPS))
    for stop in (1, 7, 19, 33):
        for expected, draw in zip(whole[stop:], feed(whole[stop - 1].state, stages=stages), strict=False):
            assert draw.state == expected.state and draw.origin == expected.origin
            assert torch.equal(tokens_of(draw.batches), tokens_of(expected.batches))


def test_where_nothing_can_grow(feed: Feed, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"begins with 1/8 of --batch-tokens 256, which is less than .* of 48"):
        next(feed({}, batch_tokens=256))
    with pytest.raises(SettingsError, match="the steps of an epoch are unknown"):
        bertie.pretrain(corpus=corpus, out=tmp_path / "out", epochs=1, schedule=GROWING)
    with pytest.raises(SettingsError, match=r"batch_warmup is only for pretrain"):
        bertie.finetune("x", task="classification", train="x.tsv", out=tmp_path / "out", schedule=GROWING)
