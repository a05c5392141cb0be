"""The folder of a run: who may write in it, what is in it, and whether it may be resumed.

    config.toml  metrics.jsonl  checkpoints/  model/  report.html, and run.json: the data's fingerprint, and whether
    the run is finished
"""

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from bertie import config
from bertie.errors import DataError, SettingsError
from bertie.files.atomic import write_text

# What may differ between a run and its resumption: none of it changes the weights. Threads do, on another count.
_FREE = {"resume", "out", "quiet", "training.keep"}


class RunFolder:
    """A run's folder, held by this process until it is closed; a context manager.

    Args:
        path: the folder.
        lock: the open, locked file.
        command: what made it.
    """

    def __init__(self, path: Path, lock: IO[str], command: str) -> None:
        self.path, self.command, self._lock = path, command, lock
        self.config = path / "config.toml"
        self.metrics = path / "metrics.jsonl"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.report = path / "report.html"

    @classmethod
    def open(
        cls, path: Path, command: str, parameters: Mapping[str, Any], *, resume: bool, data: str
    ) -> "RunFolder":
        """Make a run's folder, or take up the one that is there.

        Args:
            path: the folder.
            command: name of the command.
            parameters: its resolved parameters, written to config.toml.
            resume: whether the folder may be there already.
            data: fingerprint of what is trained on.

        Raises:
            SettingsError: it is there without `resume`, another process holds it, or settings differ.
            DataError: the data differ.
        """
        if path.exists() and not resume and (not path.is_dir() or any(path.iterdir())):
            raise SettingsError(f"--out {path} exists; go on with it by --resume, or choose another folder")
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path, _lock(path), command)
        try:
            folder._begin(parameters, data)
        except BaseException:
            folder._lock.close()
            raise
        return folder

    def _begin(self, parameters: Mapping[str, Any], data: str) -> None:
        state = self._state()
        if state is None or not self.config.exists():
            config.write(self.config, command=self.command, parameters={**parameters, "resume": False})
            write_text(self.path / "run.json", json.dumps({"data": data, "finished": False}) + "\n")
            return
        before = config.read(self.config)
        if before.pop("command", self.command) != self.command:
            raise SettingsError(f"{self.path} is a run of another command, not of {self.command}")
        changed = {
            key: values
            for key, values in config.differences(before, dict(parameters)).items()
            if key.removesuffix("_") not in _FREE
        }
        if changed:
            lines = "; ".join(f"{key} was {old!r} and is now {new!r}" for key, (old, new) in changed.items())
            raise SettingsError(f"--resume needs the settings the run began with: {lines}")
        if state["data"] != data:
            raise DataError(
                f"the data have changed since {self.path} began (fingerprint {state['data'][:12]}, now {data[:12]}); "
                "bring the old data back or start a new run"
            )

    def _state(self) -> dict[str, Any] | None:
        file = self.path / "run.json"
        if not file.exists():
            return None
        state: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return state

    @property
    def finished(self) -> bool:
        """Whether the run reached its end and everything was written."""
        state = self._state()
        return state is not None and bool(state["finished"])

    def mark_finished(self, values: Mapping[str, Any]) -> None:
        """Remember that nothing is left to do, and the figures to repeat when asked again."""
        state = self._state()
        assert state is not None
        write_text(self.path / "run.json", json.dumps({**state, "finished": True, "values": values}) + "\n")

    @property
    def values(self) -> dict[str, Any]:
        """Figures of a finished run."""
        state = self._state()
        return {} if state is None else dict(state.get("values", {}))

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let other processes in again; the kernel does so too when this one is killed."""
        self._lock.close()


def _lock(path: Path) -> IO[str]:
    file = (path / ".lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip()
        file.close()
        raise SettingsError(f"another process (pid {holder}) is at work in {path}; wait for it or stop it") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
