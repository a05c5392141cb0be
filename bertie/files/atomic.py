"""Write files and folders atomically: write under a temporary name, fsync, rename.

A reader sees the old content, the new content or no file at all, even after a crash or a power cut. This does not suit
files that grow while others read them, such as a journal.

A killed process leaves its temporary files. The next process that writes under the same name removes them. All files
get the permissions that the user's umask gives a new file, even if a library created them readable by the owner only.
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

from bertie import addresses, progress
from bertie.errors import ResourceError, SettingsError
from bertie.files.lock import hold

_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG}
_NO_FSYNC = {errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EACCES, errno.EPERM}
_SECONDS_TO_WRITE_A_FILE = 3600
_WAITS = (0.01, 0.05, 0.2)
listeners: list[Callable[[Path], None]] = []
"""Called with each file or folder that was written completely."""


def write_text(path: str | Path, text: str) -> None:
    r"""Write a UTF-8 text file atomically, replacing an older one; ``\n`` stays ``\n`` on every system.

    Args:
        path: the file; missing parent folders are created.
        text: its new content; local copies of addresses get their addresses.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the path can't be written to.
    """
    write_bytes(path, addresses.shown(text).encode("utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file atomically, replacing an older one.

    Args:
        path: the file; missing parent folders are created.
        content: its new content.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the path can't be written to.
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
            _rename_with_retries(partial.replace, path)
        except BaseException:
            # Remove the half-written file, also on Ctrl-C. An error here must not hide the first error.
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            raise
        _fsync_folder(path.parent)
    _tell(path)


@contextmanager
def atomic_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """Create a folder that appears under its name only when all its files are on disk.

    Args:
        path: the folder to create. Missing parent folders are created.
        replace: whether to replace an existing folder. The old one stays until the new one is complete.

    Yields:
        A temporary folder to write into, in the same parent folder. When the context ends without an exception, its
        files are fsynced and it is renamed. When an exception leaves the context, it is removed.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the folder exists already, or can't be created.
    """
    path = Path(path)
    with disk_errors(path):
        if not (replace and path.is_dir() and not path.is_symlink()):
            _must_not_exist(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear(path)
        partial, lock = _new_folder(path)
        try:
            yield partial
            _finish(partial)
            if replace and path.is_dir() and not path.is_symlink():
                _swap(partial, path)
            else:
                # If another process has created `path` meanwhile, a rename would fail or replace an empty folder.
                _must_not_exist(path)
                _rename_with_retries(partial.rename, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        finally:
            if lock is not None:
                os.close(lock)
        _fsync_folder(path.parent)
    _tell(path)


def publish(partial: Path, path: Path) -> None:
    """Give a complete file its name, when its content is on disk.

    Args:
        partial: the file under another name, on the same disk.
        path: its name; no such file may exist.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the path exists already, or can't be written to.
    """
    with disk_errors(path):
        with partial.open("r+b") as file:  # Windows can't fsync a file opened read-only
            os.fsync(file.fileno())
        _must_not_exist(path)
        _rename_with_retries(partial.rename, path)
        _fsync_folder(path.parent)


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_errors(path: str | Path) -> Iterator[None]:
    """Turn the system's write errors into errors that name the file and say what to do.

    Args:
        path: the file or folder that is being written.

    Raises:
        ResourceError: the disk or the user's quota is full.
        SettingsError: no permission, a read-only disk, an invalid name, or the address of an object.
    """
    if address := addresses.address_of(path):
        raise SettingsError(
            f"{address} can't be written from here; write a local file, and copy it with the store's tool"
        )
    try:
        yield
    except OSError as error:
        if error.errno in _FULL_DISK:
            reason = error.strerror or "disk full"
            raise ResourceError(f"can't write {path}: {reason}; free some space or write to another disk") from error
        if error.errno in _REFUSED:
            raise SettingsError(f"can't write {path}: {error.strerror}; choose another path") from error
        raise


def _tell(path: Path) -> None:
    for listener in listeners:
        listener(path)


def _must_not_exist(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise SettingsError(f"{path} exists already; remove it or choose another name")


def _partial_name(path: Path) -> Path:
    # Not a hidden file: after a power cut the user should see which file takes the space.
    return path.with_name(f"{path.name}.partial-{secrets.token_hex(4)}")


def _new_folder(path: Path) -> tuple[Path, int | None]:
    """Create and lock a temporary folder; the lock shows other processes that its writer is alive."""
    while True:
        partial = _partial_name(path)
        partial.mkdir()
        try:
            descriptor = _locked_folder(partial)
        except BaseException:
            partial.rmdir()
            raise
        if descriptor is None or partial.exists():
            return partial, descriptor
        os.close(descriptor)  # another process removed it as a leftover before it was locked


def _locked_folder(folder: Path) -> int | None:
    descriptor = _open_folder(folder)
    if descriptor is not None:
        try:
            hold(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
    return descriptor


def _clear(path: Path) -> None:
    """Remove the temporary files that killed processes left when they wrote `path`, and report it."""
    start = f"{path.name}.partial-"
    for leftover in [each for each in path.parent.iterdir() if each.name.startswith(start)]:
        if leftover.is_symlink():
            continue
        with contextlib.suppress(OSError):  # removed meanwhile, or owned by another user
            if leftover.is_dir():
                _clear_folder(leftover)
            elif time.time() - leftover.stat().st_mtime > _SECONDS_TO_WRITE_A_FILE:
                leftover.unlink()
                progress.note(f"removed {leftover}, a leftover of a killed command")


def _clear_folder(leftover: Path) -> None:
    descriptor = _open_folder(leftover)
    locked = None if descriptor is None else hold(descriptor)
    try:
        if locked:
            size = sum(file.stat().st_size for file in leftover.rglob("*") if file.is_file())
            shutil.rmtree(leftover)
            progress.note(f"removed {leftover} ({size / 1e6:,.1f} MB), a leftover of a killed command")
        elif locked is None:
            progress.note(f"{leftover} is incomplete; remove it if no running command is writing it")
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _swap(partial: Path, path: Path) -> None:
    """Replace the folder `path` by `partial`, and remove the old folder."""
    old = _partial_name(path)
    _rename_with_retries(path.rename, old)
    try:
        _rename_with_retries(partial.rename, path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _rename_with_retries(rename: Callable[[Path], Path], name: Path) -> None:
    """Rename, with a few retries: Windows refuses while another program, such as a virus scanner, has the file open."""
    for seconds in _WAITS:
        try:
            rename(name)
            return
        except PermissionError:
            time.sleep(seconds)
    rename(name)


def _finish(folder: Path) -> None:
    """Give all files of a new folder the umask's permissions, and wait until they are on disk."""
    probe = folder / f".mode-{secrets.token_hex(4)}"
    probe.touch()
    file_mode, folder_mode = probe.stat().st_mode, folder.stat().st_mode
    probe.unlink()
    for parent, _, names in os.walk(folder):
        _set_mode(Path(parent), folder_mode)
        for name in names:
            _set_mode(Path(parent) / name, file_mode)
            with (Path(parent) / name).open("r+b") as file:  # Windows can't fsync a file opened read-only
                os.fsync(file.fileno())
        _fsync_folder(Path(parent))


def _set_mode(path: Path, mode: int) -> None:
    if path.stat().st_mode != mode:
        with contextlib.suppress(OSError):  # a file system without permissions
            path.chmod(mode & 0o7777)


def _open_folder(folder: Path) -> int | None:
    """Open a folder as a file descriptor; None if the system can't, as on Windows."""
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
