"""A machine that is killed with kill -9 loses the steps since its last checkpoint, and leaves no half artefact."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bertie.storage.mark import MARK

DRIVER = Path(__file__).with_name("disk_store.py")
SHAPE = ["--batch-tokens", "256", "--threads", "1", "--model.size", "1/32", "--model.num-heads", "2"]


class Machine:
    """Runs commands in processes of their own, with an empty cache each: every command is on a new machine."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "store"
        self.store.mkdir()
        self._count = 0

    def _begin(self, *words: str, seconds: float) -> "subprocess.Popen[str]":
        self._count += 1
        environment = {
            **os.environ,
            "BERTIE_CACHE": str(self.folder / f"cache-{self._count}"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        command = [sys.executable, str(DRIVER), str(self.store), str(seconds), *words]
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words: str, code: int = 0) -> str:
        """Run a command and return what it printed."""
        process = self._begin(*words, seconds=0.0)
        output, errors = process.communicate(timeout=200)
        assert process.returncode == code, output + errors
        return output + errors

    def kill(self, *words: str, seconds: float, ready: Callable[[], object]) -> None:
        """Kill a command as soon as `ready` says so."""
        process = self._begin(*words, seconds=seconds)
        try:
            until = time.monotonic() + 100
            while not ready():
                assert process.poll() is None, "it ended before it was killed"
                assert time.monotonic() < until, "nothing happened"
                time.sleep(0.01)
        finally:
            process.kill()
            process.communicate()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.slow
def test_killed_during_an_upload(machine: Machine, prepare_sentences: Callable[..., Path]) -> None:
    corpus = prepare_sentences(("cat", "dog", "sat"), count=30, lengths=(3, 6), document=6)
    source = corpus.parent
    words = ["prepare-corpus", str(source / "text.txt"), "--tokenizer", str(source / "tokenizer"), "--processes", "1"]
    words += ["--out", "memory://b/corpus", "--sentences", "line"]
    folder = machine.store / "b" / "corpus"
    machine.kill(*words, seconds=1.5, ready=lambda: (folder / "tokens.bin").exists())
    assert not (folder / "manifest.json").exists()
    shown = machine.run("pretrain", "--corpus", "memory://b/corpus", "--out", "memory://b/run", "--steps", "2", code=3)
    assert "memory://b/corpus is incomplete" in shown and "missing are manifest.json" in shown
    assert "is replaced" in machine.run(*words)
    assert (folder / "tokens.bin").read_bytes() == (corpus / "tokens.bin").read_bytes()
    words = ["pretrain", "--corpus", "memory://b/corpus", "--out", "memory://b/run", "--steps", "2", *SHAPE]
    machine.run(*words)


@pytest.mark.slow
def test_killed_while_it_trains(machine: Machine, prepare_sentences: Callable[..., Path]) -> None:
    corpus = prepare_sentences(("cat", "dog", "sat"), count=120, lengths=(3, 6), document=6)
    words = ["pretrain", "--corpus", str(corpus), "--steps", "1500", "--training.save-every", "50", *SHAPE]
    machine.run(*words, "--out", "memory://b/whole")
    folder = machine.store / "b" / "run"

    def has_checkpoint() -> bool:
        mark = folder / MARK
        return mark.exists() and "checkpoints/" in "".join(json.loads(mark.read_bytes())["files"])

    machine.kill(*words, "--out", "memory://b/run", seconds=0.02, ready=has_checkpoint)
    assert "resume it with --resume" in machine.run(*words, "--out", "memory://b/run", code=2)
    machine.run(*words, "--out", "memory://b/run", "--resume")
    weights = [machine.store / "b" / name / "model" / "model.safetensors" for name in ("whole", "run")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert json.loads((folder / MARK).read_bytes())["complete"]
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
    assert not list(folder.glob("checkpoints/*/*"))
