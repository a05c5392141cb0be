"""Pre-training with every kind of sequence and mask: losses fall, and a run taken up again ends as an unbroken one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertie
from bertie.commands._new_model import ModelSettings
from bertie.corpus.shards import Corpus
from bertie.errors import SettingsError
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.passages import Passages
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.sentence_order import SentenceOrder
from bertie.training.feed import corpus_feed
from bertie.training.journal import read
from bertie.training.schedule import Stage
from bertie.training.settings import TrainingSettings

WORDS = ("the cat", "the dog", "sat in", "ran in", "the house", "the river", "never", "walked", "redly", "was good")
STEPS = 16
FALLING = {"mask_rate": 0.3, "mask_rate_end": 0.15}


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(WORDS, count=600, lengths=(2, 5), document=5, stop=" .")


@pytest.fixture
def pretrain(corpus: Path, tmp_path: Path) -> Callable[..., Path]:
    def start(name: str, **settings: Any) -> Path:
        given: dict[str, Any] = {"steps": STEPS, "learning_rate": 5e-3, **settings}
        bertie.pretrain(
            corpus=corpus,
            out=tmp_path / name,
            model=ModelSettings(size="2/64", max_positions=32, start="paper"),
            length=32,
            batch_tokens=768,
            training=TrainingSettings(save_every=STEPS // 2, log_every=1, keep=2),
            device="cpu",
            precision="fp32",
            **given,
        )
        return tmp_path / name

    return start


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("masked_lm", {"masking": "span", "mask_rate_end": 0.15, "across_documents": True}),
        ("sentence_order", {"masking": "word", "mask_rate_end": 0.15}),
        ("passages", {"mask_rate_end": 0.15}),
    ],
)
def test_losses_fall_and_a_resumed_run_ends_alike(
    pretrain: Callable[..., Path], task: str, settings: dict[str, Any]
) -> None:
    folder = pretrain("run", task=task, mask_rate=0.3, settings=settings)
    losses = [row["loss"] for row in read(folder / "metrics.jsonl")]
    assert len(losses) == STEPS
    assert sum(losses[-4:]) / 4 < 0.85 * losses[0]
    stored = json.loads((folder / "model" / "config.json").read_text())["bertie"]
    assert stored["task"] == task
    assert (stored["settings"]["mask_rate"], stored["settings"]["mask_rate_end"]) == (0.15, None)  # as it ended
    fills = bertie.load(str(folder / "model"), device="cpu").predict("the [MASK] sat in the house .")
    assert len(fills) == 5
    whole = (folder / "model" / "model.safetensors").read_bytes()
    break_off(folder)
    pretrain("run", task=task, mask_rate=0.3, settings=settings, resume=True)
    assert (folder / "model" / "model.safetensors").read_bytes() == whole


def test_a_corpus_teaches_an_encoder_to_embed(pretrain: Callable[..., Path]) -> None:
    folder = pretrain("run", task="embedding")
    assert {"loss", "accuracy"} <= read(folder / "metrics.jsonl")[-1].keys()
    model = folder / "model"
    whole = (model / "model.safetensors").read_bytes()
    (vector,) = bertie.load(str(model), device="cpu").predict(["the cat sat in the house ."])
    assert vector.vector.shape == (64,)
    break_off(folder)
    pretrain("run", task="embedding", resume=True)
    assert (model / "model.safetensors").read_bytes() == whole


def break_off(folder: Path) -> None:
    """Leave a run's folder as if its process had died after the first checkpoint."""
    record = json.loads((folder / "run.json").read_text())
    del record["values"], record["sha256"]
    (folder / "run.json").write_text(json.dumps(record))
    shutil.rmtree(folder / "model")
    checkpoints = sorted((folder / "checkpoints").iterdir())
    assert len(checkpoints) == 2
    shutil.rmtree(checkpoints[1])


