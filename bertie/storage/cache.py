"""The local cache of objects, and the folder of local copies of this process.

    BERTIE_CACHE, by default ~/.cache/bertie/storage
        objects/ab/abcd...     one object, by the hash of its address, version and size
        copies/1234-ab12/      local copies of one process, as hard links; locked while the process lives
        unsent/                outputs whose upload failed

The objects take at most BERTIE_CACHE_GB gigabytes (default 50). Those that were not used for the longest time go first.
An object with a second link is in use and stays. Two processes that need the same object download it once.
"""

import atexit
import contextlib
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bertie import addresses
from bertie.errors import ResourceError, SettingsError
from bertie.files.atomic import sha256_file
from bertie.files.lock import hold
from bertie.storage import store
from bertie.storage.store import Item

DEFAULT_GB = 50.0
_LOCK_WAIT_SECONDS = 0.05
_PARTIAL = ".partial-"
_copies: tuple[int, Path] | None = None  # process id and folder


@dataclass(frozen=True)
class Wanted:
    """An object to bring to a place."""

    address: str
    item: Item
    target: Path
    sha256: str | None = None
    """Its checksum, if its mark says it."""

    @property
    def key(self) -> str:
        """The name of the object in the cache."""
        return hashlib.sha256(f"{self.address}\n{self.item.version}\n{self.item.size}".encode()).hexdigest()


def home() -> Path:
    """Return the folder of the cache, created if necessary.

    Raises:
        SettingsError: it can't be created.
    """
    own, base = os.environ.get("BERTIE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    try:
        path = Path(own) if own else (Path(base) if base else Path.home() / ".cache") / "bertie" / "storage"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise SettingsError(f"can't use a cache folder ({error}); set BERTIE_CACHE to a folder") from error


def limit_bytes() -> int:
    """Return the largest size of the cache.

    Raises:
        SettingsError: BERTIE_CACHE_GB is not a positive number.
    """
    text = os.environ.get("BERTIE_CACHE_GB", "")
    try:
        gigabytes = float(text or DEFAULT_GB)
    except ValueError:
        gigabytes = -1.0
    if not 0 < gigabytes < float("inf"):
        raise SettingsError(f"BERTIE_CACHE_GB must be a positive number of gigabytes, such as 20; got {text!r}")
    return int(gigabytes * 1e9)


def copies() -> Path:
    """Return the folder of this process's local copies. The first call creates it; it is removed at exit."""
    global _copies
    if _copies is not None and _copies[0] == os.getpid() and _copies[1].is_dir():
        return _copies[1]
    parent = home() / "copies"
    parent.mkdir(exist_ok=True)
    for other in parent.iterdir():
        with _locked(other) as locked:
            if locked:  # its process has ended
                shutil.rmtree(other, ignore_errors=True)
    while True:
        folder = parent / f"{os.getpid()}-{secrets.token_hex(4)}"
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY)  # open, and so locked, until the process ends
        hold(descriptor)
        if folder.is_dir():  # else another process took it for a leftover before it was locked
            break
        os.close(descriptor)
    _copies = os.getpid(), folder
    addresses.set_folder(folder)
    atexit.register(_remove_copies, *_copies)
    return folder


def bring(wanted: Wanted) -> None:
    """Bring one object to its place: from the cache, or from its store. `make_room` must have been called.

    Raises:
        SettingsError, ResourceError: the store refuses, fails, or the object changes again and again.
    """
    file = _file(wanted.key)
    file.parent.mkdir(parents=True, exist_ok=True)
    with _waiting_for(_lock_of(file)):
        if not _is_whole(file, wanted.item):
            _download(wanted, file)
        # Only the time of use is set; the other one is the object's own and tells changed inputs.
        os.utime(file, (time.time(), file.stat().st_mtime))
        _link(file, wanted.target)


