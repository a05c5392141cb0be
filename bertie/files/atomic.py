"""Write files and folders that appear whole or not at all: temporary name, fsync, rename.

A reader sees the old content, the new content or nothing, also after a crash or a power cut. Not for files that grow
while others read them, such as a journal.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bertie.errors import ResourceError, SettingsError

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}


def write_text(path: str | Path, text: str) -> None:
    r"""Write a UTF-8 text file whole or not at all, replacing an older one; ``\n`` stays ``\n`` on every system.

    Args:
        path: the file; missing parent folders are made.
        text: its new content.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the place can't be written to.
    """
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file whole or not at all, replacing an older one.

    Args:
        path: the file; missing parent folders are made.
        content: its new content.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the place can't be written to.
    """
    path = Path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial_name(path)
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except BaseException:
            # Also on Ctrl-C: nothing half-written is left behind. The first error is the one to report.
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        _fsync_folder(path.parent)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Fill a new folder that appears under its name only when everything in it is safely on disk.

    Args:
        path: the folder to make; it must not exist. Missing parent folders are made.

    Yields:
        A temporary folder beside it, on the same file system, to write into. When the context ends well, its files
        are fsynced and it is renamed; when anything is raised, it is removed.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the folder exists already, or can't be made there.
    """
    path = Path(path)
    with disk_errors(path):
        _must_not_exist(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial_name(path)
        partial.mkdir()
        try:
            yield partial
            _fsync_tree(partial)
            # Somebody else may have made it meanwhile; a rename would then fail or, on an empty folder, replace it.
            _must_not_exist(path)
            partial.rename(path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        _fsync_folder(path.parent)


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turn the system's refusals to write into errors that name the file and say what to do.

    Args:
        path: what is being written.

    Raises:
        ResourceError: the disk, or the user's share of it, is full.
        SettingsError: no permission, a read-only disk, or a name that can't be.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL_DISK:
            reason = error.strerror or "disk full"
            raise ResourceError(f"can't write {path}: {reason}; free some space or write to another disk") from error
        if error.errno in _REFUSED:
            raise SettingsError(f"can't write {path}: {error.strerror}; choose another place") from error
        raise


def _must_not_exist(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise SettingsError(f"{path} exists already; remove it or choose another name")


def _partial_name(path: Path) -> Path:
    # Not hidden: after a power cut the user should see what takes the space.
    return path.with_name(f"{path.name}.partial-{secrets.token_hex(4)}")


def _fsync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            with (Path(parent) / name).open("rb") as file:
                os.fsync(file.fileno())
        _fsync_folder(Path(parent))


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
