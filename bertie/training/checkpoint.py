"""Checkpoints: a folder a save, whole or not at all, never pickled; the newest one that verifies wins.

    checkpoints/step-00000200/   tensors-00001.safetensors ...   state.json   MANIFEST.json (bytes and sha256 of each)

A folder is filled under a temporary name, every file fsynced, and renamed into place (`files.atomic`); only then are
old ones removed. One process at a time, the one that holds the run folder, may save or load.
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
_HEADROOM = 1.2  # free space wanted, as a multiple of what is written
_PART_BYTES = 2**28  # tensors of one file; saving and loading need a few times this in memory beside the tensors
_WRITE_BYTES = 2**24
_BINARY = getattr(os, "O_BINARY", 0)  # Windows has text files too
_MAX_MANIFEST_BYTES = 2**20


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a save held."""

    step: int
    tensors: dict[str, Tensor]
    """On the CPU, each in memory of its own that torch allocated: never a view of a mapped file, never misaligned."""
    state: dict[str, Any]
    path: Path


def save(folder: Path, *, step: int, tensors: dict[str, Tensor], state: dict[str, Any], keep: int = 2) -> Path:
    """Write one checkpoint and remove the oldest ones.

    Args:
        folder: the run's `checkpoints` folder; made when it isn't there.
        step: updates done.
        tensors: by name, on any device. Two that share memory must not both be given.
        state: everything else; what JSON can hold.
        keep: checkpoints left afterwards, this one counted.

    Returns:
        The new folder.

    Raises:
        ResourceError: not enough free disk; nothing is left behind, and older checkpoints are untouched.
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
    """Load the newest checkpoint that verifies; remove what broken saves left.

    Damaged ones newer than it are named in a warning and set aside under another name; the next save removes them.

    Args:
        folder: the run's `checkpoints` folder.

    Returns:
        The checkpoint; None when nothing was ever saved.

    Raises:
        DataError: every checkpoint is damaged.
    """
    for leftover in folder.glob("step-*.partial-*"):
        _remove(leftover)
    damaged: list[Path] = []
    for path in reversed(_saved(folder)):
        try:
            found = load(path)
        except DataError as error:
            progress.warn(f"{error}; trying the checkpoint before it")
            damaged.append(path)
            continue
        for other in damaged:
            aside = other.with_name(f"{other.name}.damaged")
            shutil.rmtree(aside, ignore_errors=True)
            other.rename(aside)
        return found
    if damaged:
        raise DataError(f"no valid checkpoint is left in {folder}; remove this folder to start again from step 0")
    return None


def exists(folder: Path) -> bool:
    """Tell whether there is a checkpoint in a run's `checkpoints` folder, damaged or not."""
    return bool(_saved(folder))


def _saved(folder: Path) -> list[Path]:
    """List the checkpoints, damaged or not, oldest first."""
    numbered = [(int(match[1]), path) for path in folder.glob("step-*") if (match := _FOLDER.fullmatch(path.name))]
    return [path for _, path in sorted(numbered)]


def _remove(path: Path) -> None:
    """Remove a checkpoint folder; a refusal costs a warning, not the run."""
    # First under a name that is never loaded: a kill half-way leaves no checkpoint with files missing.
    doomed = path if ".partial-" in path.name else path.with_name(f"{path.name}.partial-{secrets.token_hex(4)}")
    try:
        path.rename(doomed)
        shutil.rmtree(doomed)
    except OSError as error:
        progress.warn(f"can't remove {path}, which is no longer needed: {error.strerror}")


def _check_free_space(folder: Path, tensors: dict[str, Tensor]) -> None:
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()) * _HEADROOM
    free = shutil.disk_usage(place).free
    if free < needed:
        raise ResourceError(
            f"can't save in {folder}: a checkpoint needs {needed / 1e6:,.0f} MB free and there are {free / 1e6:,.0f}; "
            "free some space, or lower --training.keep"
        )


def _parts(tensors: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Divide tensors, in their order, into files; copies to the CPU are made one file at a time."""
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
    """Write a new file and return its entry in the manifest; `atomic_folder` fsyncs it."""
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
        DataError: a file of it isn't what was written.
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
            # cloned: as views of the file's bytes they would lie as its header's length has it, and odd alignment
            # can change the last bit of a sum
            tensors.update({key: tensor.clone() for key, tensor in parse_tensors(content).items()})
    if manifest != _manifest(step, entries) or _STATE not in entries:
        raise DataError(f"{path / _MANIFEST} is damaged: it isn't what was written for step {step}")
    return Checkpoint(step, tensors, state, path)


def _listed(path: Path, manifest: bytes) -> dict[str, Any]:
    """Return what a manifest says of each file, unchecked but for the names."""
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
