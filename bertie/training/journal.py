"""metrics.jsonl: one line per logged step or evaluation, cut back to the checkpoint when a run is resumed.

A journal is a by-product, so a full disk never ends a run: lines wait in memory until they can be written. A checkpoint
holds the checksums of all lines before it, so a line that was changed later is detected and named.
"""

import json
import math
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from bertie import progress
from bertie.errors import DataError, ResourceError
from bertie.files.atomic import disk_errors
from bertie.untrusted import parse_json

_BINARY = getattr(os, "O_BINARY", 0)  # Windows has text files too


class Journal:
    """Appends records to a file. A context manager.

    Args:
        path: the file, created if it doesn't exist. After a crash its last line may be incomplete: `cut` it first.
        follow: called with each record after it was written.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the file can't be written to.
    """

    def __init__(self, path: Path, follow: Callable[[dict[str, Any]], None] = lambda record: None) -> None:
        self._path, self._follow = path, follow
        self._waiting = b""  # lines that couldn't be written yet
        self._warned = False
        self._sums = _sums(path)
        with disk_errors(path):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the waiting lines and close the file."""
        self._append(b"")
        if self._waiting:
            progress.warn(f"{self._path}: the disk stayed full; the last {self._waiting.count(10)} lines are lost")
        os.close(self._descriptor)

    def write(self, record: dict[str, Any]) -> None:
        """Append one record, with its keys in order. NaN and infinities are written as null."""
        line = (json.dumps(_plain(record), allow_nan=False) + "\n").encode()
        self._sums.append(_sum(line))
        self._append(line)
        self._follow(record)

    def sync(self) -> None:
        """Force everything written so far to disk, so that it survives a power cut."""
        self._append(b"", sync=True)

    def sums(self) -> str:
        """Return the checksums of the lines in the file, for `check`."""
        return " ".join(self._sums[: len(self._sums) - self._waiting.count(10)])

    def _append(self, line: bytes, *, sync: bool = False) -> None:
        self._waiting += line
        try:
            with disk_errors(self._path):
                while self._waiting:
                    # A write may be partial: the rest follows now, or with the next line.
                    self._waiting = self._waiting[os.write(self._descriptor, self._waiting) :]
                if sync:
                    os.fsync(self._descriptor)
        except ResourceError as error:
            if not self._warned:
                progress.warn(f"{error}; until then new lines wait in memory")
            self._warned = True


class Silent:
    """The journal of a process that writes none."""

    def write(self, record: dict[str, Any]) -> None:
        """Do nothing."""

    def sync(self) -> None:
        """Do nothing."""

    def sums(self) -> str:
        """Return no checksums."""
        return ""


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records up to the first incomplete line; none if there is no file."""
    return [record for _, record in _records(path)]


def check(path: Path, sums: str) -> None:
    """Compare the first lines with the checksums in a checkpoint.

    Raises:
        DataError: a line was changed or is missing. The message has its number.
    """
    expected, actual = sums.split(), _sums(path)
    for number, sum_ in enumerate(expected, start=1):
        if number > len(actual):
            raise DataError(f"{path} has lost lines {number} to {len(expected)}, which it had at the last checkpoint")
        if actual[number - 1] != sum_:
            raise DataError(f"{path}:{number} was changed after it was written")


def cut(path: Path, *, step: int) -> None:
    """Cut the file back, in place, to the complete records of `step` and before. Warn if a line is incomplete.

    Steps never fall in a journal, and all lines before a checkpoint were synced before it was written. So the file can
    be cut at the first line that is later than `step`, incomplete or unreadable.

    Raises:
        SettingsError: the file can't be written to.
    """
    if not path.exists():
        return
    end, number, later = 0, 0, False
    for line_end, record in _records(path):
        if later := record.get("step", 0) > step:
            break
        end, number = line_end, number + 1
    size = path.stat().st_size
    if end == size:
        return
    if not later:
        progress.warn(f"{path}:{number + 1} is incomplete; the file is cut back to the {number} lines before it")
    with disk_errors(path), path.open("r+b") as file:
        file.truncate(end)
        os.fsync(file.fileno())


def _sums(path: Path) -> list[str]:
    """Return the checksum of each complete line."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        return [_sum(line) for line in file if line.endswith(b"\n")]


def _sum(line: bytes) -> str:
    return f"{zlib.crc32(line):08x}"


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the end of each line, in bytes, and its record, up to the first line that isn't a complete record."""
    if not path.exists():
        return
    end = 0
    with path.open("rb") as file:
        for line in file:
            end += len(line)
            try:
                record = parse_json(line, str(path)) if line.endswith(b"\n") else None
            except DataError:
                return
            if not isinstance(record, dict):
                return
            yield end, record


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
