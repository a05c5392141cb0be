"""The peer of pre-training learns from the same weights and batches, and therefore has the losses that ours has."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bertie
from benchmarks import pretraining_peers
from bertie.commands._new_model import ModelSettings
from bertie.training.journal import read
from bertie.training.settings import OptimizerSettings, TrainingSettings

pytest.importorskip("transformers")
WORDS = ("film", "story", "day", "cat", "dog", "bird", "fish", "house", "river", "city", "good", "bad", "great")


@pytest.mark.parametrize("start", ["paper", "neighbours"])
def test_the_same_losses(
    start: str, prepare_sentences: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus, ours, theirs = (
        prepare_sentences(WORDS, count=240, lengths=(3, 12), document=6),
        tmp_path / "a",
        tmp_path / "b",
    )
    bertie.pretrain(
        corpus=corpus,
        out=ours,
        task="pretraining",
        model=ModelSettings(size="2/32", dropout=0.0, start=start),
        tokens=6000,
        length=32,
        batch_tokens=256,
        optimizer=OptimizerSettings("adamw"),
        precision="fp32",
        threads=1,
        training=TrainingSettings(log_every=pretraining_peers.LOG_EVERY),
    )
    words = ["--run", str(ours), "--corpus", str(corpus), "--tokens", "6000", "--out", str(theirs)]
    monkeypatch.setattr(sys, "argv", ["pretraining_peers", *words])
    pretraining_peers.main()
    a, b = ([line for line in read(folder / "metrics.jsonl") if line["kind"] == "train"] for folder in (ours, theirs))
    assert len(a) == len(b) >= 2
    assert start == "neighbours" or a[0]["loss"] - a[-1]["loss"] > 0.1  # frequencies are known from the start there
    for mine, other in zip(a, b, strict=True):
        assert (mine["step"], mine["tokens"]) == (other["step"], other["tokens"])
        assert mine["loss"] == pytest.approx(other["loss"], abs=2e-3)
        assert mine["learning_rate"] == pytest.approx(other["learning_rate"])
