"""The work folder of an unfinished file of predictions, OUT.parts: predictions of the rows so far, in whole parts.

    origin.json       what the predictions depend on: input file, model, settings
    000000.jsonl ...  a part: a line about the part, then a line for each of its rows; written atomically
    joined            the file that is being put together
    done.json         the summary, written before the file gets its name

A run that is killed loses the part in progress only. `--resume` continues after the last part.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bertie.bulk.kinds import is_kind
from bertie.errors import DataError, SettingsError
from bertie.files.atomic import disk_errors, write_bytes
from bertie.files.lock import hold
from bertie.untrusted import parse_object, read_bytes, read_object

_ORIGIN, _DONE, _LOCK = "origin.json", "done.json", "lock"
_MOST_BYTES = 2**31  # of one part; a part has a limited number of rows


@dataclass(frozen=True)
class Part:
    """What is known about a part before its rows are read."""

    first: int
    """Index of its first row, from 0."""
    rows: int
    errors: int
    cut: int
    """Number of truncated items."""
    own: dict[str, str] = field(default_factory=dict)
    """Kinds of the file's own columns in these rows; see `kinds.py`."""
    added: dict[str, str] = field(default_factory=dict)
    """Kinds of the prediction's fields."""


class Work:
    """An open work folder.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.joined = folder / "joined"
        self.parts: list[Part] = []
        while self._file(len(self.parts)).exists():
            part = self._head(len(self.parts))
            if part.first != self.num_rows:
                raise self._damaged(len(self.parts))
            self.parts.append(part)

    @property
    def num_rows(self) -> int:
        """Number of rows in the parts so far."""
        return self.parts[-1].first + self.parts[-1].rows if self.parts else 0

    @property
    def num_errors(self) -> int:
        """Number of rows without a prediction so far."""
        return sum(part.errors for part in self.parts)

    def add(self, part: Part, answers: Sequence[Mapping[str, Any]]) -> None:
        """Write a part, with the fields of each row's prediction or its `error`."""
        write_bytes(self._file(len(self.parts)), part_bytes(part, answers))
        self.parts.append(part)

    def add_bytes(self, content: bytes) -> None:
        """Write a part that `part_bytes` made.

        Raises:
            DataError: it is damaged, or not the next part.
        """
        number = len(self.parts)
        write_bytes(self._file(number), content)
        part = self._head(number)
        if part.first != self.num_rows:
            raise self._damaged(number)
        self.parts.append(part)

    def answers(self, number: int) -> list[dict[str, Any]]:
        """Read the fields of each row's prediction in a part, or its `error`.

        Raises:
            DataError: the part is damaged.
        """
        file = self._file(number)
        lines = read_bytes(file, limit=_MOST_BYTES).splitlines()[1:]
        if len(lines) != self.parts[number].rows:
            raise self._damaged(number)
        return [parse_object(line, f"{file}:{place}") for place, line in enumerate(lines, 2)]

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Store the summary of the file that was put together."""
        write_bytes(self.folder / _DONE, json.dumps({"file": _stamp(self.joined), "summary": summary}).encode())

    def remove(self) -> None:
        """Remove the folder; the summary last, so that a later command knows that the file is finished."""
        for file in self.folder.iterdir():
            if file.name not in (_ORIGIN, _DONE, _LOCK):
                file.unlink()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06}.jsonl"

    def _head(self, number: int) -> Part:
        file = self._file(number)
        with file.open("rb") as stream:
            values = parse_object(stream.readline(), f"{file}:1")
        counts = [values.get(name) for name in ("first", "rows", "errors", "cut")]
        kinds = [values.get(name) for name in ("own", "added")]
        whole = (
            len(values) == len(counts) + len(kinds)
            and all(type(count) is int and count >= 0 for count in counts)
            and all(isinstance(one, dict) and all(map(is_kind, one.values())) for one in kinds)
        )
        if not whole:
            raise self._damaged(number)
        return Part(**values)

    def _damaged(self, number: int) -> DataError:
        return DataError(f"{self._file(number)} is damaged; remove {self.folder} and predict again without --resume")


def part_bytes(part: Part, answers: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the content of a part's file."""
    lines = [json.dumps(value, ensure_ascii=True, allow_nan=False) for value in (asdict(part), *answers)]
    return "".join(f"{line}\n" for line in lines).encode("ascii")


@contextmanager
def opened(out: Path, origin: Mapping[str, Any], *, resume: bool) -> Iterator[Work]:
    """Open the work folder of a file to write, and lock it.

    Args:
        out: the file to write.
        origin: what the predictions depend on, by name.
        resume: whether to continue; there may be nothing to continue.

    Raises:
        SettingsError: `out` exists; there is an unfinished file but no `resume`; another command writes it; or the
            origin has changed.
    """
    folder = _folder(out)
    ours = (folder / _ORIGIN).is_file()
    begun = ours and any(folder.glob("*.jsonl"))
    if (out.exists() or out.is_symlink()) and not (resume and finished(out) is not None):
        raise SettingsError(f"{out} exists already; remove it or choose another name")
    if begun and not resume:
        raise SettingsError(
            f"{folder} holds an unfinished run; continue it with --resume, or remove the folder to begin again"
        )
    if folder.exists() and not ours and any(one.name != _LOCK and _ORIGIN not in one.name for one in folder.iterdir()):
        raise SettingsError(f"{folder} exists already and is not of bertie; remove it or choose another --out")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("ab")
    with lock:
        if hold(lock.fileno()) is False:
            raise SettingsError(f"another command is writing {out}; wait for it, or choose another --out")
        if begun or finished(out) is not None:
            _check_same(folder, origin)
        else:
            write_bytes(folder / _ORIGIN, json.dumps(origin, indent=1).encode())
        work = Work(folder)
        try:
            yield work
        except BaseException:
            if not work.parts:  # nothing is lost, so the next run needs no --resume
                work.remove()
            raise


def finished(out: Path) -> dict[str, Any] | None:
    """Return the summary of a finished file if its work folder wasn't removed; None otherwise."""
    done = _folder(out) / _DONE
    if not (out.is_file() and done.is_file()):
        return None
    values = read_object(done)
    summary = values.get("summary")
    return summary if isinstance(summary, dict) and values.get("file") == _stamp(out) else None


def _folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.parts")


def _stamp(file: Path) -> list[int]:
    """Return what tells a file from others of its name; renaming doesn't change it."""
    status = file.stat()
    return [status.st_size, status.st_mtime_ns]


def _check_same(folder: Path, origin: Mapping[str, Any]) -> None:
    """Check that a run continues with the same input file, model and settings.

    Raises:
        SettingsError: one of them has changed.
    """
    before, now = read_object(folder / _ORIGIN), parse_object(json.dumps(origin), str(folder))
    changed = [name for name in dict.fromkeys((*now, *before)) if now.get(name) != before.get(name)]
    if changed:
        changed = [name for name in changed if name.startswith("--")] or changed  # a flag may change the model as well
        raise SettingsError(
            f"{folder}: {', '.join(changed)} {'has' if len(changed) == 1 else 'have'} changed since this run began; "
            "give the same again, or remove the folder to begin again"
        )
