"""The file of a search index: the vectors of a file's texts, with the origin that they depend on. It needs no torch.

Shapes: N texts, H hidden.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie import progress
from bertie.errors import DataError
from bertie.files.atomic import write_bytes
from bertie.untrusted import check_regular, parse_json

FORM = "bertie search index 1"


def read_index(path: Path, origin: Mapping[str, str]) -> NDArray[np.float32] | None:
    """Read the vectors of an index. Return None if there is no file, or if its origin is another one.

    Args:
        path: the index.
        origin: the origin that the vectors must have.

    Raises:
        DataError: the file is not an index, or is damaged.
    """
    if not path.exists():
        return None
    known, vectors = stored(path)
    changed = [name for name, value in origin.items() if known.get(name) != value]
    if changed:
        progress.note(f"{path}: changed since it was made: {', '.join(changed)}; the texts are embedded again")
        return None
    return vectors


def stored(path: Path) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """Return the origin and the (N, H) vectors of an index.

    Raises:
        SettingsError: it is no regular file.
        DataError: the file is not an index, or is damaged.
    """
    check_regular(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            known, vectors = parse_json(str(arrays["origin"]), str(path)), arrays["vectors"]
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a search index, or is damaged; remove it, or name another file") from error
    if not isinstance(known, dict) or known.get("form") != FORM or vectors.ndim != 2 or vectors.dtype != np.float32:
        raise DataError(f"{path} is not a search index of this version of bertie; remove it, or name another file")
    return known, vectors


def write_index(path: Path, origin: Mapping[str, str], vectors: NDArray[np.float32]) -> None:
    """Write an index completely, or leave the old file unchanged."""
    content = io.BytesIO()
    np.savez(content, origin=np.array(json.dumps(dict(origin))), vectors=vectors)
    write_bytes(path, content.getvalue())
