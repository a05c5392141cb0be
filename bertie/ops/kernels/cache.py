"""The cache folder of built kernels, used only if no other user could have written to it.

A library is code that runs as the user. So every folder and link on the way to it must belong to the user or to root,
and no other user may be able to write to it. Then no other user can replace a library between its check and its use.
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

EVERYONE = "every user"
_MAX_LINKS = 40
_MAX_BYTES = 64 << 20
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_WAIT_SECONDS = 900.0


def folder() -> tuple[Path, bool]:
    """Return the cache folder and True, or a temporary folder for this process and False."""
    path, reason = place()
    if path is not None and not reason:
        return path, True
    progress.note(f"C++ kernels are checked again in every process: {reason}; set XDG_CACHE_HOME to another folder")
    return Path(tempfile.mkdtemp(prefix="bertie-kernels-")), False


def place() -> tuple[Path | None, str]:
    """Create the cache folder if necessary.

    Returns:
        The folder, None if the user has no home; and why it can't be used, empty if it can.
    """
    base, path = os.environ.get("XDG_CACHE_HOME"), None
    try:
        path = ((Path(base) if base else Path.home() / ".cache") / "bertie" / "kernels").absolute()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = distrust(path) or ("" if os.access(path, os.W_OK) else f"{path} can't be written")
    except (OSError, RuntimeError) as error:
        reason = str(error)
    return path, reason


def distrust(path: Path) -> str | None:
    """Return why another user could change the files of a folder; None if only the user and root can."""
    for step in _steps(path):
        facts = step.lstat()
        if facts.st_uid not in (0, os.getuid()):
            return f"{step} belongs to another user"
        if stat.S_ISLNK(facts.st_mode):
            continue
        if not stat.S_ISDIR(facts.st_mode):
            return f"{step} is not a folder"
        # In a folder with the sticky bit, other users may add files but not replace ours.
        others = facts.st_mode & stat.S_IWOTH or (facts.st_mode & stat.S_IWGRP and not _is_private(facts.st_gid))
        if others and (step == path or not facts.st_mode & stat.S_ISVTX):
            return f"other users may write in {step}"
    return None


def writers(path: Path) -> set[str]:
    """Return who may change a file or replace it in its folder, except the user, root and groups of the user alone.

    Raises:
        OSError: it doesn't exist or can't be examined.
    """
    found = set()
    for facts in (path.stat(), path.parent.stat()):
        if facts.st_uid not in (0, os.getuid()):
            found.add(f"user {facts.st_uid}")
        if facts.st_mode & stat.S_IWGRP and not _is_private(facts.st_gid):
            found.add(f"group {facts.st_gid}")
        if facts.st_mode & stat.S_IWOTH:
            found.add(EVERYONE)
    return found


def _steps(path: Path) -> Iterator[Path]:
    """Yield every folder and every link that the system passes when it looks up a path."""
    passed, remaining, links = Path(path.anchor), list(reversed(path.parts[1:])), 0
    yield passed
    while remaining:
        name = remaining.pop()
        if name == "..":
            passed = passed.parent
            continue
        step = passed / name
        yield step
        if not step.is_symlink():
            passed = step
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(f"{path} goes through more than {_MAX_LINKS} links")
        target = step.readlink()
        if target.is_absolute():
            passed = Path(target.anchor)
        remaining += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _is_private(group: int) -> bool:
    """Return whether a group has the user as its only member; many systems create such a group for each user."""
    try:
        import grp
        import pwd

        user, entry = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except (ImportError, KeyError):
        return False
    return user.pw_gid == group and entry.gr_name == user.pw_name and set(entry.gr_mem) <= {user.pw_name}


def open_own(path: Path) -> int:
    """Open a file for reading and return its descriptor, which refers to the checked file even if it is replaced.

    Raises:
        OSError: it doesn't exist, is not a plain file, belongs to another user, or others may write to it.
    """
    descriptor = os.open(path, _OPEN | getattr(os, "O_NONBLOCK", 0))
    facts = os.fstat(descriptor)
    private = facts.st_uid == os.getuid() and not facts.st_mode & 0o022
    if stat.S_ISREG(facts.st_mode) and private and facts.st_size <= _MAX_BYTES:
        return descriptor
    os.close(descriptor)
    raise PermissionError(f"{path} is not a plain file that only this user can write")


def content(descriptor: int) -> bytes:
    """Return the whole content of an open file."""
    with os.fdopen(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return file.read()


def digest(data: bytes) -> str:
    """Return the SHA-256 of data in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


Outcome = Literal["proven", "failed", "lacking", "unusable"]


@dataclass(frozen=True)
class Verdict:
    """The result of building and checking a library."""

    outcome: Outcome
    """`proven`, `failed`, `lacking` if the compiler can't build it, or `unusable` if the package's file can't be used.

    `lacking` is tried again after a day. `unusable` isn't kept, because installing the package again repairs it.
    """
    text: str
    """The hash of a proven library, else the failure, as a clause."""
    fresh: bool = True
    """Whether this process reached it, instead of reading it from the cache."""

    def is_news(self) -> bool:
        """Return whether to warn the user: of a failed build only when it happens, of the rest always."""
        return self.outcome in ("failed", "unusable") or (self.outcome == "lacking" and self.fresh)


_DAY = 24 * 3600.0


def read_verdict(path: Path) -> Verdict | None:
    """Read a verdict; return None if there is no valid one."""
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
    """Write a verdict atomically; if that fails, the next process checks the library again."""
    with suppress(OSError):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".verdict-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{verdict.outcome}\n{verdict.text}\n")
        Path(name).replace(path)


def clear_stale(path: Path) -> None:
    """Remove temporary files of builds that were killed more than a day ago."""
    for stale in (*path.glob(".build-*"), *path.glob(".verdict-*")):
        with suppress(OSError):
            if time.time() - stale.lstat().st_mtime < _DAY:
                continue
            if stale.is_dir() and not stale.is_symlink():
                shutil.rmtree(stale, ignore_errors=True)
            else:
                stale.unlink()


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one process at a time build in a folder. On systems without locks several processes do the same work."""
    try:
        import fcntl

        flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        descriptor = os.open(path / ".lock", flags, 0o600)
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
