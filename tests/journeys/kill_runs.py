"""Kill pre-training runs at random moments and inside their saves, resume them, and compare with an unbroken run.

Run as a program: ``python tests/journeys/kill_runs.py FOLDER --random 15 --forced 10``; the suite runs a few of them
(test_resume_kill.py). It prints one line a kill and "N of M" at the end. Each run is a process of its own, forked from
one that has loaded torch and computed nothing yet.
"""

import argparse
import contextlib
import importlib
import json
import os
import random
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from bertie.cli import main as run_command
from bertie.training import checkpoint

FLAGS = shlex.split(
    "--model.size 1/32 --steps 16 --stages 32:60%,64:40% --batch-tokens 512 --training.micro-tokens 256 "
    "--training.save-every 4 --training.keep 2 --training.log-every 3 --training.evaluate-every 8 --dev-tokens 500 "
    "--threads 1 --quiet"
)
TOO_LATE = "not broken off: it was finished already"
# Loaded before the forks, so that no run waits for them; torch._dynamo by a custom operator's first call.
LOADED = shlex.split(
    "torch._dynamo bertie.commands.pretrain bertie.corpus.prepare bertie.formats.huggingface bertie.inference.cloze "
    "bertie.inference.evaluate bertie.reports.card bertie.reports.run bertie.training.run"
)
# Call, its number within a save, and when: three files and the manifest's folder, its parent; the name, the old one's.
FORCED = (
    ("write", 0, "inside"),
    ("fsync", 4, "before"),
    ("rename", 0, "after"),
    ("write", 1, "before"),
    ("write", 2, "after"),
    ("fsync", 0, "inside"),
    ("fsync", 3, "after"),
    ("rename", 0, "before"),
    ("rename", 0, "inside"),
    ("rename", 1, "after"),
)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_in_save(save_number: int, name: str, number: int, phase: str) -> None:
    """Have this process killed at one system call of its n-th save."""
    real_save, real_call, seen = checkpoint.save, getattr(os, name), [0, 0]

    def save(*args: Any, **kwargs: Any) -> Path:
        seen[:] = seen[0] + 1, 0
        return real_save(*args, **kwargs)

    def call(*args: Any, **kwargs: Any) -> Any:
        seen[1] += 1
        if seen != [save_number, number + 1]:
            return real_call(*args, **kwargs)
        if phase == "inside" and name == "write":
            real_call(args[0], bytes(args[1])[: len(args[1]) // 2])
            kill()
        if phase == "inside":
            threading.Thread(target=kill).start()
        try:
            if phase != "before":
                real_call(*args, **kwargs)
        finally:
            kill()

    checkpoint.save = save
    setattr(os, name, call)


def signal_in_save(save_number: int, number: int) -> None:
    """Have a signal come while this process is in its n-th save."""
    real_save, seen = checkpoint.save, [0]

    def save(*args: Any, **kwargs: Any) -> Path:
        seen[0] += 1
        if seen[0] == save_number:
            os.kill(os.getpid(), number)
        return real_save(*args, **kwargs)

    checkpoint.save = save
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as on a terminal; a background job ignores it


def start(words: list[str], log: Path, prepare: Callable[[], None] | None = None) -> int:
    """Run a command in a fork and return its process id."""
    child = os.fork()
    if child:
        return child
    code = 1
    with contextlib.suppress(BaseException), log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        if prepare is not None:
            prepare()
        code = run_command(words)
        sys.stdout.flush()
    os._exit(code)


def finish(child: int) -> int:
    """Wait for a process and return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Scene:
    """A folder with a small corpus and the unbroken run of it.

    Args:
        folder: made here.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log.txt"
        folder.mkdir(parents=True)
        draw = random.Random(0)
        words = ["river", "stone", "fox", "hen", "bread", "corn", "tree", "cloud", "road", "house"]
        documents = [
            "\n".join(f"The {' '.join(draw.choices(words, k=draw.randint(3, 9)))}." for _ in range(draw.randint(2, 8)))
            for _ in range(60)
        ]
        text, tokenizer = str(folder / "text.txt"), str(folder / "tokenizer")
        Path(text).write_text("\n\n".join(documents), encoding="utf-8")
        self.corpus = str(folder / "corpus")
        self.expect(["train-tokenizer", text, "--out", tokenizer, "--vocab-size", "80", "--quiet"])
        self.expect(["prepare-corpus", text, "--tokenizer", tokenizer, "--out", self.corpus, "--quiet"])
        self.expect(self.pretrain("first"))  # pays for what the system caches
        started = time.monotonic()
        self.expect(self.pretrain("unbroken"))
        self.seconds = time.monotonic() - started
        self.unbroken = self.result("unbroken")

    def pretrain(self, name: str, *more: str) -> list[str]:
        place = str(self.folder / name)
        return ["pretrain", "--corpus", self.corpus, "--dev", self.corpus, "--out", place, *FLAGS, *more]

    def expect(self, words: list[str]) -> None:
        code = finish(start(words, self.log))
        assert code == 0, f"{words}: exit code {code}\n{self.log.read_text()[-3000:]}"

    def result(self, name: str) -> dict[str, Any]:
        """Return what must be equal: weights, the whole last checkpoint, and every figure that is no time."""
        place = self.folder / name
        last = max((place / "checkpoints").glob("step-????????/tensors-00001.safetensors"))
        lines = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
        for line in lines:
            del line["seconds"]
            line.pop("tokens_per_second", None)
        model = place / "model" / "model.safetensors"
        return {"journal": lines, **{file.stem: sha256(file.read_bytes()).hexdigest() for file in (model, last)}}

    def broken(
        self, name: str, prepare: Callable[[], None] | None, *, delay: float | None = None, ends: int = -signal.SIGKILL
    ) -> str:
        """Start a run, break it off, resume it, and say from which step, and what differs from the unbroken one.

        Args:
            name: of its folder.
            prepare: called in the process before the run; may have it killed later.
            delay: seconds after which it is killed from outside.
            ends: exit code expected of it, negative for a signal.
        """
        child = start(self.pretrain(name, "--resume"), self.log, prepare)
        if delay is not None:
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
        code = finish(child)
        if code != ends:
            return TOO_LATE if code == 0 else f"ended with exit code {code}, not {ends}"
        saved = sorted((self.folder / name).glob("checkpoints/step-????????"))
        place = f"resumed from {saved[-1].name if saved else 'the start'}: "
        code = finish(start(self.pretrain(name, "--resume"), self.log))
        if code != 0:
            return f"{place}exit code {code}"
        found = self.result(name)
        different = [key for key in found if found[key] != self.unbroken[key]]
        return place + (f"other {different}" if different else "equal")


def main() -> int:
    """Kill as often as asked, and return 0 when every run ended like the unbroken one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--random", type=int, default=15)
    parser.add_argument("--forced", type=int, default=len(FORCED))
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for module in LOADED:
        importlib.import_module(module)
    scene, draw = Scene(chosen.folder), random.Random(chosen.seed)
    print(f"unbroken: {scene.unbroken['model'][:16]} in {scene.seconds:.2f} s")
    ends = []

    def tell(what: str, end: str) -> None:
        ends.append(end.endswith(": equal"))
        print(f"{what}, {end}", flush=True)

    for number in range(chosen.random):
        delay, end, attempt = scene.seconds * (number + draw.random()) / chosen.random, TOO_LATE, 0
        while end == TOO_LATE and attempt < 9:  # how long a run takes depends on what else the machine does
            delay, attempt = delay * 0.9, attempt + 1
            end = scene.broken(f"random-{number}-{attempt}", None, delay=delay)
        tell(f"killed after {delay:.2f} s", end)
    for name, number, phase in FORCED[: chosen.forced]:
        save_number = draw.randint(3, 4)  # the first that has an old one to remove, and the last of the run
        prepare = partial(kill_in_save, save_number, name, number, phase)
        tell(f"killed {phase} {name} {number} of save {save_number}", scene.broken(f"{name}-{number}-{phase}", prepare))
    for number in (signal.SIGTERM, signal.SIGINT):
        prepare = partial(signal_in_save, 2, number)
        tell(f"{number.name} in save 2", scene.broken(number.name, prepare, ends=5))
    scene.expect(scene.pretrain("unbroken", "--resume"))
    assert scene.result("unbroken") == scene.unbroken, "resuming a finished run changed it"
    print(f"{sum(ends)} of {len(ends)}")
    return 0 if all(ends) else 1


if __name__ == "__main__":
    sys.exit(main())
