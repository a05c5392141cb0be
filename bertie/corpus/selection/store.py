"""Fingerprints on disk, in pieces that appear whole: a job that was interrupted goes on after the last one.

The folder has ``request.json`` (what the fingerprints were made from) and ``000000.npz``, ``000001.npz`` and so on.
Each piece holds arrays over its n documents:

    source, line (n,) where a document begins: the number of its file, and the line from 1
    digest       (n, 2) uint64: the hash of the normalized text
    language     (n,) the code of the detected language; empty if not asked for
    signature    (n, HASHES) uint16; (n, 0) if not asked for
    found        (m, 3) int64: the number of a document in the piece, a cell of the test sets, and how many of its grams
"""

import contextlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bertie import progress
from bertie.corpus.selection.fingerprints import DIGEST_BYTES, Fingerprints, digest_of
from bertie.errors import DataError, SettingsError
from bertie.files.atomic import write_bytes, write_text
from bertie.files.lock import hold
from bertie.untrusted import read_object

_FORMAT = "bertie fingerprints"
_REQUEST, _LOCK = "request.json", "lock"
_PIECE_DOCUMENTS = 20_000  # at most 13 MB in memory
_PIECE_CHUNKS = 100  # 50 million characters, some seconds of work
_NAMES = ("source", "line", "digest", "language", "signature", "found")


class Store:
    """Fingerprints in a folder, in the order of the documents.

    Args:
        folder: created if it is missing.
        request: what determines the fingerprints, as JSON gives it back; pieces of another request are removed.

    Raises:
        SettingsError: another process uses the folder, or it holds files of the user.
    """

    def __init__(self, folder: Path, request: dict[str, Any]) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / _LOCK).open("wb")
        try:
            if hold(self._lock.fileno()) is False:
                raise SettingsError(f"another command is preparing this corpus (it uses {folder}); wait until it ends")
            self._sizes = self._reuse(request)
        except BaseException:
            self._lock.close()
            raise
        self._open = _OpenPiece()

    def __len__(self) -> int:
        """Return the number of documents stored."""
        return sum(self._sizes)

    def append(self, file: int, line: int, fingerprints: Fingerprints, number: int) -> None:
        """Add a document: text `number` of a chunk, which begins at a line of a file."""
        if len(self._open.lines) >= _PIECE_DOCUMENTS or self._open.num_chunks >= _PIECE_CHUNKS:
            self.flush()
        self._open.begin(file, line, fingerprints, number)

    def extend(self, fingerprints: Fingerprints, number: int) -> None:
        """Add a further part of the last document."""
        self._open.extend(fingerprints, number)

    def flush(self) -> None:
        """Write the open piece."""
        if self._open.lines:
            content = io.BytesIO()
            np.savez(content, **self._open.arrays())
            write_bytes(self._piece(len(self._sizes)), content.getvalue())
            self._sizes.append(len(self._open.lines))
        self._open = _OpenPiece()

    def arrays(self, name: str) -> Iterator[npt.NDArray[Any]]:
        """Read one array of each piece, in order.

        Raises:
            DataError: a piece is damaged.
        """
        for piece in range(len(self._sizes)):
            yield self._read(piece, name)

    def whole(self, name: str) -> npt.NDArray[Any]:
        """Return one array over all documents."""
        return np.concatenate(list(self.arrays(name)))

    def close(self) -> None:
        """Release the folder; remove it if it holds nothing to go on from."""
        self._lock.close()
        if not self._sizes:
            self.remove()

    def remove(self) -> None:
        """Remove the folder."""
        self._lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _piece(self, number: int) -> Path:
        return self.folder / f"{number:06}.npz"

    def _read(self, piece: int, name: str) -> npt.NDArray[Any]:
        path = self._piece(piece)
        try:
            with np.load(path, allow_pickle=False) as content:
                array: npt.NDArray[Any] = content[name]  # the checksum in the zip archive is verified
                return array
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise DataError(f"{path} is damaged; remove {self.folder} and prepare the corpus again") from error

    def _reuse(self, request: dict[str, Any]) -> list[int]:
        """Return the number of documents of each piece that can be used again; remove the others."""
        request = {"format": _FORMAT, **request}
        found: dict[str, Any] = {}
        names = [path.name for path in self.folder.iterdir() if path.name != _LOCK]
        with contextlib.suppress(DataError, SettingsError):
            found = read_object(self.folder / _REQUEST)
        if found.get("format") != _FORMAT and not all(name.startswith(_REQUEST) for name in names):
            raise SettingsError(f"{self.folder} exists and holds other files; remove it, or choose another --out")
        sizes: list[int] = []
        if found == request:
            with contextlib.suppress(DataError):
                while self._piece(len(sizes)).exists():
                    arrays = [self._read(len(sizes), name) for name in _NAMES]
                    sizes.append(len(arrays[0]))
        for path in sorted(self.folder.glob("*.npz"))[len(sizes) :]:
            path.unlink()
        if found != request:
            write_text(self.folder / _REQUEST, json.dumps(request, indent=1) + "\n")
        if sizes:
            progress.note(f"{self.folder} has the fingerprints of {sum(sizes):,} documents; going on after them")
        return sizes


class _OpenPiece:
    """The documents of the piece that is being collected."""

    def __init__(self) -> None:
        self.files: list[int] = []
        self.lines: list[int] = []
        self.num_chunks = 0.0
        self._digests: list[bytes] = []
        self._languages: list[str] = []
        self._signatures: list[npt.NDArray[np.uint32]] = []
        self._found: list[dict[int, int]] = []

    def begin(self, file: int, line: int, fingerprints: Fingerprints, number: int) -> None:
        self.files.append(file)
        self.lines.append(line)
        self.num_chunks += 1 / len(fingerprints.digests)
        self._digests.append(fingerprints.digests[number])
        self._languages.append(fingerprints.languages[number])
        self._signatures.append(fingerprints.signatures[number])
        self._found.append(fingerprints.found[number])

    def extend(self, fingerprints: Fingerprints, number: int) -> None:
        self.num_chunks += 1 / len(fingerprints.digests)
        self._digests[-1] = digest_of(self._digests[-1] + fingerprints.digests[number])
        self._signatures[-1] = np.minimum(self._signatures[-1], fingerprints.signatures[number])
        before, more = self._found[-1], fingerprints.found[number]
        self._found[-1] = {cell: before.get(cell, 0) + more.get(cell, 0) for cell in sorted({*before, *more})}

    def arrays(self) -> dict[str, Any]:
        found = [(place, *entry) for place, cells in enumerate(self._found) for entry in cells.items()]
        return {
            "source": np.array(self.files, np.uint32),
            "line": np.array(self.lines, np.uint64),
            "digest": np.frombuffer(b"".join(self._digests), "<u8").reshape(-1, DIGEST_BYTES // 8),
            "language": np.array(self._languages, "S8"),
            # The lowest bits: the highest of a minimum are 0.
            "signature": np.array(self._signatures, np.uint32).astype(np.uint16),
            "found": np.array(found, np.int64).reshape(-1, 3),
        }