@pytest.mark.parametrize(
    "task",
    [
        MaskedLM(max_length=32, masking="word", **FALLING),  # type: ignore[arg-type]
        MaskedLM(max_length=32, masking="span", across_documents=True),
        Pretraining(max_length=32, masking="span", **FALLING),  # type: ignore[arg-type]
        SentenceOrder(max_length=32, **FALLING),  # type: ignore[arg-type]
        Passages(max_length=32, **FALLING),  # type: ignore[arg-type]
    ],
)
def test_a_feed_goes_on_from_anywhere(corpus: Path, tiny_tokenizer: Any, task: Any) -> None:
    def feed(state: dict[str, Any]) -> Any:
        return corpus_feed(
            Corpus.open(corpus),
            task,
            tiny_tokenizer,
            stages=(Stage(32, 1.0),),
            batch_tokens=512,
            micro_tokens=512,
            seed=3,
            progress=lambda step, tokens: step / STEPS,
            state=state,
        )

    whole = list(islice(feed({}), STEPS))
    shares = [len(draw.batches[0].targets["slot.token"]) / draw.batches[0].num_tokens for draw in whole]
    if task.mask_rate_end is not None:
        expected = np.linspace(0.3, 0.15, STEPS, endpoint=False)
        assert abs(np.array(shares) - expected).max() < 0.03  # counts are whole numbers of pieces and words
    for stop in (1, 11):
        for before, draw in zip(whole[stop:], feed(whole[stop - 1].state), strict=False):
            assert draw.state == before.state
            assert torch.equal(draw.batches[0].tokens, before.batches[0].tokens)
            targets = before.batches[0].targets
            assert all(torch.equal(draw.batches[0].targets[name], value) for name, value in targets.items())


def test_rates_on_the_way() -> None:
    falling = MaskedLM(**FALLING)  # type: ignore[arg-type]
    assert [round(falling.at(done).mask_rate, 4) for done in (-1.0, 0.0, 0.5, 1.0, 2.0)] == [
        0.3,
        0.3,
        0.225,
        0.15,
        0.15,
    ]
    assert MaskedLM(mask_rate=0.2).at(0.7) == MaskedLM(mask_rate=0.2)
    assert SentenceOrder(**FALLING).at(1.0) == SentenceOrder(mask_rate=0.15)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"mask_rate_end must be above 0 and at most 1; got 1\.5"):
        MaskedLM(mask_rate_end=1.5)


def test_dev_is_measured_as_the_run_ends(pretrain: Callable[..., Path], corpus: Path) -> None:
    runs = [
        pretrain(str(rate), task="masked_lm", steps=1, dev=corpus, dev_tokens=8192, mask_rate=rate, settings=settings)
        for rate, settings in ((0.3, {"mask_rate_end": 0.15}), (0.15, {}))
    ]
    first = [next(row for row in read(folder / "metrics.jsonl") if row["kind"] == "dev") for folder in runs]
    assert first[0]["loss"] == first[1]["loss"]


def test_a_task_of_ones_own(pretrain: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (
        "from bertie.tasks.masked_lm import MaskedLM",
        "class Whole(MaskedLM):",
        "    name = 'whole'",
        "    plan = 'full'",
    )
    (tmp_path / "own_objective.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = pretrain("own", task="own_objective:Whole", steps=1, settings={"masking": "word"})
    stored = json.loads((folder / "model" / "config.json").read_text())["bertie"]
    assert stored["task"] == "own_objective:Whole" and stored["settings"]["masking"] == "word"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "pretrainig"}, "did you mean 'pretraining'"),
        ({"task": "tagging"}, r"tagging learns from labelled items, .*masked_lm.*sentence_order"),
        (
            {"task": "masked_lm", "settings": {"masking": "words"}},
            r"must be one of token, word, span; got 'words'",
        ),
        ({"task": "masked_lm", "settings": {"max_length": 64}}, r"max_length has a flag of its own; use --length"),
        ({"task": "masked_lm", "settings": {"mask_rate": 0.2}}, r"mask_rate has a flag of its own; use --mask-rate"),
        (
            {"task": "pretraining", "settings": {"across_documents": True}},
            "pretraining has no setting 'across_documents'",
        ),
    ],
)
def test_what_is_refused(pretrain: Callable[..., Path], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        pretrain("never", **settings)
