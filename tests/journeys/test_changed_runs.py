"""Runs that are interrupted in Python, edited, and gone on with elsewhere: what is accepted, and what is said."""

from __future__ import annotations

import json
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie import config
from bertie.cli import main
from bertie.errors import DataError, Interrupted, SettingsError
from bertie.training.journal import Journal

STEPS = 6


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(("cat", "dog", "sat", "ran", "the"), count=200, lengths=(3, 8), document=6)


@pytest.fixture
def pretrain(corpus: Path) -> Callable[..., Any]:
    """Return what pre-trains a tiny model for a few steps."""

    def start(out: Path, **changes: Any) -> Any:
        training = {"log_every": 1, "save_every": 2}
        shape = {"model": {"size": "1/32", "num_heads": 2}, "batch_tokens": 256, "length": 32, "threads": 1}
        return bertie.pretrain(corpus=corpus, out=out, **{"steps": STEPS, "training": training, **shape, **changes})

    return start


@pytest.fixture
def broken_off(
    pretrain: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usual_handlers: None
) -> Path:
    """Return the folder of a run that was interrupted after its third step, as a notebook does it."""
    real = Journal.write

    def interrupting(journal: Journal, record: Any) -> None:
        if record["kind"] == "train" and record["step"] == 3:
            signal.raise_signal(signal.SIGINT)
        real(journal, record)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", interrupting)
        with pytest.raises(Interrupted, match="SIGINT: saved at step 3; resume it with --resume"):
            pretrain(tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is before
    return tmp_path / "run"


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_an_interrupted_run_goes_on_in_the_same_process(
    broken_off: Path, pretrain: Callable[..., Any], tmp_path: Path
) -> None:
    pretrain(broken_off, resume=True)
    pretrain(tmp_path / "whole")
    weights = [(folder / "model" / "model.safetensors").read_bytes() for folder in (broken_off, tmp_path / "whole")]
    assert weights[0] == weights[1]
    assert not (broken_off / "checkpoints").exists()  # nothing can use them any more
    assert bertie.show(broken_off).values["files"] == {"state": "as they were written"}


def test_a_hard_interrupt_lets_the_folder_go(
    pretrain: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrain(tmp_path / "run")
    assert pretrain(tmp_path / "run", resume=True).values["steps"] == STEPS


def test_an_edited_settings_file_is_used_when_it_is_meant(
    broken_off: Path, pretrain: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    file = broken_off / "config.toml"
    edit(file, f"steps = {STEPS}", f"steps = {STEPS + 2}")
    with pytest.raises(SettingsError, match=rf"config\.toml was changed .* steps was {STEPS} and is now {STEPS + 2}"):
        pretrain(broken_off, resume=True)
    assert main(["run", str(file), "--resume"]) == 2
    assert (
        f"steps was {STEPS} and is now {STEPS + 2}. Give the old ones, or --accept-changes" in capsys.readouterr().err
    )
    assert main(shlex.split(f"run {shlex.quote(str(file))} --resume --accept-changes --json")) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == STEPS + 2
    assert config.read(file)["steps"] == STEPS + 2
    assert bertie.show(broken_off).values["files"] == {"state": "as they were written"}


def test_a_checkpoint_fits_what_may_change(broken_off: Path, pretrain: Callable[..., Any]) -> None:
    changes = {
        "learning_rate": 1e-4,
        "schedule": {"shape": "constant", "warmup": 0.0},
        "optimizer": {"beta2": 0.9, "clip_norm": 0.5, "weight_decay": 0.0},
        "training": {"log_every": 2, "save_every": 2, "micro_tokens": 64},
    }
    for name, value in changes.items():
        with pytest.raises(SettingsError, match=rf"{name}.* was .* and is now .*--accept-changes"):
            pretrain(broken_off, resume=True, **{name: value})
    # Where the processor has bf16, this is a change too.
    assert pretrain(broken_off, resume=True, accept_changes=True, precision="fp32", **changes).values["steps"] == STEPS


@pytest.mark.parametrize("changes", [{"seed": 1}, {"model": {"size": "1/48"}}, {"batch_tokens": 128}])
def test_what_no_checkpoint_fits_is_refused(
    broken_off: Path, pretrain: Callable[..., Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(SettingsError, match=r"Give the old ones, or choose another --out"):
        pretrain(broken_off, resume=True, accept_changes=True, **changes)


def test_another_number_of_threads_is_said_aloud(
    broken_off: Path, pretrain: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert pretrain(broken_off, resume=True, threads=2).values["steps"] == STEPS
    assert "threads was 1 and is now 2; the run is resumed" in capsys.readouterr().err


def test_an_altered_journal_is_named(
    broken_off: Path, pretrain: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = broken_off / "metrics.jsonl"
    with metrics.open("ab") as file:
        file.write(b'{"kind": "tr')  # torn
    lines = metrics.read_text().splitlines()
    metrics.write_text("\n".join([lines[0], lines[1].replace('"step": 2', '"step": 1'), *lines[2:]]))
    with pytest.raises(DataError, match=r"metrics\.jsonl:2 was changed after it was written; .*--accept-changes"):
        pretrain(broken_off, resume=True)
    pretrain(broken_off, resume=True, accept_changes=True)
    said = capsys.readouterr().err
    assert "metrics.jsonl:2 was changed" in said and "metrics.jsonl:4 is incomplete" in said
    assert len(metrics.read_text().splitlines()) == STEPS
