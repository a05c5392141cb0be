"""Write a file once, from beginning to end, and compute its sha256 on the way."""

import hashlib
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt


class HashedFile:
    """A file that is written once, from beginning to end, with its sha256."""

    def __init__(self, path: Path) -> None:
        self._file: IO[bytes] = path.open("xb")
        self._hash = hashlib.sha256()
        self._num_bytes = 0

    def write(self, values: npt.NDArray[Any]) -> None:
        """Append the bytes of an array."""
        data = np.ascontiguousarray(values).data.cast("B") if values.size else b""
        self._file.write(data)
        self._hash.update(data)
        self._num_bytes += len(data)

    def finish(self) -> dict[str, Any]:
        """Close the file and return its size and sha256 for the manifest."""
        self._file.close()
        return {"bytes": self._num_bytes, "sha256": self._hash.hexdigest()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()
