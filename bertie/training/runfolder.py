"""The folder of a run: its files, its lock, and whether the run may be resumed.

    config.toml   metrics.jsonl   checkpoints/   model/   report.html
    run.json      settings and data fingerprint from the start of the run, and its figures once it is finished
    .lock         held by the process that uses the folder

A resumed run is compared with run.json and not with config.toml, which is meant to be copied and edited. If config.toml
was edited in place, or other settings are given, the run is resumed only with --accept-changes.
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
from bertie.files.atomic import disk_errors, sha256_file, write_text
from bertie.files.lock import hold
from bertie.training import parallel
from bertie.training import record as records
from bertie.training.record import DATA, flat, shown

_ACCEPT = "--accept-changes"
_RECORD = "run.json"
LAUNCH = ".launch"
"""The file with the id of the torchrun command that began the run."""
PREPARED = "prepared"
"""The subfolder of corpora that a run has prepared itself."""


class SettingsFile(Protocol):
    """Reads and writes config.toml."""

    def read(self, path: Path, /) -> Mapping[str, Any]:
        """Return the settings in the file, as plain values."""

    def write(self, path: Path, /, *, command: str, parameters: Mapping[str, Any]) -> None:
        """Write the file."""


class RunFolder:
    """A run's folder, locked by this process until it is closed. A context manager, made by `open`."""

    def __init__(self, path: Path, lock: IO[str] | None) -> None:
        self.path, self._lock = path, lock
        self.config = path / "config.toml"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.report = path / "report.html"
        self.command = ""
        self.settings: Mapping[str, Any] = {}
        """Settings of this call, by dotted key."""
        self.accepts_changes = False
        """Whether the user accepts what has changed since the run began."""
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
        """Create a run's folder, or open an existing one.

        With `resume` a missing folder is created, so the same command can begin a run and resume it. Of several
        processes that train together, only the leader holds the lock and writes.

        Args:
            path: the folder.
            command: name of the command.
            parameters: its resolved parameters. `accept_changes` among them lets settings change.
            resume: whether the folder may exist already.
            data: fingerprint of the training data.
            settings_file: `bertie.config`, which only commands may import.
            prepared: whether the run has already prepared its corpora, in `PREPARED`.

        Raises:
            SettingsError: the folder exists without `resume`, is no run, is locked by another process, or the
                settings differ.
            DataError: the data differ, or run.json is damaged.
            ResourceError: the disk is full.
        """
        if not resume:
            refuse_occupied(path, but=PREPARED if prepared else None)
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path, _lock(path) if parallel.group().leads else None)
        if folder.writes and (launch := os.environ.get("TORCHELASTIC_RUN_ID")):
            write_text(path / LAUNCH, launch)
        folder.accepts_changes = bool(parameters.get("accept_changes"))
        parameters = {name: value for name, value in parameters.items() if name != "accept_changes"}
        folder.command, folder.settings = command, flat(parameters)
        folder._keeps_checkpoints = folder.settings.get("training.keep") is not None
        try:
            if not folder._record_file.exists():
                folder._begin(command, parameters, data)
            elif folder._resume(command, parameters, data, settings_file.read) and folder.writes:
                folder.config.unlink(missing_ok=True)
            if folder.writes and not folder.config.exists():
                settings_file.write(folder.config, command=command, parameters={**parameters, "resume": False})
                folder._write_record({**folder._record, "config": flat(settings_file.read(folder.config))})
        except BaseException:
            folder._release()
            raise
        return folder

    @property
    def writes(self) -> bool:
        """Whether this process may write to the folder."""
        return self._lock is not None

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()

    @property
    def data(self) -> str:
        """The fingerprint of the training data."""
        return str(self._record["data"])

    def _begin(self, command: str, parameters: Mapping[str, Any], data: str) -> None:
        # A process killed before this point leaves only its lock and perhaps a part of run.json.
        known = (self.checkpoints.name, PREPARED)
        entries = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith((".", "run.json.")))
        if foreign := [name for name in entries if name not in known]:
            raise SettingsError(f"{self.path} has {foreign[0]} but no run.json: it is no run; choose another --out")
        with disk_errors(self.checkpoints):
            self.checkpoints.mkdir(exist_ok=True)
        self._write_record({"command": command, "settings": flat(parameters), "data": data, "torch": torch.__version__})

    def _resume(
        self, command: str, parameters: Mapping[str, Any], data: str, read_config: Callable[[Path], Mapping[str, Any]]
    ) -> bool:
        """Compare the run with its record. Return whether settings changed that the user accepts."""
        record = self._record = records.read(self._record_file)
        if record["command"] != command:
            raise SettingsError(f"{self.path} is a run of {record['command']}, not of {command}")
        settings = flat(parameters)
        differing = records.compare(record["settings"], settings)
        edited = self._edited(read_config)
        self._refuse(differing, edited)
        if record["data"] != data:
            key = next((key for key in DATA if key in settings), "data")
            raise DataError(
                f"{self.path} can only be resumed with the data it began with: {key} was "
                f"{shown(record['settings'].get(key))} with fingerprint {record['data']} and is now "
                f"{shown(settings.get(key))} with {data}. Restore the old data, or choose another --out"
            )
        if not self.finished:
            self._warn_of_other_machine(differing.machine)
        if changes := differing.changed:
            progress.warn(f"{self.path} is resumed with other settings than it began with: {'; '.join(changes)}")
            known = [*record.get("changes", []), *changes]
            self._write_record({**record, "settings": settings, "changes": known})
        return bool(changes or edited)

    def _edited(self, read_config: Callable[[Path], Mapping[str, Any]]) -> tuple[str, ...]:
        """Describe the settings in config.toml that were edited after it was written."""
        written = self._record.get("config")
        if written is None or not self.config.exists():
            return ()
        try:
            now = flat(read_config(self.config))
        except SettingsError as error:
            if self.accepts_changes:
                return (str(error),)
            raise SettingsError(
                f"{error}; the file was changed after it was written: remove it to resume with the settings that the "
                "run began with"
            ) from error
        differing = records.compare(written, now)
        return (*differing.changed, *differing.fixed)

    def _refuse(self, differing: records.Changes, edited: tuple[str, ...]) -> None:
        """Raise an error for settings that differ, unless they may differ or the user accepts them."""
        began = f"{self.path} can only be resumed with the settings it began with"
        if differing.fixed:
            raise SettingsError(
                f"{began}: {'; '.join((*differing.changed, *differing.fixed))}. Give the old ones, or choose another "
                "--out"
            )
        if differing.changed and self.finished:
            raise SettingsError(f"{self.path} is finished: {'; '.join(differing.changed)}. Choose another --out")
        if self.accepts_changes:
            return
        if differing.changed:
            raise SettingsError(
                f"{began}: {'; '.join(differing.changed)}. Give the old ones, or {_ACCEPT} to resume with the new "
                "ones, or choose another --out"
            )
        if edited:
            raise SettingsError(
                f"{self.config} was changed since the run began: {'; '.join(edited)}. To resume with the settings that "
                f"the run began with, give {_ACCEPT}, which rewrites the file. To resume with the settings in the "
                f"file, type: bertie run {self.config} --resume {_ACCEPT}"
            )

    def _warn_of_other_machine(self, machine: tuple[str, ...]) -> None:
        """Warn of differences that change the last bits of the weights."""
        before = self._record["torch"]
        moved = [*machine, *([] if before == torch.__version__ else [f"torch was {before} and is {torch.__version__}"])]
        if moved:
            progress.warn(
                f"{self.path}: {'; '.join(moved)}; the run is resumed, but its weights won't be bit for bit those of "
                "an uninterrupted run"
            )

    def _write_record(self, record: dict[str, Any]) -> None:
        self._record = records.write(self._record_file, record) if self.writes else record

    @property
    def finished(self) -> bool:
        """Whether the run reached its end and everything was written."""
        return "values" in self._record

    @property
    def values(self) -> dict[str, Any]:
        """Figures of a finished run."""
        return dict(self._record.get("values", {}))

    def keep(self, name: str, value: Any) -> None:
        """Store a value that JSON can hold in the run's record, for a process that resumes the run."""
        self._write_record({**self._record, "kept": {**self._record.get("kept", {}), name: value}})

    def kept(self, name: str) -> Any:
        """Return the value that `keep` stored under a name; None if there is none."""
        return self._record.get("kept", {}).get(name)

    def mark_finished(self, values: Mapping[str, Any]) -> None:
        """Record that the run is finished, its figures, and checksums of metrics.jsonl and report.html.

        Checkpoints are removed unless `training.keep` was given, because a finished run doesn't need them.

        Args:
            values: the figures, as values that JSON can hold.
        """
        files = {file.name: sha256_file(file) for file in (self.metrics, self.report) if file.is_file()}
        self._write_record({**self._record, "values": dict(values), "files": files})
        if not self._keeps_checkpoints:
            shutil.rmtree(self.checkpoints, ignore_errors=True)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the lock. The operating system does so too when the process is killed."""
        self._release()


def settings_of(path: Path) -> dict[str, Any] | None:
    """Return the settings that the run in a folder began with, by dotted key; None if the folder has no run.

    Raises:
        DataError: its record is damaged.
    """
    file = path / _RECORD
    settings: dict[str, Any] | None = records.read(file)["settings"] if file.is_file() else None
    return settings


def refuse_occupied(path: Path, *, but: str | None = None) -> None:
    """Check that a folder for a new run is missing or empty.

    Args:
        path: the folder.
        but: the one entry that it may have.

    Raises:
        SettingsError: it has other entries, or is a file.
    """
    if path.exists() and (not path.is_dir() or any(entry.name != but for entry in path.iterdir())):
        raise SettingsError(f"--out {path} exists already; resume it with --resume, or choose another --out")


def _lock(path: Path) -> IO[str]:
    """Open and lock the lock file and write this process's id into it. Closing the file releases the lock."""
    file = (path / ".lock").open("a+", encoding="utf-8")
    try:
        locked = hold(file.fileno())
    except OSError:
        file.close()
        raise
    if locked is False:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise SettingsError(
            f"another process (pid {holder}) uses {path}; wait until it ends, stop it, or choose another --out"
        )
    if locked is None:
        progress.warn(f"{path} is on a file system without locks; make sure that no other process uses it")
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
