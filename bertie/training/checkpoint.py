"""Checkpoints: one folder per save, written completely or not at all. Nothing is pickled.

    checkpoints/step-00000200/   tensors-00001.safetensors ...   state.json   MANIFEST.json (bytes and sha256 of each)

A save fills a folder under a temporary name, fsyncs every file, and renames the folder (`files.atomic`). Only then are
old checkpoints removed. A resumed run loads the newest checkpoint whose files match its manifest. Only one process at a
time, the one that holds the run folder, may save or load.
"""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load as parse_tensors
from safetensors.torch import save as serialize_tensors
from torch import Tensor

from bertie import progress
from bertie.errors import DataError, ResourceError, SettingsError
from bertie.files.atomic import atomic_folder
from bertie.training.checkpoint_files import MANIFEST, STATE, as_manifest, contents, entry, parse_state, saved, step_of

_HEADROOM = 1.2  # free disk space required, as a multiple of the tensors' bytes
_PART_BYTES = 2**28  # of tensors per file; saving and loading need a few times this memory on top of the tensors
_WRITE_BYTES = 2**24
_BINARY = getattr(os, "O_BINARY", 0)  # Windows has text files too


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A checkpoint that was loaded."""

    step: int
    tensors: dict[str, Tensor]
    """On the CPU, each in its own memory allocated by torch: never a view of a mapped file, never misaligned."""
    state: dict[str, Any]
    path: Path


def save(
    folder: Path,
    *,
    step: int,
    tensors: dict[str, Tensor],
    state: dict[str, Any],
    keep: int = 2,
    agree: Callable[[], object] = lambda: None,
) -> Path:
    """Write one checkpoint and remove the oldest ones.

    Args:
        folder: the run's `checkpoints` folder; created if it doesn't exist.
        step: number of updates done.
        tensors: by name, on any device. No two may share memory.
        state: everything else, as values that JSON can hold.
        keep: number of checkpoints to keep, including this one.
        agree: called before the folder gets its name. If it raises an error, there is no new checkpoint.

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
        entries[STATE] = _write(partial / STATE, json.dumps(state).encode())
        _write(partial / MANIFEST, as_manifest(step, entries))
        agree()
    for old in [*saved(folder)[:-keep], *folder.glob("step-*.damaged")]:
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
    for path in reversed(saved(folder)):
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
    return bool(saved(folder))


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
    return entry(content)


def load(path: Path) -> Checkpoint:
    """Load one checkpoint.

    Raises:
        DataError: a file differs from the manifest or can't be read.
    """
    tensors: dict[str, Tensor] = {}
    state: dict[str, Any] = {}
    for name, content in contents(path):
        if name == STATE:
            state = parse_state(content, path)
        else:
            # Cloned, because the alignment of a view of the file's bytes depends on the length of the file's header,
            # and an odd alignment can change the last bit of a sum.
            tensors.update({key: tensor.clone() for key, tensor in parse_tensors(content).items()})
    return Checkpoint(step_of(path), tensors, state, path)
