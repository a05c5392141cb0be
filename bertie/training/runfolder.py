"""The folder of a run: who may write in it, what is in it, and whether it may be resumed.

    config.toml   metrics.jsonl   checkpoints/   model/   report.html
    run.json      the settings and data the run began with, and, once it is finished, its figures
    .lock         held by the process that is at work

run.json and not config.toml decides what a resumed run must keep to: config.toml is there to be copied and edited.
"""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import torch

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.files.atomic import disk_errors, write_text
from bertie.files.lock import hold

FREE = frozenset({"resume", "out", "quiet", "training.keep", "training.save_every"})
"""Settings that may differ between a run and its resumption: none of them changes the weights."""
DATA = ("corpus", "train")
"""Settings that say where the data lie, which may change too: the data's fingerprint may not."""


class RunFolder:
    """A run's folder, held by this process until it is closed; a context manager. Made by `open`."""

    def __init__(self, path: Path, lock: IO[str]) -> None:
        self.path, self._lock = path, lock
        self.config = path / "config.toml"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.report = path / "report.html"
        self._record_file = path / "run.json"
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
        write_config: Callable[..., None],
    ) -> "RunFolder":
        """Make a run's folder, or take up the one that is there.

        With `resume` a folder that isn't there is made, so that one and the same command begins a run and goes on
        with it.

        Args:
            path: the folder.
            command: name of the command.
            parameters: its resolved parameters.
            resume: whether the folder may be there already.
            data: fingerprint of what is trained on.
            write_config: `bertie.config.write`, which only commands may know.

        Raises:
            SettingsError: it is there without `resume`, is no run, another process holds it, or settings differ.
            DataError: the data differ, or run.json is damaged.
            ResourceError: the disk is full.
        """
        if not resume and _occupied(path):
            raise SettingsError(f"--out {path} exists already; go on with it by --resume, or choose another --out")
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path, _lock(path))
        try:
            if folder._record_file.exists():
                folder._go_on(command, parameters, data)
            else:
                folder._begin(command, parameters, data)
            if not folder.config.exists():
                write_config(folder.config, command=command, parameters={**parameters, "resume": False})
        except BaseException:
            folder._lock.close()
            raise
        return folder

    def _begin(self, command: str, parameters: Mapping[str, Any], data: str) -> None:
        # A process killed before this point leaves its lock and perhaps a part of run.json, nothing else.
        foreign = sorted(entry.name for entry in self.path.iterdir() if not entry.name.startswith((".", "run.json.")))
        if foreign not in ([], [self.checkpoints.name]):
            raise SettingsError(f"{self.path} holds {foreign[0]} but no run.json: it is no run; choose another --out")
        with disk_errors(self.checkpoints):
            self.checkpoints.mkdir(exist_ok=True)
        self._write_record(
            {"command": command, "settings": _flat(parameters), "data": data, "torch": torch.__version__}
        )

    def _go_on(self, command: str, parameters: Mapping[str, Any], data: str) -> None:
        record = self._record = self._read_record()
        if record["command"] != command:
            raise SettingsError(f"{self.path} is a run of {record['command']}, not of {command}")
        before, now = record["settings"], _flat(parameters)
        changed = [
            f"{key} was {_shown(before.get(key))} and is now {_shown(now.get(key))}"
            for key in dict.fromkeys([*before, *now])
            if key not in FREE and key not in DATA and before.get(key) != now.get(key)
        ]
        if changed:
            raise SettingsError(
                f"{self.path} can only go on with the settings it began with: {'; '.join(changed)}. "
                "Give the old ones, or choose another --out"
            )
        if record["data"] != data:
            key = next((key for key in DATA if key in now), "data")
            raise DataError(
                f"{self.path} can only go on with the data it began with: {key} was {_shown(before.get(key))} with "
                f"fingerprint {record['data']} and is now {_shown(now.get(key))} with {data}. "
                "Bring the old data back, or choose another --out"
            )
        if record["torch"] != torch.__version__ and not self.finished:
            progress.warn(
                f"{self.path} began with torch {record['torch']}; with torch {torch.__version__} it goes on, but its "
                "weights won't be those of an unbroken run, bit for bit"
            )

    def _read_record(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self._record_file.read_bytes())
            if not all(isinstance(record[key], str) for key in ("command", "data", "torch")):
                raise ValueError("a fingerprint or name isn't text")
            if not isinstance(record["settings"], dict) or not isinstance(record.get("values", {}), dict):
                raise ValueError("the settings or figures aren't objects")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{self._record_file} is damaged ({type(error).__name__}: {error!s:.80}); "
                "without it the run can't be resumed: choose another --out"
            ) from error
        return record

    def _write_record(self, record: dict[str, Any]) -> None:
        write_text(self._record_file, json.dumps(record, indent=1) + "\n")
        self._record = record

    @property
    def finished(self) -> bool:
        """Whether the run reached its end and everything was written."""
        return "values" in self._record

    @property
    def values(self) -> dict[str, Any]:
        """Figures of a finished run."""
        return dict(self._record.get("values", {}))

    def mark_finished(self, values: Mapping[str, Any]) -> None:
        """Remember that nothing is left to do, and the figures to repeat when asked again.

        Args:
            values: what JSON can hold.
        """
        self._write_record({**self._record, "values": dict(values)})

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let other processes in again; the kernel does so too when this one is killed."""
        self._lock.close()


def _occupied(path: Path) -> bool:
    return path.exists() and (not path.is_dir() or any(path.iterdir()))


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


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings by dotted key as users write them (`from` for `from_`), in forms that JSON keeps."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix + name.removesuffix("_")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{key}."))
        elif isinstance(value, os.PathLike):
            flat[key] = str(Path(value).resolve())  # "out/corpus" and its full name are one place
        elif value is not None:
            flat[key] = json.loads(json.dumps(value))
    return flat


def _shown(value: Any) -> str:
    return "not set" if value is None else repr(value)
