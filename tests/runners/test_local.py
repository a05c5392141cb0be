"""Several processes give the results of one, in order; errors and killed processes reach the user; nobody is left."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bertie.errors import DataError, ResourceError, SettingsError
from bertie.runners.local import available_processes, run


@dataclass(frozen=True)
class Square:
    """Work that fails, or dies, at one item."""

    fail_at: int = -1
    die_at: int = -1

    def __call__(self, item: int) -> int:
        if item == self.fail_at:
            raise DataError(f"item {item} is broken")
        if item == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return item * item


@dataclass(frozen=True)
class Where:
    """Work that tells which process does it, and that takes longer the earlier the item."""

    def __call__(self, item: int) -> tuple[int, int, str]:
        time.sleep(0.05 if item == 0 else 0)
        return item, os.getpid(), os.environ.get("TOKENIZERS_PARALLELISM", "")


@pytest.mark.parametrize("num_processes", [1, 2])
def test_results_in_order(num_processes: int) -> None:
    assert list(run(Square(), range(50), num_processes=num_processes)) == [item * item for item in range(50)]
    assert list(run(Square(), [], num_processes=num_processes)) == []


def test_one_process_is_this_one_and_several_are_others() -> None:
    assert {process for _, process, _ in run(Where(), range(3), num_processes=1)} == {os.getpid()}
    results = list(run(Where(), range(20), num_processes=2))
    assert [item for item, _, _ in results] == list(range(20))
    assert os.getpid() not in {process for _, process, _ in results}
    assert {parallelism for _, _, parallelism in results} == {"false"}


def test_items_in_flight_are_bounded() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    for number, _ in enumerate(run(Square(), items(), num_processes=2)):
        assert len(taken) <= number + 7


@pytest.mark.parametrize("num_processes", [1, 2])
def test_errors_reach_the_user(num_processes: int) -> None:
    results = run(Square(fail_at=20), range(50), num_processes=num_processes)
    with pytest.raises(DataError, match=r"^item 20 is broken$"):
        list(results)

    def items() -> Iterator[int]:
        yield 1
        raise DataError("the file ends too early")

    with pytest.raises(DataError, match="the file ends too early"):
        list(run(Square(), items(), num_processes=num_processes))


def test_a_killed_process_is_an_error() -> None:
    with pytest.raises(ResourceError, match=r"one of 2 processes was killed.*memory.*--processes 1"):
        list(run(Square(die_at=10), range(50), num_processes=2))


def test_too_few_processes() -> None:
    with pytest.raises(SettingsError, match="--processes must be at least 1; got 0"):
        list(run(Square(), range(3), num_processes=0))
    assert available_processes() >= 1


def test_a_system_that_ties_no_process_to_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert available_processes() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_processes() == 1


def start_script(folder: Path, body: str) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(body))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment)


def test_a_script_without_guard_runs_once(tmp_path: Path) -> None:
    body = """
        import operator
        from bertie.runners.local import run
        print("begun")
        print(list(run(operator.neg, range(5), num_processes=2)))
    """
    with start_script(tmp_path, body) as script:
        output, _ = script.communicate(timeout=60)
    assert script.returncode == 0
    assert output == "begun\n[0, -1, -2, -3, -4]\n"


def test_processes_end_with_their_parent(tmp_path: Path) -> None:
    body = """
        import time
        from bertie.runners.local import run
        results = run(time.sleep, [0.0] * 8 + [600.0] * 2, num_processes=2)
        for _ in range(4):
            next(results)
        import multiprocessing
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        time.sleep(600)
    """
    with start_script(tmp_path, body) as script:
        assert script.stdout is not None
        processes = [int(number) for number in script.stdout.readline().split()]
        assert len(processes) == 2
        assert all(Path(f"/proc/{process}").exists() for process in processes)
        script.kill()
    deadline = time.monotonic() + 20
    while any(is_running(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(is_running(process) for process in processes)


def is_running(process: int) -> bool:
    """Tell a living process from one that has ended, whether or not anybody has asked for its exit code."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
