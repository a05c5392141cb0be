"""metrics.jsonl: one line a logged step or evaluation, cut back to the checkpoint when a run is resumed."""

import json
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from bertie.files.atomic import write_text


class Journal:
    """Appends records to a file; a context manager.

    Args:
        path: the file, made when it isn't there.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, record: dict[str, Any]) -> None:
        """Append one record; numbers that aren't finite are written as null."""
        plain = {key: _plain(value) for key, value in record.items()}
        self._file.write(json.dumps(plain, allow_nan=False) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Make sure that everything written so far survives a power cut."""
        self._file.flush()
        os.fsync(self._file.fileno())


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(path: Path) -> list[dict[str, Any]]:
    """Read the records; a last line that a crash tore is left out."""
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            break
        records.append(record)
    return records


def cut(path: Path, *, step: int) -> None:
    """Keep only records of `step` and before."""
    if path.exists():
        kept = [record for record in read(path) if record["step"] <= step]
        write_text(path, "".join(json.dumps(record) + "\n" for record in kept))
