"""Whether a file or folder is ours alone: a lock of the system's, which ends with the process that holds it.

POSIX systems have `fcntl`, Windows has `msvcrt`. Where neither exists, or the file system has no
locks, `hold` says that it can't tell.
"""

import contextlib
import errno
import os
from importlib import import_module
from types import ModuleType

_UNSUPPORTED = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF}
_TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}
_PLACE = 1 << 30
"""The byte that Windows locks: beyond what the file holds, because other processes can't read a locked one."""


def hold(descriptor: int) -> bool | None:
    """Lock an open file or folder, without waiting, until its descriptor is closed or the process ends.

    Returns:
        True: it is ours now. False: another process holds it. None: there are no locks here.

    Raises:
        OSError: anything else went wrong.
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


def _lock_byte(windows: ModuleType, descriptor: int) -> None:
    before = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _PLACE, os.SEEK_SET)  # msvcrt locks from where the file stands
    try:
        windows.locking(descriptor, windows.LK_NBLCK, 1)
    finally:
        os.lseek(descriptor, before, os.SEEK_SET)


def _module(name: str) -> ModuleType | None:
    with contextlib.suppress(ImportError):
        return import_module(name)
    return None
