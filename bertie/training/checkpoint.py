"""Checkpoints: a folder a save, whole or not at all, never pickled; the newest one that verifies wins.

    checkpoints/step-00000200/   tensors.safetensors   state.json   MANIFEST.json (sizes and sha256 of the other two)

A folder is written under a temporary name, every file fsynced, and renamed into place (`files.atomic`). Tensors are
loaded into memory of their own, never left as views of a mapped file.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch import Tensor

from bertie import progress
from bertie.errors import DataError, ResourceError
from bertie.files.atomic import atomic_folder, sha256_file

_TENSORS, _STATE, _MANIFEST = "tensors.safetensors", "state.json", "MANIFEST.json"
_HEADROOM = 1.2  # free space wanted, as a multiple of what is written


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a save held."""

    step: int
    tensors: dict[str, Tensor]
    state: dict[str, Any]
    path: Path


def save(folder: Path, *, step: int, tensors: dict[str, Tensor], state: dict[str, Any], keep: int = 2) -> Path:
    """Write one checkpoint and remove the oldest ones.

    Args:
        folder: the run's `checkpoints` folder.
        step: updates done.
        tensors: by name; each is written once.
        state: everything else, as JSON.
        keep: checkpoints left afterwards, this one counted.

    Returns:
        The new folder.

    Raises:
        ResourceError: not enough free disk; nothing is left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    needed = sum(value.numel() * value.element_size() for value in tensors.values())
    free = shutil.disk_usage(folder).free
    if free < needed * _HEADROOM:
        raise ResourceError(f"{folder}: a checkpoint needs {needed / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free")
    target = folder / f"step-{step:08d}"
    if target.exists():  # a save that a later, damaged one fell back behind
        shutil.rmtree(target)
    with atomic_folder(target) as partial:
        save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, partial / _TENSORS)
        (partial / _STATE).write_text(json.dumps({"step": step, **state}, allow_nan=False), encoding="utf-8")
        files = {
            name: {"bytes": (partial / name).stat().st_size, "sha256": sha256_file(partial / name)}
            for name in (_TENSORS, _STATE)
        }
        (partial / _MANIFEST).write_text(json.dumps({"step": step, "files": files}), encoding="utf-8")
    for old in sorted(folder.glob("step-????????"))[:-keep]:
        shutil.rmtree(old)
    return target


def load_newest(folder: Path) -> Checkpoint | None:
    """Load the newest checkpoint whose manifest verifies; None when there is none.

    Damaged ones are named in a warning and passed over; leftovers of broken saves are removed.
    """
    for leftover in folder.glob("*.partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for path in sorted(folder.glob("step-????????"), reverse=True):
        try:
            return _load(path)
        except DataError as error:
            progress.warn(f"{error}; trying the checkpoint before it")
    return None


def _load(path: Path) -> Checkpoint:
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        files: dict[str, dict[str, Any]] = manifest["files"]
        contents = {name: (path / name).read_bytes() for name in (_TENSORS, _STATE)}
        for name, content in contents.items():
            if len(content) != files[name]["bytes"]:
                raise DataError(f"{path / name} has {len(content)} bytes, not {files[name]['bytes']}")
            if sha256_file(path / name) != files[name]["sha256"]:
                raise DataError(f"{path / name} is damaged: its sha256 is not the manifest's")
        state = json.loads(contents[_STATE])
        # from bytes of our own, and cloned: safetensors' views would be as badly aligned as its header is long
        tensors = {name: value.clone() for name, value in load_tensors(contents[_TENSORS]).items()}
        return Checkpoint(state.pop("step"), tensors, state, path)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged manifest makes of the lines above
        raise DataError(f"{path / _MANIFEST} can't be read: {type(error).__name__}: {error}") from error
