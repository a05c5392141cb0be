"""Trackers of runs: what they are told, that they change nothing, their failures, resuming, and the three programs."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import bertie
from bertie.cli import main
from bertie.errors import Interrupted, SettingsError
from bertie.registry import choices
from bertie.tokenizer.writing import save_tokenizer
from bertie.trackers.tracker import TrackedRun, tracker

ROWS = [f"the cat {number}\t{('neg', 'pos')[number % 2]}" for number in range(40)]


@pytest.fixture
def given(tmp_path: Path, tiny_tokenizer: Any) -> dict[str, Any]:
    file = tmp_path / "train.tsv"
    file.write_text("text\tlabel\n" + "\n".join(ROWS) + "\n", encoding="utf-8")
    save_tokenizer(tiny_tokenizer, tmp_path / "tokenizer")
    start: dict[str, Any] = {"model": {"size": "1/32", "num_heads": 2, "dropout": 0.1}, "train": file, "dev": "25%"}
    start |= {"tokenizer": tmp_path / "tokenizer", "training": {"log_every": 1, "evaluate_every": 2, "save_every": 2}}
    return {**start, "steps": 4, "batch_size": 8, "threads": 1, "learning_rate": 1e-3}


class Following(bertie.Tracker):
    """Keeps everything, and draws random numbers as a careless callback might."""

    def __init__(self) -> None:
        self.runs: list[TrackedRun] = []
        self.rows: list[tuple[str, int, dict[str, float]]] = []
        self.ends: list[bool] = []

    def begin(self, run: TrackedRun) -> str:
        self.runs.append(run)
        return f"run {len(self.runs)}"

    def log(self, kind: str, step: int, figures: Any) -> None:
        torch.rand(7)
        self.rows.append((kind, step, dict(figures)))
        figures.clear()

    def end(self, *, finished: bool) -> None:
        self.ends.append(finished)


class Failing(bertie.Tracker):
    def __init__(self, method: str) -> None:
        self.calls = 0
        setattr(self, method, self.fail)

    def fail(self, *_: Any, **__: Any) -> str:
        self.calls += 1
        raise OSError("no route to host")


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_it_is_told_everything_and_changes_nothing(given: dict[str, Any], tmp_path: Path) -> None:
    bertie.finetune(**given, out=tmp_path / "plain")
    follower = Following()
    bertie.finetune(**given, out=tmp_path / "followed", callbacks=[follower])
    assert weights(tmp_path / "followed") == weights(tmp_path / "plain")
    (run,) = follower.runs
    assert (run.command, run.step, run.known_as) == ("finetune", 0, "")
    assert run.settings["learning_rate"] == 1e-3 and run.settings["model.size"] == "1/32"
    assert [step for kind, step, _ in follower.rows if kind == "train"] == [1, 2, 3, 4]
    assert {step for kind, step, _ in follower.rows if kind == "dev"} >= {2, 4}
    logged = [json.loads(line) for line in (tmp_path / "followed" / "metrics.jsonl").read_text().splitlines()]
    assert [row["loss"] for row in logged] == [figures["loss"] for _, _, figures in follower.rows]
    assert follower.ends == [True]


@pytest.mark.parametrize("method", ["begin", "log", "end"])
def test_a_failing_one_warns_once(
    method: str, given: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing, follower = Failing(method), Following()
    bertie.finetune(**given, out=tmp_path / "out", callbacks=[failing, follower])
    assert failing.calls == 1 and follower.ends == [True]
    assert capsys.readouterr().err.count("no route to host") == 1
    assert (tmp_path / "out" / "model").is_dir()


def test_resuming_tells_the_step_and_the_name(given: dict[str, Any], tmp_path: Path) -> None:
    class Stopping(Following):
        def log(self, kind: str, step: int, figures: Any) -> None:
            super().log(kind, step, figures)
            if step == 3:
                raise KeyboardInterrupt

    first, second = Stopping(), Following()
    with pytest.raises((KeyboardInterrupt, Interrupted)):
        bertie.finetune(**given, out=tmp_path / "out", callbacks=[first])
    assert first.ends == [False]
    bertie.finetune(**given, out=tmp_path / "out", callbacks=[second], resume=True)
    assert second.runs[0].step == 2
    assert [step for kind, step, _ in second.rows if kind == "train"] == [3, 4]
    bertie.finetune(**given, out=tmp_path / "whole")
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")


def test_what_is_no_tracker(given: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (Following, print, "tensorboard"):
        with pytest.raises(SettingsError, match=r"derives from bertie\.Tracker"):
            bertie.finetune(**given, out=tmp_path / "out", callbacks=[wrong])
    with pytest.raises(SettingsError, match="track"):
        bertie.finetune(**given, out=tmp_path / "out", track=("tensorbord",))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name in choices("trackers"):
        with pytest.raises(SettingsError, match=rf"pip install 'bertie\[{name}\]'"):
            bertie.finetune(**given, out=tmp_path / "out", track=(name,))
    assert not (tmp_path / "out").exists()


def test_the_flag_of_a_program_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["finetune", "m", "--train", "t", "--out", "o", "--track", "tensorbord"]) == 2
    assert "tensorboard" in capsys.readouterr().err


def followed(name: str, folder: Path) -> None:
    """Follow a run that is stopped after step 3 and resumed after step 2."""
    first = tracker(name)
    known = first.begin(TrackedRun(folder, "finetune", {"seed": 1, "text": "a|b\n" * 300}))
    for step in (1, 2, 3):
        first.log("train", step, {"loss": 1.0 / step})
    first.end(finished=False)
    second = tracker(name)
    second.begin(TrackedRun(folder, "finetune", {"seed": 1}, step=2, known_as=known))
    for step in (3, 4):
        second.log("train", step, {"loss": 1.0 / step})
    second.end(finished=True)


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    script = (
        "import sys; sys.path[:0] = [sys.argv[2], sys.argv[3]]\n"
        "from pathlib import Path; from test_tracking import followed; followed('tensorboard', Path(sys.argv[1]))\n"
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
        "found = EventAccumulator(sys.argv[1] + '/tensorboard'); found.Reload()\n"
        "print([event.step for event in found.Scalars('train/loss')])"
    )
    assert run_apart(script, tmp_path) == "[1, 2, 3, 4]"


def test_mlflow(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    script = (
        "import sys; sys.path[:0] = [sys.argv[2], sys.argv[3]]\n"
        "from pathlib import Path; from test_tracking import followed; followed('mlflow', Path(sys.argv[1]))\n"
        "from mlflow import MlflowClient\n"
        "client = MlflowClient(); number = client.get_experiment_by_name('bertie').experiment_id\n"
        "(run,) = client.search_runs([number]); history = client.get_metric_history(run.info.run_id, 'train/loss')\n"
        "print(sorted(each.step for each in history), run.info.status, run.data.params['seed'])"
    )
    assert run_apart(script, tmp_path) == "[1, 2, 3, 4] FINISHED 1"


def test_wandb_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    script = (
        "import sys; sys.path[:0] = [sys.argv[2], sys.argv[3]]\n"
        "from pathlib import Path; from test_tracking import followed; followed('wandb', Path(sys.argv[1]))"
    )
    run_apart(script, tmp_path)
    parts = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert parts and len({part.name.rpartition("-")[2] for part in parts}) == 1


def run_apart(script: str, folder: Path) -> str:
    """Run a script in a process of its own, because these packages warn, start threads and change global state."""
    store = {"MLFLOW_TRACKING_URI": (folder / "mlruns").as_uri(), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    store |= {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    places = [str(folder), str(Path(bertie.__file__).parents[1]), str(Path(__file__).parent)]
    done = subprocess.run(
        [sys.executable, "-c", script, *places],
        env={**os.environ, **store},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().rpartition("\n")[2]
