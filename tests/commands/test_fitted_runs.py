"""Fine-tuning without rate, batch or epochs: what is said and recorded, repeated, resumed and overridden."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie import cli, config
from bertie.commands._new_model import ModelSettings
from bertie.tokenizer.writing import save_tokenizer
from bertie.training import feed, fitting
from bertie.training.settings import TrainingSettings

WORDS = ("cat", "dog", "bird", "fish", "house", "river", "city", "story")
SAID = ("learning_rate", "batch_size", "epochs")


@pytest.fixture(scope="module")
def room(tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    (folder / "tokenizer").mkdir()
    save_tokenizer(tiny_tokenizer, folder / "tokenizer")
    labels = "".join(f"the {word} was {kind}\t{kind}\n" for word in WORDS for kind in ("good", "bad"))
    (folder / "labels.tsv").write_text(f"text\tlabel\n{labels}", encoding="utf-8")
    return folder


def finetune(room: Path, out: Path, words: str = "", model: str = "") -> int:
    common = f"--train {room / 'labels.tsv'} --out {out} --threads 1 --length 16"
    start = model or f"--tokenizer {room / 'tokenizer'} --model.size 1/32"
    return cli.main(["finetune", *start.split(), *common.split(), *words.split()])


def numbers(out: Path) -> dict[str, Any]:
    found = config.read(out / "config.toml")
    return {name: found.get(name) for name in SAID}


def test_numbers_are_said_recorded_and_repeated(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finetune(room, tmp_path / "one") == 0
    said = numbers(tmp_path / "one")
    assert said["batch_size"] == 8 and said["epochs"] == 30 and 5e-4 < said["learning_rate"] < 1e-2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("learning rate ")]
    assert len(lines) == 1 and lines[0].endswith(", batch 8, 30 epochs: 16 examples, random weights of width 32")
    assert (tmp_path / "one" / "metrics.jsonl").read_text(encoding="utf-8").count('"step": 60,') == 1
    # Another version of the rules changes no run that was begun: not its resumption, not its repetition.
    monkeypatch.setattr(fitting, "_RANDOM", 0.01)
    monkeypatch.setattr(fitting, "_MOST_EPOCHS", 3)
    assert finetune(room, tmp_path / "one", "--resume") == 0
    assert "already finished; nothing to do" in capsys.readouterr().err
    assert cli.main(["run", str(tmp_path / "one"), "--out", str(tmp_path / "two")]) == 0
    assert "random weights of width" not in capsys.readouterr().err
    assert numbers(tmp_path / "two") == said
    assert cli.main(["run", str(tmp_path / "one"), "--out", str(tmp_path / "three"), "--steps", "2"]) == 0
    assert numbers(tmp_path / "three") == {**said, "epochs": None}
    assert finetune(room, tmp_path / "four") == 0
    assert numbers(tmp_path / "four")["epochs"] == 3


def test_a_run_that_was_broken_off_keeps_its_numbers(
    room: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wishes: dict[str, Any] = {
        "model": ModelSettings(size="1/32"),
        "tokenizer": room / "tokenizer",
        "train": room / "labels.tsv",
        "threads": 1,
        "length": 16,
        "training": TrainingSettings(save_every=2, log_every=2),
    }
    bertie.finetune(out=tmp_path / "whole", **wishes)
    whole = feed.table_feed

    def breaking(*parts: Any, **more: Any) -> Iterator[Any]:
        for number, draw in enumerate(whole(*parts, **more), 1):
            if number == 4:
                raise KeyboardInterrupt
            yield draw

    with monkeypatch.context() as patch:
        patch.setattr(feed, "table_feed", breaking)
        with pytest.raises(KeyboardInterrupt):
            bertie.finetune(out=tmp_path / "broken", **wishes)
    monkeypatch.setattr(fitting, "_RANDOM", 0.01)
    monkeypatch.setattr(fitting, "_PASSES", 3.0)
    bertie.finetune(out=tmp_path / "broken", resume=True, **wishes)
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("whole", "broken")]
    assert weights[0] == weights[1] and numbers(tmp_path / "whole") == numbers(tmp_path / "broken")


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("--learning-rate 1e-3 --steps 2", {"learning_rate": 1e-3, "batch_size": 8, "epochs": None}),
        ("--batch-size 16 --epochs 2", {"batch_size": 16, "epochs": 2}),
        ("--learning-rate 2e-3 --batch-size 4 --epochs 1", {"learning_rate": 2e-3, "batch_size": 4, "epochs": 1}),
    ],
)
def test_each_is_given_by_hand_singly(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, kept: dict[str, Any]
) -> None:
    assert finetune(room, tmp_path / "out", words) == 0
    found = numbers(tmp_path / "out")
    assert {name: found[name] for name in kept} == kept and found["learning_rate"] > 0
    line = next((line for line in capsys.readouterr().err.splitlines() if "examples, " in line), "")
    given = [name for name in SAID if f"--{name.replace('_', '-')}" in words]
    told = {"learning_rate": "learning rate", "batch_size": "batch", "epochs": "epochs"}
    assert not any(told[name] in line for name in given)
    assert bool(line) == (len(given) < 3)


def test_what_was_learned_in_pre_training_is_told(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune(room, tmp_path / "first", "--steps 4 --learning-rate 3e-2") == 0
    capsys.readouterr()
    assert finetune(room, tmp_path / "second", "--steps 2", str(tmp_path / "first" / "model")) == 0
    assert "16 examples, weights of RMS 0.0" in capsys.readouterr().err


def test_lengths_that_are_none(room: Path, tmp_path: Path) -> None:
    for words in ("--epochs 0", "--steps 0", "--batch-size 0", "--steps 2 --epochs 1", "--steps 2 --budget 5s"):
        assert finetune(room, tmp_path / "none", words) == 2
        assert not (tmp_path / "none").exists()
