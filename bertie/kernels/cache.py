"""The cache folder of built kernels, used only where no other user could have written to it.

A library is code that runs as the user, so every folder and link on the way to it must belong to the user or to root
and be writable to no other user. Then no other user can replace a library between its check and its use.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bertie import progress

_MAX_LINKS = 40
_MAX_BYTES = 64 << 20
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_WAIT_SECONDS = 900.0


def folder() -> tuple[Path, bool]:
    """Return the user's folder of kernels, or one for this process alone; and whether it lasts."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        place = ((Path(base) if base else Path.home() / ".cache") / "bertie" / "kernels").absolute()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = distrust(place)
        if reason is None and os.access(place, os.W_OK):
            return place, True
        reason = reason or f"{place} can't be written"
    except (OSError, RuntimeError) as error:
        reason = str(error)
    progress.note(f"C++ kernels are built for this process alone, as {reason}; XDG_CACHE_HOME may name another folder")
    return Path(tempfile.mkdtemp(prefix="bertie-kernels-")), False


def distrust(place: Path) -> str | None:
    """Say why another user could change the files of a folder; None when only the user and root can."""
    for passed in _on_the_way(place):
        facts = passed.lstat()
        if facts.st_uid not in (0, os.getuid()):
            return f"{passed} belongs to another user"
        if stat.S_ISLNK(facts.st_mode):
            continue
        if not stat.S_ISDIR(facts.st_mode):
            return f"{passed} is not a folder"
        # Where the sticky bit is set, others may add names but not replace ours.
        others = facts.st_mode & stat.S_IWOTH or (facts.st_mode & stat.S_IWGRP and not _is_private(facts.st_gid))
        if others and (passed == place or not facts.st_mode & stat.S_ISVTX):
            return f"other users may write in {passed}"
    return None


def _on_the_way(place: Path) -> Iterator[Path]:
    """Yield every folder and every link that looking a path up goes through."""
    done, left, links = Path(place.anchor), list(reversed(place.parts[1:])), 0
    yield done
    while left:
        name = left.pop()
        if name == "..":
            done = done.parent
            continue
        step = done / name
        yield step
        if not step.is_symlink():
            done = step
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(f"{place} goes through more than {_MAX_LINKS} links")
        target = step.readlink()
        if target.is_absolute():
            done = Path(target.anchor)
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _is_private(group: int) -> bool:
    """Tell whether a group is the user's alone, as many systems make one for each user."""
    try:
        import grp
        import pwd

        user, entry = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except (ImportError, KeyError):
        return False
    return user.pw_gid == group and entry.gr_name == user.pw_name and set(entry.gr_mem) <= {user.pw_name}


def open_own(path: Path) -> int:
    """Open a file for reading by a descriptor, which keeps standing for what was checked.

    Raises:
        OSError: it isn't there, is no plain file, or not the user's alone.
    """
    descriptor = os.open(path, _OPEN | getattr(os, "O_NONBLOCK", 0))
    facts = os.fstat(descriptor)
    private = facts.st_uid == os.getuid() and not facts.st_mode & 0o022
    if stat.S_ISREG(facts.st_mode) and private and facts.st_size <= _MAX_BYTES:
        return descriptor
    os.close(descriptor)
    raise PermissionError(f"{path} is not a plain file of this user's own")


def content(descriptor: int) -> bytes:
    """Read an open file from its beginning."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return file.read()


def digest(data: bytes) -> str:
    """Hash what a file holds."""
    return hashlib.sha256(data).hexdigest()


Outcome = Literal["proven", "failed", "lacking"]


@dataclass(frozen=True)
class Verdict:
    """What is known of a library."""

    outcome: Outcome
    """`lacking`: the compiler can't build it, which is tried again after a day."""
    text: str
    """The library's hash when it is proven, else what happened, as a clause."""
    fresh: bool = True
    """Whether it was reached by this process."""

    def is_news(self) -> bool:
        """Tell whether a user should hear of it: what the compiler can't build only when that is found out."""
        return self.outcome == "failed" or (self.outcome == "lacking" and self.fresh)


_DAY = 24 * 3600.0


def read_verdict(path: Path) -> Verdict | None:
    """Read a verdict; None where there is none to rely on."""
    try:
        descriptor = open_own(path)
        try:
            age = time.time() - os.fstat(descriptor).st_mtime
            outcome, _, text = content(descriptor).decode("utf-8").partition("\n")
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        return None
    for known in ("proven", "failed", "lacking"):
        if outcome == known and (known != "lacking" or age < _DAY):
            return Verdict(known, text.strip(), fresh=False)
    return None


def write_verdict(path: Path, verdict: Verdict) -> None:
    """Keep a verdict, whole or not at all; without room for it the next process proves the library again."""
    with suppress(OSError):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".verdict-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{verdict.outcome}\n{verdict.text}\n")
        Path(name).replace(path)


def clear_stale(place: Path) -> None:
    """Remove what builds that were killed more than a day ago have left."""
    for left in (*place.glob(".build-*"), *place.glob(".verdict-*")):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime < _DAY:
                continue
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink()


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Let one process at a time build in a folder, where the system has locks; where not, several do the same work."""
    try:
        import fcntl

        flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(place / ".lock", flags, 0o600)
    except (ImportError, OSError):
        yield
        return
    try:
        until = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < until:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
            except OSError:
                break  # a file system without locks
        yield
    finally:
        os.close(descriptor)
