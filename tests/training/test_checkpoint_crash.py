"""Checkpoints survive kill -9 at every system call, a full disk at every write, and are ordered for a power cut."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bertie.errors import ResourceError
from bertie.training import checkpoint

DRIVER = Path(__file__).with_name("kill_saves.py")


def save(folder: Path, step: int) -> None:
    tensors = {"a": torch.full((300,), float(step)), "b": torch.arange(1000)}
    checkpoint.save(folder, step=step, tensors=tensors, state={"at": step})


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("scenario", ["save", "load"])
def test_killed_at_every_call(tmp_path: Path, scenario: str) -> None:
    command = [sys.executable, str(DRIVER), scenario, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    calls = report["calls"]
    assert report["kills"] == len(report["steps"]) == 3 * len(calls)
    if scenario == "load":
        assert {"rename", "unlink", "rmdir"} <= set(calls)
        return
    # three files, the manifest, their folder, and the folder around it
    assert (calls.count("write"), calls.count("fsync")) == (4, 6)
    commit = calls.index("rename")
    for name, step in report["steps"].items():
        number, phase, _ = name.split()
        if (int(number), phase) == (commit, "inside"):
            continue  # either will do
        committed = int(number) > commit or (int(number), phase) == (commit, "after")
        assert step == (30 if committed else 20), name


def test_order_for_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (10, 20):
        save(tmp_path, step)
    trace: list[tuple[str, str]] = []

    def traced(name: str, place: Callable[..., str]) -> None:
        real = getattr(os, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            trace.append((name, place(args[0]).replace(str(tmp_path), "")))
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, call)

    for name in ("write", "fsync"):
        traced(name, lambda descriptor: str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    for name in ("rename", "unlink", "rmdir"):
        traced(name, str)
    save(tmp_path, 30)
    monkeypatch.undo()

    commit = next(at for at, (name, _) in enumerate(trace) if name == "rename")
    before, after = trace[:commit], trace[commit + 1 :]
    partial = trace[commit][1]
    last_write = max(at for at, (name, _) in enumerate(before) if name == "write")
    synced = {place for name, place in before[last_write + 1 :] if name == "fsync"}
    expected = {f"{partial}/{name}" for name in ("tensors-00001.safetensors", "state.json", "MANIFEST.json")}
    assert synced == expected | {partial}
    assert {place for name, place in before if name == "write"} == expected
    assert after[0] == ("fsync", "")  # the folder around it: the new name is on disk before anything old goes
    assert {name for name, _ in after[1:]} == {"rename", "unlink", "rmdir"}
    assert after[1] == ("rename", "/step-00000010")


@pytest.mark.parametrize(
    ("call", "least"), [("mkdir", 1), ("open", 5), ("write", 12), ("fsync", 5), ("rename", 1), ("unlink", 0)]
)
def test_full_disk_at_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, least: int) -> None:
    monkeypatch.setattr(checkpoint, "_WRITE_BYTES", 1000)
    base = tmp_path / "base"
    save(base, 10)
    save(base, 20)
    refused = 0
    for number in range(100):
        folder, seen, real = tmp_path / f"{number}", 0, getattr(os, call)
        shutil.copytree(base, folder)

        def full(*args: Any, real: Callable[..., Any] = real, number: int = number, **kwargs: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen - 1 == number:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, full)
            try:
                save(folder, 30)
                assert (folder / "step-00000030").exists()
            except ResourceError as error:
                assert "No space left on device; free some space" in str(error)
                refused += 1
        step = 30 if (folder / "step-00000030").exists() else 20
        assert step == 30 or names(folder) == names(base)
        assert (found := checkpoint.load_newest(folder)) and (found.step, found.state) == (step, {"at": step})
        save(folder, step + 10)
        assert (found := checkpoint.load_newest(folder)) and found.step == step + 10
        if seen <= number:
            break
    assert refused >= least


def test_limit_of_the_system(tmp_path: Path) -> None:
    save(tmp_path, 10)
    before, limits = names(tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        with pytest.raises(ResourceError, match=r"step-00000020: File too large; free some space"):
            save(tmp_path, 20)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(tmp_path) == before


def test_free_space_is_looked_at_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 300 * 4 + 1000 * 8
    for free, works in ((needed, False), (needed * 1.2 - 1, False), (needed * 1.2, True)):
        monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda place, free=free: type("", (), {"free": free}))
        if works:
            save(tmp_path / "deep" / "checkpoints", 10)
        else:
            with pytest.raises(ResourceError, match=r"needs 0 MB of free disk space.* lower --training\.keep"):
                save(tmp_path / "deep" / "checkpoints", 10)
            assert names(tmp_path) == []
