"""Write and check the checksums of a folder's files. `sha256sum -c SHA256SUMS` checks them too.

    SHA256SUMS      one line per file: 64 hexadecimal digits, two spaces, the file's path with / between its parts

A folder without SHA256SUMS, for example one that another program wrote, is accepted unchecked. A subfolder that has its
own SHA256SUMS is not part of the folder: it is checked separately.
"""

import hashlib
import json
import os
import re
import shlex
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from bertie.errors import DataError
from bertie.files.atomic import write_text

SUMS = "SHA256SUMS"
WITHOUT_EFFECT = frozenset({"README.md"})
"""Files that users may edit. No result depends on them."""
_LINE = re.compile(r"([0-9a-f]{64}) [ *]([^\\\n]+)")
_OWN = "sha256"
_MAX_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 25
_THREADS = 4


@dataclass(frozen=True)
class Differences:
    """How a folder's files differ from its checksums, by their names."""

    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    """Files without a checksum in the list."""

    @property
    def harmful(self) -> tuple[str, ...]:
        """Changed or missing files that results depend on."""
        return tuple(name for name in (*self.changed, *self.missing) if name not in WITHOUT_EFFECT)


def seal(folder: Path) -> None:
    """Write the checksums of all files in a folder, except hidden ones."""
    names = _names(folder)
    with ThreadPoolExecutor(_num_threads()) as pool:
        digests = list(pool.map(lambda name: _digest(folder / name), names))
    write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True)))


def read_sums(folder: Path) -> dict[str, str] | None:
    """Return the checksums of a folder's SHA256SUMS by file name; None if the folder has no such file.

    Raises:
        DataError: SHA256SUMS is damaged.
    """
    file = folder / SUMS
    if not file.is_file():
        return None
    if file.stat().st_size > _MAX_BYTES:
        raise _damaged(folder, f"it has {file.stat().st_size:,} bytes")
    try:
        lines = file.read_text(encoding="utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise _damaged(folder, f"byte {error.start} is not UTF-8") from error
    sums: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        name = match[2] if match else ""
        if not match or name in sums or not inside(name):
            raise _damaged(folder, f"line {number} is not a checksum followed by the name of a file in this folder")
        sums[name] = match[1]
    return sums


def compare(folder: Path, sums: Mapping[str, str]) -> Differences:
    """Hash all listed files in parallel, and return those that differ."""
    digests = _Hashes(folder, sums).wait()
    present = set(_names(folder))
    return Differences(
        tuple(name for name, digest in digests.items() if digest not in (None, sums[name])),
        tuple(name for name, digest in digests.items() if digest is None),
        tuple(sorted(present - set(sums))),
    )


@contextmanager
def verified(folder: Path, own: Mapping[str, str] | None = None) -> Iterator[None]:
    """Compare a folder with its checksums, on other threads, while the caller reads it.

    If reading fails and a small file has changed, the error names the changed file: it is the likelier cause.

    Args:
        folder: the folder.
        own: SHA-256 of files, by name, with which the caller compares these files itself. They are not read here if the
            folder's checksums are the same.

    Raises:
        DataError: a listed file that results depend on is missing or changed.
    """
    sums = read_sums(folder)
    if sums is None:
        yield
        return
    compared = {name for name, digest in (own or {}).items() if sums.get(name) == digest and (folder / name).is_file()}
    skipped = {*WITHOUT_EFFECT, *compared}
    hashes = _Hashes(folder, {name: digest for name, digest in sums.items() if name not in skipped})
    try:
        yield
    except Exception as error:
        differing = hashes.stop()
        if differing:
            raise changed_error(folder, differing) from error
        raise
    except BaseException:
        hashes.stop()
        raise
    differing = [name for name, digest in hashes.wait().items() if digest != sums[name]]
    if differing:
        raise changed_error(folder, differing)


def changed_error(folder: Path, names: list[str]) -> DataError:
    """Build the error for missing or changed files."""
    listed = f"{', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
    one = len(names) == 1
    return DataError(
        f"{folder}: {listed} {'does' if one else 'do'} not match the {'checksum' if one else 'checksums'} in {SUMS}. "
        f"Copy the folder again; or, if the change is intended, accept it with: "
        f"bertie show {shlex.quote(str(folder))} --accept-changes"
    )


class _Hashes:
    """The digests of listed files, computed on background threads."""

    def __init__(self, folder: Path, sums: Mapping[str, str]) -> None:
        self._folder, self._sums = folder, sums
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(_num_threads(), thread_name_prefix="bertie-checksums")
        # Small files first: `stop` waits for them.
        names = sorted(sums, key=lambda name: _size(folder / name))
        self._digests: dict[str, Future[str | None]] = {
            name: self._pool.submit(_digest, folder / name, self._stopped) for name in names
        }

    def wait(self) -> dict[str, str | None]:
        """Return the digest of each file, None for a missing file."""
        try:
            return {name: self._digests[name].result() for name in self._sums}
        finally:
            self._pool.shutdown(cancel_futures=True)

    def stop(self) -> list[str]:
        """Stop hashing large files, and return the names of the small files that differ."""
        small = [name for name in self._sums if _size(self._folder / name) <= _SMALL_BYTES]
        differing = [name for name in small if self._digests[name].result() != self._sums[name]]
        self._stopped.set()
        self._pool.shutdown(cancel_futures=True)
        return differing


def with_own_sum(values: Mapping[str, Any]) -> dict[str, Any]:
    """Add the checksum of a JSON object to the object itself."""
    return {**values, _OWN: _own_sum(values)}


def has_own_sum(values: Mapping[str, Any]) -> bool:
    """Return whether a JSON object matches its own checksum; true if it has none, as earlier versions wrote it."""
    return values.get(_OWN) in (None, _own_sum(values))


def _own_sum(values: Mapping[str, Any]) -> str:
    kept = {name: value for name, value in values.items() if name != _OWN}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _digest(path: Path, stopped: threading.Event | None = None) -> str | None:
    """Hash a file; None if there is no such file, or if the comparison was stopped."""
    if not path.is_file():
        return None
    digest, buffer = hashlib.sha256(), bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(view):
            digest.update(view[:size])
            if stopped is not None and stopped.is_set():
                return None
    return digest.hexdigest()


def _names(folder: Path) -> list[str]:
    """List the files of a folder and its subfolders, except hidden ones and subfolders with their own checksums."""
    names = []
    for parent, folders, files in os.walk(folder):
        subfolder = Path(parent)
        folders[:] = [each for each in folders if not each.startswith(".") and not (subfolder / each / SUMS).exists()]
        names += [(subfolder / each).relative_to(folder).as_posix() for each in files if not each.startswith(".")]
    return sorted(name for name in names if name != SUMS)


def inside(name: str) -> bool:
    """Return whether a relative file name from a list stays inside its folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and not Path(name).is_absolute()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _num_threads() -> int:
    return min(_THREADS, os.cpu_count() or 1)


def _damaged(folder: Path, reason: str) -> DataError:
    return DataError(
        f"{folder / SUMS} is damaged: {reason}. Copy the folder again; or, if you trust its files, accept them with: "
        f"bertie show {shlex.quote(str(folder))} --accept-changes"
    )
