"""Several processes under torchrun train the model of one process, also after one of them was killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from bertie.training.journal import read

COMMON = ["--device", "cpu", "--threads", "1", "--precision", "fp32", "--training.log-every", "1", "--seed", "3"]
PRETRAIN = [
    *[
        "pretrain",
        "text.txt",
        "--vocab-size",
        "300",
        "--model.size",
        "tiny",
        "--model.dropout",
        "0.1",
        "--batch-tokens",
        "256",
    ],
    *["--length", "64", "--steps", "12", "--training.save-every", "3"],
]


def command(*words: str, out: str, processes: int = 1) -> list[str]:
    launch = ["-m", "torch.distributed.run", "--standalone", "--max-restarts", "2", "--nproc-per-node", str(processes)]
    return [sys.executable, *(launch if processes > 1 else []), "-m", "bertie", *words, *COMMON, "--out", out]


def run(folder: Path, *words: str, out: str, processes: int = 1) -> Path:
    done = subprocess.run(
        command(*words, out=out, processes=processes), cwd=folder, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return folder / out


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def assert_same(first: Path, second: Path) -> None:
    for one, other in zip(read(first / "metrics.jsonl"), read(second / "metrics.jsonl"), strict=True):
        assert other["step"] == one["step"] and other["tokens"] == one["tokens"]
        if "loss" in one:
            assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
    weights = load_file(first / "model" / "model.safetensors")
    for name, value in load_file(second / "model" / "model.safetensors").items():
        assert (value - weights[name]).abs().max() < 1e-5, name


@pytest.fixture(scope="session")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with texts, and the runs of one process in it."""
    folder = tmp_path_factory.mktemp("parallel")
    draw = random.Random(1)
    words = ["".join(draw.choices("abcdefgh", k=draw.randint(2, 6))) for _ in range(200)]
    lines = [" ".join(draw.choices(words, k=draw.randint(4, 20))) + "." for _ in range(600)]
    (folder / "text.txt").write_text("\n\n".join("\n".join(lines[at : at + 5]) for at in range(0, 600, 5)))
    rows = [f"{' '.join(draw.choices(words, k=6))},{draw.choice('ab')}\n" for _ in range(9)]
    (folder / "train.csv").write_text("text,label\n" + "".join(rows))
    run(folder, *PRETRAIN, out="one")
    return folder


def begin(folder: Path, out: str, processes: int) -> "subprocess.Popen[bytes]":
    """Start a run of several processes, and return after some of its steps."""
    torchrun = subprocess.Popen(
        command(*PRETRAIN, out=out, processes=processes), cwd=folder, env=environment(), stderr=subprocess.DEVNULL
    )
    while torchrun.poll() is None and not any(row["step"] >= 4 for row in read(folder / out / "metrics.jsonl")):
        time.sleep(0.01)
    return torchrun


def test_a_killed_process_is_started_again_and_the_model_is_that_of_one_process(lone: Path) -> None:
    with begin(lone, "two", 2) as torchrun:
        os.kill(int((lone / "two" / ".lock").read_text()), signal.SIGKILL)
        assert torchrun.wait() == 0
    assert_same(lone / "one", lone / "two")


def test_one_process_continues_what_two_began(lone: Path) -> None:
    with begin(lone, "fewer", 2) as torchrun:
        torchrun.terminate()
        assert torchrun.wait() != 0
    assert_same(lone / "one", run(lone, *PRETRAIN, "--resume", out="fewer"))


def test_a_last_batch_of_one_item_leaves_a_process_without_work(lone: Path) -> None:
    words = [
        "finetune",
        "one/model",
        "--train",
        "train.csv",
        "--dev",
        "train.csv",
        "--epochs",
        "2",
        "--batch-size",
        "4",
        "--learning-rate",
        "1e-3",
    ]
    assert_same(run(lone, *words, out="tuned"), run(lone, *words, out="tuned_together", processes=2))
