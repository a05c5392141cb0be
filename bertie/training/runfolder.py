"""The folder of a run: who may write in it, what is in it, and whether it may be resumed.

    config.toml   metrics.jsonl   checkpoints/   model/   report.html
    run.json      the settings and data the run began with, and, once it is finished, its figures
    .lock         held by the process that is at work

run.json and not config.toml decides what a resumed run must keep to: config.toml is there to be copied and edited.
Where it was edited in place, or other settings are given, the run goes on only when it is told to accept them.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol

import torch

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.files.atomic import disk_errors, sha256_file
from bertie.files.lock import hold
from bertie.training import record as records
from bertie.training.record import DATA, flat, shown

_ACCEPT = "--accept-changes"
_RECORD = "run.json"
PREPARED = "prepared"
"""The folder of corpora that a run has made for itself."""


class SettingsFile(Protocol):
    """What reads and writes config.toml."""

    def read(self, path: Path, /) -> Mapping[str, Any]:
        """Return what the file says, as plain values."""

    def write(self, path: Path, /, *, command: str, parameters: Mapping[str, Any]) -> None:
        """Write it."""


class RunFolder:
    """A run's folder, held by this process until it is closed; a context manager. Made by `open`."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path, self._lock = path, lock
        self.config = path / "config.toml"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.report = path / "report.html"
        self.accepts_changes = False
        """Whether the user said that what was changed since the run began is meant."""
        self._keeps_checkpoints = False
        self._record_file = path / _RECORD
        self._record: dict[str, Any] = {}

    @classmethod
    def open(
        cls,
        path: Path,
        command: str,
        parameters: Mapping[str, Any],
        *,
        resume: bool,
        data: str,
        settings_file: SettingsFile,
        prepared: bool = False,
    ) -> "RunFolder":
        """Make a run's folder, or take up the one that is there.

        With `resume` a folder that isn't there is made, so that one and the same command begins a run and goes on
        with it.

        Args:
            path: the folder.
            command: name of the command.
            parameters: its resolved parameters; `accept_changes` among them lets settings change.
            resume: whether the folder may be there already.
            data: fingerprint of what is trained on.
            settings_file: `bertie.config`, which only commands may know.
            prepared: whether the run has made its corpora already, in `PREPARED`.

        Raises:
            SettingsError: it is there without `resume`, is no run, another process holds it, or settings differ.
            DataError: the data differ, or run.json is damaged.
            ResourceError: the disk is full.
        """
        if not resume:
            refuse_occupied(path, but=PREPARED if prepared else None)
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path, _lock(path))
        folder.accepts_changes = bool(parameters.get("accept_changes"))
        parameters = {name: value for name, value in parameters.items() if name != "accept_changes"}
        folder._keeps_checkpoints = flat(parameters).get("training.keep") is not None
        try:
            if not folder._record_file.exists():
                folder._begin(command, parameters, data)
            elif folder._go_on(command, parameters, data, settings_file.read):
                folder.config.unlink(missing_ok=True)
            if not folder.config.exists():
                settings_file.write(folder.config, command=command, parameters={**parameters, "resume": False})
                folder._write_record({**folder._record, "config": flat(settings_file.read(folder.config))})
        except BaseException:
            folder._lock.close()
            raise
        return folder

    def _begin(self, command: str, parameters: Mapping[str, Any], data: str) -> None:
        # A process killed before this point leaves its lock and perhaps a part of run.json, nothing else.
        known = (self.checkpoints.name, PREPARED)
        entries = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith((".", "run.json.")))
        if foreign := [name for name in entries if name not in known]:
            raise SettingsError(f"{self.path} holds {foreign[0]} but no run.json: it is no run; choose another --out")
        with disk_errors(self.checkpoints):
            self.checkpoints.mkdir(exist_ok=True)
        self._write_record({"command": command, "settings": flat(parameters), "data": data, "torch": torch.__version__})

    def _go_on(
        self, command: str, parameters: Mapping[str, Any], data: str, read_config: Callable[[Path], Mapping[str, Any]]
    ) -> bool:
        """Compare a run with what it began with; tell whether it goes on with settings that were changed."""
        record = self._record = records.read(self._record_file)
        if record["command"] != command:
            raise SettingsError(f"{self.path} is a run of {record['command']}, not of {command}")
        settings = flat(parameters)
        found = records.compare(record["settings"], settings)
        edited = self._edited(read_config)
        self._refuse(found, edited)
        if record["data"] != data:
            key = next((key for key in DATA if key in settings), "data")
            raise DataError(
                f"{self.path} can only go on with the data it began with: {key} was "
                f"{shown(record['settings'].get(key))} with fingerprint {record['data']} and is now "
                f"{shown(settings.get(key))} with {data}. Bring the old data back, or choose another --out"
            )
        if not self.finished:
            self._say_what_moves_bits(found.machine)
        if changes := found.changed:
            progress.warn(f"{self.path} goes on with other settings than it began with: {'; '.join(changes)}")
            known = [*record.get("changes", []), *changes]
            self._write_record({**record, "settings": settings, "changes": known})
        return bool(changes or edited)

    def _edited(self, read_config: Callable[[Path], Mapping[str, Any]]) -> tuple[str, ...]:
        """Name the settings that differ in config.toml from what was written there."""
        written = self._record.get("config")
        if written is None or not self.config.exists():
            return ()
        try:
            now = flat(read_config(self.config))
        except SettingsError as error:
            if self.accepts_changes:
                return (str(error),)
            raise SettingsError(
                f"{error}; it isn't as it was written: remove it to go on with the settings that the run began with"
            ) from error
        found = records.compare(written, now)
        return (*found.changed, *found.fixed)

    def _refuse(self, found: records.Changes, edited: tuple[str, ...]) -> None:
        """Refuse settings that changed, except those that may change or that the user accepts."""
        began = f"{self.path} can only go on with the settings it began with"
        if found.fixed:
            raise SettingsError(
                f"{began}: {'; '.join((*found.changed, *found.fixed))}. Give the old ones, or choose another --out"
            )
        if found.changed and self.finished:
            raise SettingsError(f"{self.path} is finished: {'; '.join(found.changed)}. Choose another --out")
        if self.accepts_changes:
            return
        if found.changed:
            raise SettingsError(
                f"{began}: {'; '.join(found.changed)}. Give the old ones, or {_ACCEPT} to go on with the new ones, or "
                "choose another --out"
            )
        if edited:
            raise SettingsError(
                f"{self.config} was changed since the run began: {'; '.join(edited)}. To go on with the settings that "
                f"the run began with, give {_ACCEPT}, which rewrites the file; to use what it says, type: "
                f"bertie run {self.config} --resume {_ACCEPT}"
            )

    def _say_what_moves_bits(self, machine: tuple[str, ...]) -> None:
        """Say what makes a resumed run's weights differ in their last bits from an unbroken run's."""
        before = self._record["torch"]
        moved = [*machine, *([] if before == torch.__version__ else [f"torch was {before} and is {torch.__version__}"])]
        if moved:
            progress.warn(
                f"{self.path}: {'; '.join(moved)}; the run goes on, but its weights won't be those of an unbroken run, "
                "bit for bit"
            )

    def _write_record(self, record: dict[str, Any]) -> None:
        self._record = records.write(self._record_file, record)

    @property
    def finished(self) -> bool:
        """Whether the run reached its end and everything was written."""
        return "values" in self._record

    @property
    def values(self) -> dict[str, Any]:
        """Figures of a finished run."""
        return dict(self._record.get("values", {}))

    def keep(self, name: str, value: Any) -> None:
        """Keep a fact of the run in its record, for a process that goes on with it; `value` is what JSON can hold."""
        self._write_record({**self._record, "kept": {**self._record.get("kept", {}), name: value}})

    def kept(self, name: str) -> Any:
        """Return a fact that was kept; None when there is none of that name."""
        return self._record.get("kept", {}).get(name)

    def mark_finished(self, values: Mapping[str, Any]) -> None:
        """Remember that nothing is left to do, the figures to repeat when asked again, and checksums of what is read.

        Checkpoints are removed, because a finished run has no use for them, unless `training.keep` was given.

        Args:
            values: what JSON can hold.
        """
        files = {file.name: sha256_file(file) for file in (self.metrics, self.report) if file.is_file()}
        self._write_record({**self._record, "values": dict(values), "files": files})
        if not self._keeps_checkpoints:
            shutil.rmtree(self.checkpoints, ignore_errors=True)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let other processes in again; the kernel does so too when this one is killed."""
        self._lock.close()


def settings_of(path: Path) -> dict[str, Any] | None:
    """Return the settings that the run in a folder began with, by dotted key; None when no run is there.

    Raises:
        DataError: its record is damaged.
    """
    file = path / _RECORD
    settings: dict[str, Any] | None = records.read(file)["settings"] if file.is_file() else None
    return settings


def refuse_occupied(path: Path, *, but: str | None = None) -> None:
    """Refuse a folder for a new run that holds something.

    Args:
        path: the folder.
        but: what it may hold.

    Raises:
        SettingsError: it does, or it is a file.
    """
    if path.exists() and (not path.is_dir() or any(entry.name != but for entry in path.iterdir())):
        raise SettingsError(f"--out {path} exists already; go on with it by --resume, or choose another --out")


def _lock(path: Path) -> IO[str]:
    """Open and lock the file that says who is at work; the lock goes with the open file, however that ends."""
    file = (path / ".lock").open("a+", encoding="utf-8")
    try:
        held = hold(file.fileno())
    except OSError:
        file.close()
        raise
    if held is False:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise SettingsError(
            f"another process (pid {holder}) is at work in {path}; wait until it ends, stop it, or choose another --out"
        )
    if held is None:
        progress.warn(f"{path} lies on a file system without locks; take care that no second process works in it")
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
