"""The files of a checkpoint, checked by its manifest, without a look into its tensors.

`checkpoint.py` writes and loads checkpoints. This file needs no torch.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.untrusted import parse_json

MANIFEST, STATE = "MANIFEST.json", "state.json"
_FILE = re.compile(r"tensors-\d{5,}\.safetensors|state\.json")
_FOLDER = re.compile(r"step-(\d{8,})")
_VERSION = 1
_MAX_MANIFEST_BYTES = 2**20


@dataclass(frozen=True)
class Facts:
    """What is known of a checkpoint without its tensors."""

    step: int
    state: dict[str, Any]
    num_bytes: int


def saved(folder: Path) -> list[Path]:
    """Return the paths of all checkpoints of a run's `checkpoints` folder, damaged or not, oldest first."""
    numbered = [(int(match[1]), path) for path in folder.glob("step-*") if (match := _FOLDER.fullmatch(path.name))]
    return [path for _, path in sorted(numbered)]


def is_checkpoint(path: Path) -> bool:
    """Tell whether a folder is a checkpoint, damaged or not, by its name and its manifest."""
    return _FOLDER.fullmatch(path.name) is not None and (path / MANIFEST).is_file()


def step_of(path: Path) -> int:
    """Return the number of updates before a checkpoint was saved, by the name of its folder."""
    return int(path.name.removeprefix("step-"))


def facts(path: Path) -> Facts:
    """Check all files of a checkpoint, and return what is known without its tensors.

    Raises:
        DataError: a file differs from the manifest or can't be read.
    """
    state: dict[str, Any] = {}
    num_bytes = 0
    for name, content in contents(path):
        num_bytes += len(content)
        if name == STATE:
            state = parse_state(content, path)
    return Facts(step_of(path), state, num_bytes)


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """Read the files of a checkpoint: their names and contents, each compared with the manifest.

    Raises:
        DataError: a file differs from the manifest or can't be read; after the last file, that the manifest isn't
            the one that was written.
    """
    manifest = _read(path / MANIFEST, limit=_MAX_MANIFEST_BYTES)
    entries = {}
    for name, expected in _listed(path / MANIFEST, manifest).items():
        content = _read(path / name)
        entries[name] = entry(content)
        if entries[name] != expected:
            raise DataError(
                f"{path / name} is damaged: it has {len(content)} bytes and sha256 "
                f"{entries[name]['sha256'][:12]}..., {MANIFEST} says {expected!r:.150}"
            )
        yield name, content
    step = step_of(path)
    if manifest != as_manifest(step, entries) or STATE not in entries:
        raise DataError(f"{path / MANIFEST} is damaged: it isn't what was written for step {step}")


def parse_state(content: bytes, path: Path) -> dict[str, Any]:
    """Return what a checkpoint stores besides its tensors."""
    state: dict[str, Any] = parse_json(content, str(path / STATE), data=True)
    return state


def entry(content: bytes) -> dict[str, Any]:
    """Return the manifest's entry of a file with this content."""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def as_manifest(step: int, entries: dict[str, dict[str, Any]]) -> bytes:
    """Return the manifest of a checkpoint with these files."""
    return (json.dumps({"version": _VERSION, "step": step, "files": entries}, indent=1) + "\n").encode()


def _listed(path: Path, manifest: bytes) -> dict[str, Any]:
    """Return the manifest's entry of each file. Only the names are checked."""
    try:
        files = parse_json(manifest, str(path))["files"]
        if not isinstance(files, dict) or not all(_FILE.fullmatch(name) for name in files):
            raise ValueError("its list of files isn't one that a save writes")
    except (DataError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged: {type(error).__name__}: {error!s:.150}") from error
    return files


def _read(path: Path, *, limit: int | None = None) -> bytes:
    try:
        if limit is not None and path.stat().st_size > limit:
            raise DataError(f"{path} is damaged: {path.stat().st_size} bytes are more than it can have")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}") from error
