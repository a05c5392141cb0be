"""Write files and folders that appear whole or not at all: temporary name, fsync, rename.

A reader sees the old content, the new content or nothing, also after a crash or a power cut. Not for files that grow
while others read them, such as a journal. What a killed process left under a temporary name is removed by the next
one that writes under the same name. Everything gets the permissions that the user's umask gives a new file, also where
a library writes files that are its owner's alone.
"""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bertie import progress
from bertie.errors import ResourceError, SettingsError
from bertie.files.lock import hold

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
_NO_FSYNC = {errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES, errno.EPERM}
_SECONDS_TO_WRITE_A_FILE = 3600
_WAITS = (0.01, 0.05, 0.2)


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
        _clear(path)
        partial = _partial_name(path)
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _patiently(partial.replace, path)
        except BaseException:
            # Also on Ctrl-C: nothing half-written is left behind. The first error is the one to report.
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        _fsync_folder(path.parent)


@contextmanager
def atomic_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Fill a new folder that appears under its name only when everything in it is safely on disk.

    Args:
        path: the folder to make. Missing parent folders are made.
        replace: whether a folder of this name may be there; it stays until the new one takes its place.

    Yields:
        A temporary folder beside it, on the same file system, to write into. When the context ends well, its files
        are fsynced and it is renamed; when anything is raised, it is removed.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the folder exists already, or can't be made there.
    """
    path = Path(path)
    with disk_errors(path):
        if not (replace and path.is_dir() and not path.is_symlink()):
            _must_not_exist(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path)
        partial, held = _new_folder(path)
        try:
            yield partial
            _settle(partial)
            if replace and path.is_dir() and not path.is_symlink():
                _swap(partial, path)
            else:
                # Another process may have made it meanwhile; a rename would then fail or replace an empty folder.
                _must_not_exist(path)
                _patiently(partial.rename, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            if held is not None:
                os.close(held)
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


def _new_folder(path: Path) -> tuple[Path, int | None]:
    """Make a temporary folder and hold it, so that others see that it isn't a killed process's."""
    while True:
        partial = _partial_name(path)
        partial.mkdir()
        try:
            descriptor = _held_folder(partial)
        except BaseException:
            partial.rmdir()
            raise
        if descriptor is None or partial.exists():
            return partial, descriptor
        os.close(descriptor)  # another process took it for a leftover before it was held


def _held_folder(folder: Path) -> int | None:
    descriptor = _open_folder(folder)
    if descriptor is not None:
        try:
            hold(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _clear(path: Path) -> None:
    """Remove what killed processes left of earlier attempts to write `path`, and say so."""
    start = f"{path.name}.partial-"
    for leftover in [each for each in path.parent.iterdir() if each.name.startswith(start)]:
        if leftover.is_symlink():
            continue
        with contextlib.suppress(OSError):  # gone meanwhile, or of another user
            if leftover.is_dir():
                _clear_folder(leftover)
            elif time.time() - leftover.stat().st_mtime > _SECONDS_TO_WRITE_A_FILE:
                leftover.unlink()
                progress.note(f"removed {leftover}, which a command that was killed left")


def _clear_folder(leftover: Path) -> None:
    descriptor = _open_folder(leftover)
    held = None if descriptor is None else hold(descriptor)
    try:
        if held:
            size = sum(file.stat().st_size for file in leftover.rglob("*") if file.is_file())
            shutil.rmtree(leftover)
            progress.note(f"removed {leftover} ({size / 1e6:,.1f} MB), which a command that was killed left")
        elif held is None:
            progress.note(f"{leftover} is half-written; remove it if no command is at work on it")
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _swap(partial: Path, path: Path) -> None:
    """Put a folder in another one's place, and remove the old one."""
    old = _partial_name(path)
    _patiently(path.rename, old)
    try:
        _patiently(partial.rename, path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _patiently(rename: Callable[[Path], Path], name: Path) -> None:
    """Rename, and try again for a moment: Windows refuses while another program has the file open to look at it."""
    for seconds in _WAITS:
        try:
            rename(name)
            return
        except PermissionError:
            time.sleep(seconds)
    rename(name)


def _settle(folder: Path) -> None:
    """Give all files of a new folder the usual permissions, and wait until they are on disk."""
    probe = folder / f".mode-{secrets.token_hex(4)}"
    probe.touch()
    of_file, of_folder = probe.stat().st_mode, folder.stat().st_mode
    probe.unlink()
    for parent, _, names in os.walk(folder):
        _set_mode(Path(parent), of_folder)
        for name in names:
            _set_mode(Path(parent) / name, of_file)
            with (Path(parent) / name).open("r+b") as file:  # Windows syncs no file that is open for reading only
                os.fsync(file.fileno())
        _fsync_folder(Path(parent))


def _set_mode(path: Path, mode: int) -> None:
    if path.stat().st_mode != mode:
        with contextlib.suppress(OSError):  # a file system without permissions
            path.chmod(mode & 0o7777)


def _open_folder(folder: Path) -> int | None:
    """Open a folder itself; None where the system can't, as Windows."""
    try:
        return os.open(folder, os.O_RDONLY)
    except PermissionError:
        return None


def _fsync_folder(folder: Path) -> None:
    descriptor = _open_folder(folder)
    if descriptor is None:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(descriptor)
