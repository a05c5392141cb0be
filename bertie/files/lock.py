"""Lock a file or folder with a lock of the operating system, which ends with the process.

POSIX systems have `fcntl`, Windows has `msvcrt`. If neither exists, or if the file system has no locks, `hold` returns
None.
"""

import contextlib
import errno
import os
from importlib import import_module
from types import ModuleType

_UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}
_TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}
_LOCKED_OFFSET = 1 << 30
"""Offset of the byte to lock on Windows: beyond the file's end, because other processes can't read a locked byte."""


def hold(descriptor: int) -> bool | None:
    """Lock an open file or folder, without waiting, until its descriptor is closed or the process ends.

    Returns:
        True: this process holds the lock now. False: another process holds it. None: the system or the file system
        has no locks.

    Raises:
        OSError: the lock failed for another reason.
    """
    posix, windows = _module("fcntl"), _module("msvcrt")
    try:
        if posix is not None:
            posix.flock(descriptor, posix.LOCK_EX | posix.LOCK_NB)
        elif windows is not None:
            _lock_byte(windows, descriptor)
        else:
            return None
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        if error.errno in _UNSUPPORTED:
            return None
        raise
    return True


def is_held(file: str | os.PathLike[str]) -> bool:
    """Tell whether another process holds the lock of a file; false if there is no file, or if locks don't work here."""
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return False
    try:
        return hold(descriptor) is False
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _lock_byte(windows: ModuleType, descriptor: int) -> None:
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _LOCKED_OFFSET, os.SEEK_SET)  # msvcrt locks at the current file offset
    try:
        windows.locking(descriptor, windows.LK_NBLCK, 1)
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)


def _module(name: str) -> ModuleType | None:
    with contextlib.suppress(ImportError):
        return import_module(name)
    return None
