"""The beginning of a file as a file of the same form, without its unreadable rows, for a task's reader."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from bertie.bulk import parquet
from bertie.bulk.sources import Source
from bertie.files.compression import COMPRESSIONS, format_suffix
from bertie.files.text import open_text


class Head:
    """The first rows of a file.

    Args:
        path: the file.
        before: the lines before the first row, such as the header.
        rows: number of its first line, and its lines, for each readable row.
        count: number of rows, readable or not.
    """

    def __init__(self, path: Path, before: Sequence[str], rows: list[tuple[int, list[str]]], count: int) -> None:
        self._path, self._before, self._rows, self._count = path, before, rows, count
        self._file = path

    @classmethod
    def of(cls, path: Path, source: Source, count: int) -> "Head":
        """Read the first `count` rows of a file; `source` is the file, newly opened."""
        if format_suffix(path) == ".parquet":
            return cls(path, [], [], min(count, source.num_rows or 0))
        found = list(islice(source.rows(), count + 1))
        starts = [row.line for row in found]
        with open_text(path) as stream:
            lines = list(islice(stream, starts[-1] - 1 if len(found) > count else None))
        ends = [*starts, len(lines) + 1][1:]
        spans = zip(found, starts, ends, strict=True)
        rows = [(start, lines[start - 1 : end - 1]) for row, start, end in spans if not row.error and start < end]
        return cls(path, lines[: starts[0] - 1] if starts else lines, rows, len(found[:count]))

    def __len__(self) -> int:
        return self._count if format_suffix(self._path) == ".parquet" else len(self._rows)

    def write(self, folder: Path) -> Path:
        """Write the rows into a folder, and return the file."""
        compressed = self._path.suffix.lower() in COMPRESSIONS
        self._file = folder / (self._path.stem if compressed else self._path.name)
        if format_suffix(self._path) == ".parquet":
            parquet.write_head(self._path, self._file, self._count)
        else:
            text = "".join([*self._before, *(line for _, lines in self._rows for line in lines)])
            self._file.write_text(text, encoding="utf-8", newline="\n")
        return self._file

    def left_out(self, message: str) -> bool:
        """Leave out the row that an error names. Return whether there is such a row besides others."""
        wrong = re.match(re.escape(str(self._file)) + r":(\d+):", message)
        places = self._places() if wrong else []
        if wrong is None or len(self._rows) < 2 or not len(self._before) < int(wrong[1]) <= len(places):
            return False
        line = places[int(wrong[1]) - 1]
        self._rows = [(start, lines) for start, lines in self._rows if not start <= line < start + len(lines)]
        return True

    def translated(self, message: str) -> str:
        """Return an error about the written rows with the name and the lines of the file itself."""
        places = self._places()

        def place(found: re.Match[str]) -> str:
            number = int(found[1])
            return f"{self._path}:{places[number - 1] if 0 < number <= len(places) else number}"

        text = re.sub(re.escape(str(self._file)) + r":(\d+)", place, message)
        return text.replace(str(self._file), str(self._path))

    def _places(self) -> list[int]:
        """Return the line in the file of each line written."""
        kept = [start + number for start, lines in self._rows for number in range(len(lines))]
        return [*range(1, len(self._before) + 1), *kept]