def make_room(all_wanted: list[Wanted]) -> int:
    """Remove old objects until those that are missing fit into the cache.

    Returns:
        Bytes that are missing.

    Raises:
        ResourceError: the cache may not hold so much, or the disk is full.
    """
    missing = [wanted for wanted in all_wanted if not _is_whole(_file(wanted.key), wanted.item)]
    needed, limit = sum(wanted.item.size for wanted in missing), limit_bytes()
    if not needed:
        return 0
    folder = home()
    with _waiting_for(folder / "room.lock"):
        kept = {wanted.key for wanted in all_wanted}
        old, used = _stored(folder / "objects", kept)
        for _, size, file in sorted(old):
            if used + needed <= limit and shutil.disk_usage(folder).free >= needed:
                break
            used -= size if _evict(file) else 0
    if used + needed > limit:
        raise ResourceError(
            f"{needed / 1e9:,.3f} GB to fetch don't fit into the cache {folder}: {used / 1e9:,.3f} GB are in use, and "
            f"it may hold {limit / 1e9:,g} GB; set BERTIE_CACHE_GB to a larger number"
        )
    if shutil.disk_usage(folder).free < needed:
        raise ResourceError(
            f"{needed / 1e9:,.3f} GB to fetch don't fit on the disk of {folder}; free some space, or set BERTIE_CACHE "
            "to a folder on another disk"
        )
    return needed


def unsent(path: Path) -> Path:
    """Move an output whose upload failed to a folder that stays, and return its new path."""
    folder = home() / "unsent" / secrets.token_hex(4)
    folder.mkdir(parents=True)
    return path.rename(folder / path.name)


def _download(wanted: Wanted, file: Path) -> None:
    for leftover in file.parent.glob(f"{file.name}{_PARTIAL}*"):  # of a killed process: this one holds the lock
        leftover.unlink(missing_ok=True)
    partial = file.with_name(f"{file.name}{_PARTIAL}{secrets.token_hex(4)}")
    try:
        store.download(wanted.address, partial, size=wanted.item.size)
        if wanted.sha256 is not None and sha256_file(partial) != wanted.sha256:
            raise ResourceError(
                f"{wanted.address} is not what was uploaded (its SHA-256 differs); if another process writes it, wait "
                "for it, else upload it again"
            )
        if wanted.item.modified is not None:
            os.utime(partial, (time.time(), wanted.item.modified))
        partial.rename(file)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def _link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() and target.samefile(file):
        return
    target.unlink(missing_ok=True)
    try:
        os.link(file, target)
    except OSError:  # a file system without hard links
        shutil.copy2(file, target)


def _is_whole(file: Path, item: Item) -> bool:
    try:
        return file.stat().st_size == item.size
    except OSError:
        return False


def _stored(folder: Path, kept: set[str]) -> tuple[list[tuple[float, int, Path]], int]:
    """Return time of use, size and path of the objects that may go, and the bytes of all objects."""
    old, used = [], 0
    for file in folder.glob("*/*"):
        with contextlib.suppress(FileNotFoundError):
            if _PARTIAL in file.name:
                with _locked(_lock_of(file.with_name(file.name.partition(_PARTIAL)[0]))) as locked:
                    if locked:  # its process was killed
                        file.unlink()
            facts = file.stat()
            used += facts.st_size
            if file.suffix == "" and facts.st_nlink == 1 and file.name not in kept:
                old.append((facts.st_atime, facts.st_size, file))
    return old, used


def _evict(file: Path) -> bool:
    with _locked(_lock_of(file)) as locked:
        if locked is False or file.stat().st_nlink > 1:
            return False
        file.unlink()
        _lock_of(file).unlink(missing_ok=True)
    return True


def _file(key: str) -> Path:
    return home() / "objects" / key[:2] / key


def _lock_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.lock")


@contextmanager
def _locked(path: Path) -> Iterator[bool | None]:
    """Lock a file or folder while the context lasts, if no other process holds it; give what `hold` says."""
    try:
        descriptor = os.open(path, os.O_RDONLY | (0 if path.is_dir() else os.O_CREAT), 0o600)
    except FileNotFoundError:
        yield False
        return
    try:
        yield hold(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _waiting_for(path: Path) -> Iterator[None]:
    """Lock a file while the context lasts, after other processes have released it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with _locked(path) as locked:
            if locked is not False:
                yield
                return
        time.sleep(_LOCK_WAIT_SECONDS)


def _remove_copies(process: int, folder: Path, remove: Callable[..., None] = shutil.rmtree) -> None:
    if os.getpid() == process:  # not in a child that was forked
        remove(folder, ignore_errors=True)
