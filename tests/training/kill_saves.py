"""Kill a process at every system call by which a checkpoint is saved or loaded, and look at what it left.

Run as a program by test_checkpoint_crash.py: SCENARIO FOLDER. It prints one JSON object. Each kill happens to a fork,
so that torch is loaded once.
"""

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bertie.training import checkpoint

CALLS = ("mkdir", "open", "write", "fsync", "rename", "unlink", "rmdir")
PHASES = ("before", "inside", "after")


def content(step: int) -> dict[str, torch.Tensor]:
    return {"a": torch.arange(200) * step, "b": torch.full((30, 5), float(step)), "c": torch.tensor(step)}


def save(folder: Path, step: int) -> None:
    checkpoint.save(folder, step=step, tensors=content(step), state={"tokens": step * 10}, keep=2)


def check(folder: Path, allowed: tuple[int, ...]) -> int:
    """Load, compare with what was saved, and return the step."""
    found = checkpoint.load_newest(folder)
    assert found is not None and found.step in allowed, f"found {found and found.step}, not one of {allowed}"
    expected = content(found.step)
    assert found.tensors.keys() == expected.keys() and found.state == {"tokens": found.step * 10}
    assert all(torch.equal(found.tensors[name], expected[name]) for name in expected)
    return found.step


class Calls:
    """Counts the calls, and kills this process at one of them."""

    def __init__(self, number: int | None = None, phase: str = "") -> None:
        self.number, self.phase, self.seen = number, phase, []  # type: int | None, str, list[str]
        self.real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in CALLS}
        for name in CALLS:
            setattr(os, name, self._wrap(name))

    def _wrap(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.seen.append(name)
            if len(self.seen) - 1 != self.number:
                return self.real[name](*args, **kwargs)
            if self.phase == "inside" and name == "write":
                self.real[name](args[0], bytes(args[1])[: len(args[1]) // 2])
                kill()
            if self.phase == "inside":
                threading.Thread(target=kill).start()
            try:
                if self.phase != "before":
                    self.real[name](*args, **kwargs)
            finally:
                kill()

        return call

    def undo(self) -> list[str]:
        for name, function in self.real.items():
            setattr(os, name, function)
        return self.seen


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def prepare_save(folder: Path) -> None:
    save(folder, 10)
    save(folder, 20)
    shutil.copytree(folder / "step-00000010", folder / "step-00000015.damaged")


def prepare_load(folder: Path) -> None:
    prepare_save(folder)
    save(folder, 30)
    (folder / "step-00000030" / "state.json").write_text("{}")
    shutil.copytree(folder / "step-00000020", folder / "step-00000040.partial-abcd")


def main(scenario: str, folder: Path) -> None:
    prepare, act, allowed = {
        "save": (prepare_save, lambda place: save(place, 30), (20, 30)),
        "load": (prepare_load, lambda place: checkpoint.load_newest(place), (20,)),
    }[scenario]
    torch.set_num_threads(1)
    checkpoint._PART_BYTES = 1000  # two files
    prepare(folder / "base")
    shutil.copytree(folder / "base", folder / "whole")
    calls = Calls()
    act(folder / "whole")
    names = calls.undo()
    report: dict[str, Any] = {"calls": names, "kills": 0, "steps": {}}
    for number in range(len(names)):
        for phase in PHASES:
            place = folder / f"{number}-{phase}"
            shutil.copytree(folder / "base", place)
            child = os.fork()
            if child == 0:
                Calls(number, phase)
                act(place)
                os._exit(0)
            report["kills"] += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            step = check(place, allowed)
            report["steps"][f"{number} {phase} {names[number]}"] = step
            save(place, step + 10)
            check(place, (step + 10,))
            left = sorted(entry.name for entry in place.iterdir())
            assert left == [f"step-{kept:08d}" for kept in (step, step + 10)], f"{number} {phase}: {left}"
            shutil.rmtree(place)
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
