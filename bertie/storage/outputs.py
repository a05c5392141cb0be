"""Upload what a command writes: to a local folder first, then file by file, with a mark as the last object.

While a run that can be resumed trains, each complete checkpoint is uploaded in the background. So a killed machine
loses the steps since the last checkpoint. Every upload of several files is a step from one complete state to the next:
new files, the mark that lists them, and only then the removal of files that the state no longer has.
"""

import contextlib
import os
import secrets
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bertie import addresses, progress
from bertie.errors import BertieError, ResourceError, SettingsError
from bertie.files import atomic
from bertie.files.atomic import sha256_file
from bertie.storage import cache, mark, store
from bertie.storage.inputs import committed, each_of, moving, refuse_outside
from bertie.storage.mark import MARK, Mark

PAUSE_SECONDS = 5.0
"""Least time between two uploads of an unfinished run."""
_LAST = ("manifest.json", "MANIFEST.json", "SHA256SUMS", "run.json", "seeds.json")
"""Files that make others valid: uploaded after them."""
_PASSES = 5


class _VanishedError(Exception):
    """A file was removed while it was uploaded, such as an old checkpoint."""


class Output:
    """A file or folder that a command writes, and its address."""

    def __init__(self, address: str) -> None:
        cache.copies()
        self.address = address
        self.path = addresses.place(address)
        """The local file or folder that the command writes to."""
        self._owner = secrets.token_hex(8)
        self._claimed = False
        self._complete = False
        self._settled = True  # whether the mark lists what was uploaded
        self._entries: dict[str, dict[str, Any]] = {}  # files in the store: bytes and SHA-256
        self._garbage: set[str] = set()  # names that earlier uploads left
        self._stamps: dict[str, tuple[int, ...]] = {}  # of the local files when they were uploaded
        self._lock = threading.Lock()

    def open(self, *, folder: bool, resume: bool = False, replace: bool = False, advice: str = "remove it") -> None:
        """Look what the store has, and bring it back to resume. A folder's mark is written before hours of work.

        Args:
            folder: whether the command writes a folder.
            resume: whether to continue what is there.
            replace: whether to replace what is there.
            advice: what to do if something is there.

        Raises:
            SettingsError: something complete is there already, or the store refuses.
            DataError: what is to be resumed is damaged.
            ResourceError: the store can't be reached.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        items = store.items(self.address)
        before = mark.read(self.address) if MARK in items else None
        if before is not None:
            self._garbage = {*before.files, *before.pending} & set(items)
        half = before is not None and not before.complete and not before.resumable
        if half and not resume:
            progress.note(f"{self.address} holds the rest of an upload that didn't end; it is replaced")
        elif items and not resume and not replace:
            raise SettingsError(f"{self.address} exists already; {advice}")
        if resume and items and not half:
            self._bring_back(items, before)
        if folder and (before is not None or not items):
            self._write_mark(pending=sorted(self._garbage), complete=self._complete)
            self._claimed = True

    def _bring_back(self, items: dict[str, store.Item], before: Mark | None) -> None:
        if set(items) == {""}:
            store.download(self.address, self.path, size=items[""].size)
            self._stamps[""] = _stamp(self.path)
            return
        items.pop("", None)
        refuse_outside(items, self.address)
        chosen, _ = committed(self.address, items, told=False)

        # Not from the cache: the run goes on writing to these files.
        def get(name: str) -> None:
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            store.download(f"{self.address}/{name}", file, size=chosen[name].size)

        with moving(f"Fetching {self.address}", sum(item.size for item in chosen.values())) as advance:
            each_of(list(chosen), get, lambda name: advance(chosen[name].size))
        if before is not None:
            self._complete = before.complete
            self._entries = {name: before.files[name] for name in chosen if name in before.files}
            self._stamps = {name: _stamp(self.path / name) for name in self._entries}
            self._garbage -= set(chosen)

    def push(self, *, complete: bool) -> None:
        """Upload what has changed.

        Args:
            complete: whether the command has ended well, so that the store has everything after this.

        Raises:
            SettingsError: the store refuses, or another process writes to the same address.
            ResourceError: the store can't be reached.
        """
        with self._lock:
            for _ in range(_PASSES):
                try:
                    self._push(complete=complete)
                except _VanishedError:
                    continue
                else:
                    return
            progress.warn(f"{self.path}: files were removed during each attempt to upload; tried again later")

    def _push(self, *, complete: bool) -> None:
        if self.path.is_file():
            if self._stamps.get("") != _stamp(self.path) and complete:
                store.upload(self.path, self.address)
            return
        files = files_of(self.path)
        changed = [name for name, file in files.items() if self._stamps.get(name) != _stamp(file)]
        gone = (self._garbage | set(self._entries)) - set(files)
        settled = self._settled and not changed and not gone and self._complete >= complete
        if settled or not (files or self._entries):
            return
        self._check_owner()
        self._complete = self._settled = False
        self._garbage.update(changed)
        self._write_mark(pending=[*changed, *gone], complete=False)
        self._claimed = True
        sizes = {name: files[name].stat().st_size for name in changed if files[name].exists()}
        first = [name for name in changed if name.rpartition("/")[2] not in _LAST]
        with moving(f"Uploading {self.address}", sum(sizes.values()), shown=complete) as advance:
            for names in (first, sorted(set(changed) - set(first))):
                each_of(names, lambda name: self._send(name, files[name]), lambda name: advance(sizes.get(name, 0)))
        self._entries = {name: self._entries[name] for name in files}
        self._garbage = gone
        self._write_mark(pending=sorted(gone), complete=complete)
        self._complete, self._settled = complete, True
        if gone:
            store.remove(f"{self.address}/{name}" for name in sorted(gone))
            self._garbage = set()
            self._write_mark(complete=complete)

    def _send(self, name: str, file: Path) -> None:
        try:
            stamp = _stamp(file)
            entry = {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
            store.upload(file, f"{self.address}/{name}")
        except FileNotFoundError:
            raise _VanishedError from None
        self._entries[name], self._stamps[name] = entry, stamp

    def _check_owner(self) -> None:
        if not self._claimed:
            return
        found = mark.read(self.address)
        if found is None or found.owner != self._owner:
            raise SettingsError(f"another process writes to {self.address}; stop one of them, or choose another --out")

    def _write_mark(self, *, pending: list[str] | None = None, complete: bool) -> None:
        mark.write(self.address, Mark(complete, self._entries, tuple(pending or ()), self._owner))

    def keep_unsent(self, *, complete: bool) -> Path | None:
        """Keep an output whose upload failed; return where it is now, with a mark for a copy by other tools."""
        if not self.path.exists():
            return None
        path = cache.unsent(self.path)
        if path.is_dir():
            names = files_of(path)
            entries = {
                name: {"bytes": file.stat().st_size, "sha256": sha256_file(file)} for name, file in names.items()
            }
            (path / MARK).write_bytes(mark.content(Mark(complete, entries)))
        return path

    def remove_everywhere(self) -> None:
        """Remove the files that this output has in the store, and the mark."""
        store.remove(f"{self.address}/{name}" for name in sorted({*self._entries, *self._garbage}))
        if self._claimed:
            store.remove([f"{self.address}/{MARK}"])

    def release(self) -> None:
        """Remove the mark of a folder of which nothing was uploaded, and the local files."""
        if self._claimed and not self._entries and not self._garbage:
            with contextlib.suppress(BertieError):  # an error of the command matters more
                found = mark.read(self.address)
                if found is not None and found.owner == self._owner and not found.files and not found.pending:
                    store.remove([f"{self.address}/{MARK}"])
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)


@contextmanager
def pushed_meanwhile(outputs: list[Output]) -> Iterator[None]:
    """Upload the state of outputs in the background after each file or folder that is written completely."""
    changed, ended = threading.Event(), threading.Event()

    def work() -> None:
        while not ended.is_set():
            changed.wait()
            if ended.is_set():
                return
            changed.clear()
            for output in outputs:
                _push_or_warn(output)
            ended.wait(PAUSE_SECONDS)

    def listen(path: Path) -> None:
        if any(output.path in (path, *path.parents) for output in outputs):
            changed.set()

    thread = threading.Thread(target=work, name="bertie-upload", daemon=True)
    thread.start()
    atomic.listeners.append(listen)
    try:
        yield
    finally:
        atomic.listeners.remove(listen)
        ended.set()
        changed.set()
        thread.join()


def _push_or_warn(output: Output) -> None:
    try:
        output.push(complete=False)
    except BertieError as error:
        progress.warn(f"not uploaded: {error}. The run goes on; the upload is tried again after the next checkpoint")


def failed(output: Output, error: BertieError, *, complete: bool = True) -> ResourceError:
    """Return the error for an output that was computed but couldn't be uploaded; the output is kept."""
    address, path = output.address, output.keep_unsent(complete=complete)
    return ResourceError(
        f"{error}. What was computed is kept in {path}; copy it to {address} with the store's own tool, such as "
        "aws s3 cp --recursive or gcloud storage cp --recursive"
    )


def files_of(folder: Path) -> dict[str, Path]:
    """Return the complete files of a folder by name; without hidden and temporary ones."""
    found: dict[str, Path] = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_passing(name)]
        for name in names:
            file = Path(parent, name)
            if not _is_passing(name):
                found[file.relative_to(folder).as_posix()] = file
    return dict(sorted(found.items()))


def _is_passing(name: str) -> bool:
    return name.startswith(".") or ".partial-" in name


def _stamp(file: Path) -> tuple[int, ...]:
    """Return what tells whether a file was changed or replaced.

    Raises:
        _VanishedError: it was removed.
    """
    try:
        facts = file.stat()
    except FileNotFoundError:
        raise _VanishedError from None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
