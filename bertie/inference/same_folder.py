"""Notice that a model folder has changed between the pickling of a predictor and its unpickling."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.files.checksums import SUMS
from bertie.inference.network import parameters_of


def mark_of(folder: Path) -> str:
    """Return a mark of a folder's checksums, or else of its files' sizes and times; it changes with the files."""
    sums = folder / SUMS
    if sums.is_file():
        return hashlib.sha256(sums.read_bytes()).hexdigest()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    facts = [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def check_same(folder: Path, mark: str) -> None:
    """Check that a folder still has its mark; a folder that is gone is left to the loader.

    Raises:
        DataError: it has another one.
    """
    if folder.is_dir() and mark_of(folder) != mark:
        raise DataError(
            f"{folder} has changed since the pickled predictor was loaded; open it with bertie.load({str(folder)!r})"
        )


def version_of(model: Any) -> int:
    """Return a number that grows with every change of the weights in place; 0 for a graph."""
    return sum(value._version for value in parameters_of(model))
