"""One holder at a time, on systems with fcntl, with msvcrt and with neither."""

import errno
import fcntl
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bertie.files.lock import hold


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)  # importing it then raises ImportError


def windows() -> ModuleType:
    """Return what locks a byte as msvcrt does, over the locks of this system."""
    module = ModuleType("msvcrt")
    taken: set[tuple[int, int]] = set()

    def locking(descriptor: int, mode: int, count: int) -> None:
        assert (mode, count) == (2, 1)
        place = (os.fstat(descriptor).st_ino, os.lseek(descriptor, 0, os.SEEK_CUR))
        if place in taken:
            raise PermissionError(errno.EACCES, "Permission denied")
        taken.add(place)

    vars(module).update(LK_NBLCK=2, locking=locking)
    return module


@pytest.mark.parametrize("system", ["posix", "windows"])
def test_one_holder_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    if system == "windows":
        without(monkeypatch, "fcntl")
        monkeypatch.setitem(sys.modules, "msvcrt", windows())
    with (tmp_path / "a").open("a+") as first, (tmp_path / "a").open("a+") as second:
        first.write("12345")
        first.flush()
        assert (hold(first.fileno()), hold(second.fileno())) == (True, False)
        assert second.seek(0) == 0 and second.read() == "12345"  # locked, and still to be read


def test_no_locks_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "fcntl", "msvcrt")
    with (tmp_path / "a").open("w") as file:
        assert hold(file.fileno()) is None


@pytest.mark.parametrize(("number", "answer"), [(errno.ENOLCK, None), (errno.EBADF, None), (errno.EAGAIN, False)])
def test_what_a_file_system_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, answer: bool | None
) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "a").open("w") as file:
        assert hold(file.fileno()) is answer


def test_other_troubles_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, how: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (tmp_path / "a").open("w") as file, pytest.raises(OSError, match="I/O error"):
        hold(file.fileno())
