"""Checkpoints: one folder per save, written completely or not at all. Nothing is pickled.

    checkpoints/step-00000200/   tensors-00001.safetensors ...   state.json   MANIFEST.json (bytes and sha256 of each)

A save fills a folder under a temporary name, fsyncs every file, and renames the folder (`files.atomic`). Only then are
old checkpoints removed. A resumed run loads the newest checkpoint whose files match its manifest. Only one process at a
time, the one that holds the run folder, may save or load.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialize_tensors
from torch import Tensor

from bertie import progress
from bertie.errors import DataError, ResourceError, SettingsError
from bertie.files.atomic import atomic_folder
from bertie.untrusted import parse_json

_MANIFEST, _STATE = "MANIFEST.json", "state.json"
_FILE = re.compile(r"tensors-\d{5,}\.safetensors|state\.json")
_FOLDER = re.compile(r"step-(\d{8,})")
_VERSION = 1
_HEADROOM = 1.2  # free disk space required, as a multiple of the tensors' bytes
_PART_BYTES = 2**28  # of tensors per file; saving and loading need a few times this memory on top of the tensors
_WRITE_BYTES = 2**24
_BINARY = getattr(os, "O_BINARY", 0)  # Windows has text files too
_MAX_MANIFEST_BYTES = 2**20


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that was loaded."""

    step: int
    tensors: dict[str, Tensor]
    """On the CPU, each in its own memory allocated by torch: never a view of a mapped file, never misaligned."""
    state: dict[str, Any]
    path: Path


def save(folder: Path, *, step: int, tensors: dict[str, Tensor], state: dict[str, Any], keep: int = 2) -> Path:
    """Write one checkpoint and remove the oldest ones.

    Args:
        folder: the run's `checkpoints` folder; created if it doesn't exist.
        step: number of updates done.
        tensors: by name, on any device. No two may share memory.
        state: everything else, as values that JSON can hold.
        keep: number of checkpoints to keep, including this one.

    Returns:
        The new folder.

    Raises:
        ResourceError: not enough free disk space. No partial checkpoint is left, and older ones are untouched.
        SettingsError: `keep` is less than 1, or the folder can't be written to.
    """
    if keep < 1:
        raise SettingsError(f"training.keep must be at least 1, got {keep}")
    target = folder / f"step-{step:08d}"
    _check_free_space(folder, tensors)
    with atomic_folder(target) as partial:
        entries = {}
        for number, part in enumerate(_parts(tensors), 1):
            name = f"tensors-{number:05d}.safetensors"
            entries[name] = _write(partial / name, serialize_tensors(part))
        entries[_STATE] = _write(partial / _STATE, json.dumps(state).encode())
        _write(partial / _MANIFEST, _manifest(step, entries))
    for old in [*_saved(folder)[:-keep], *folder.glob("step-*.damaged")]:
        _remove(old)
    return target


def load_newest(folder: Path) -> Checkpoint | None:
    """Load the newest valid checkpoint, and remove the remains of interrupted saves.

    Newer checkpoints that are damaged are named in a warning and renamed to `*.damaged`. The next save removes them.

    Args:
        folder: the run's `checkpoints` folder.

    Returns:
        The checkpoint; None if there is none.

    Raises:
        DataError: every checkpoint is damaged.
    """
    for leftover in folder.glob("step-*.partial-*"):
        _remove(leftover)
    damaged: list[Path] = []
    for path in reversed(_saved(folder)):
        try:
            checkpoint = load(path)
        except DataError as error:
            progress.warn(f"{error}; trying the checkpoint before it")
            damaged.append(path)
            continue
        for other in damaged:
            aside = other.with_name(f"{other.name}.damaged")
            shutil.rmtree(aside, ignore_errors=True)
            other.rename(aside)
        return checkpoint
    if damaged:
        raise DataError(f"no valid checkpoint is left in {folder}; remove this folder to start again from step 0")
    return None


def exists(folder: Path) -> bool:
    """Return whether a run's `checkpoints` folder has a checkpoint, damaged or not."""
    return bool(_saved(folder))


def _saved(folder: Path) -> list[Path]:
    """Return the paths of all checkpoints, damaged or not, oldest first."""
    numbered = [(int(match[1]), path) for path in folder.glob("step-*") if (match := _FOLDER.fullmatch(path.name))]
    return [path for _, path in sorted(numbered)]


def _remove(path: Path) -> None:
    """Remove a checkpoint folder. If that fails, warn and continue the run."""
    # Renamed first to a name that is never loaded: an interrupted removal must not leave a checkpoint without files.
    doomed = path if ".partial-" in path.name else path.with_name(f"{path.name}.partial-{secrets.token_hex(4)}")
    try:
        path.rename(doomed)
        shutil.rmtree(doomed)
    except OSError as error:
        progress.warn(f"can't remove {path}, which is no longer needed: {error.strerror}")


def _check_free_space(folder: Path, tensors: dict[str, Tensor]) -> None:
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) * _HEADROOM
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise ResourceError(
            f"can't save in {folder}: a checkpoint needs {needed / 1e6:,.0f} MB of free disk space, and there are "
            f"{free / 1e6:,.0f} MB; free some space, or lower --training.keep"
        )


def _parts(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Divide tensors, in order, into files. Copy them to the CPU one file at a time, which saves memory."""
    part: dict[str, Tensor] = {}
    num_bytes = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        if part and num_bytes + size > _PART_BYTES:
            yield part
            part, num_bytes = {}, 0
        part[name] = tensor.detach().cpu().contiguous()
        num_bytes += size
    yield part


def _write(path: Path, content: bytes) -> dict[str, Any]:
    """Write a new file, which `atomic_folder` fsyncs later, and return its entry for the manifest."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest[:_WRITE_BYTES]) :]
    finally:
        os.close(descriptor)
    return _entry(content)


def _entry(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _manifest(step: int, entries: dict[str, dict[str, Any]]) -> bytes:
    return (json.dumps({"version": _VERSION, "step": step, "files": entries}, indent=1) + "\n").encode()


def load(path: Path) -> Checkpoint:
    """Load one checkpoint.

    Raises:
        DataError: a file differs from the manifest or can't be read.
    """
    step = int(path.name.removeprefix("step-"))
    manifest = _read(path / _MANIFEST, limit=_MAX_MANIFEST_BYTES)
    tensors: dict[str, Tensor] = {}
    state: dict[str, Any] = {}
    entries = {}
    for name, expected in _listed(path / _MANIFEST, manifest).items():
        content = _read(path / name)
        entries[name] = _entry(content)
        if entries[name] != expected:
            raise DataError(
                f"{path / name} is damaged: it has {len(content)} bytes and sha256 "
                f"{entries[name]['sha256'][:12]}..., {_MANIFEST} says {expected!r:.150}"
            )
        if name == _STATE:
            state = parse_json(content, str(path / name), data=True)
        else:
            # Cloned, because the alignment of a view of the file's bytes depends on the length of the file's header,
            # and an odd alignment can change the last bit of a sum.
            tensors.update({key: tensor.clone() for key, tensor in parse_tensors(content).items()})
    if manifest != _manifest(step, entries) or _STATE not in entries:
        raise DataError(f"{path / _MANIFEST} is damaged: it isn't what was written for step {step}")
    return Checkpoint(step, tensors, state, path)


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
