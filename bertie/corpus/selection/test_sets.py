"""Find rows of test sets in text, by n-grams of units.

A gram is a run of `GRAM` units in a cell of a table, at every place; a cell with fewer units is a single gram. A cell
with fewer units than a shingle is too short to find. A row occurs in a document if a gram of one of its cells does.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bertie.corpus.selection.units import SHINGLE, normalized, shingles_of, units_of
from bertie.errors import DataError
from bertie.tables.table import open_rows

GRAM = 13
"""Units of a gram, as in Brown et al. 2020 (GPT-3), appendix C."""


@dataclass(frozen=True)
class Row:
    """A row of a test set."""

    file: int
    """The number of its table."""
    line: int
    cells: tuple[int, ...]
    """The numbers of its cells that are long enough; equal cells share a number."""


class TestSets:
    """The text of test sets, indexed. It takes about 22 bytes for each word, and 50 while it is built."""

    __test__ = False  # not a test of pytest

    def __init__(self, cells: list[str], rows: list[Row]) -> None:
        """See `read`."""
        self.cells = cells
        """The distinct cells: normalized units, joined by spaces."""
        self.rows = rows
        grams = [num_grams(cell.count(" ") + 1) for cell in cells]
        self.num_grams = np.array(grams, np.int64)
        """(C,) the number of grams of each cell."""
        anchors: npt.NDArray[np.int64] = np.fromiter(
            chain.from_iterable(self._anchors(cell, count) for cell, count in zip(cells, grams, strict=True)),
            np.int64,
            sum(grams),
        )
        order = np.argsort(anchors, kind="stable")
        self._anchors_sorted = anchors[order]
        self._cells = np.repeat(np.arange(len(cells), dtype=np.int32), grams)[order]
        starts = np.cumsum(self.num_grams) - self.num_grams
        self._offsets = (np.arange(sum(grams)) - np.repeat(starts, grams)).astype(np.int32)[order]
        self._units = lru_cache(10_000)(lambda cell: cells[cell].split(" "))

    @classmethod
    def read(cls, files: Iterable[Path]) -> Self:
        """Read all cells of tables that are text, whatever their columns.

        Raises:
            SettingsError: there is no such file, or the package that reads it isn't installed.
            DataError: a file is damaged, or none of its cells has enough words.
        """
        numbers: dict[str, int] = {}
        rows = []
        for file, path in enumerate(files):
            found = 0
            with open_rows(path) as table:
                for line, values in table.rows(table.columns) if table.columns else ():
                    texts = (" ".join(units_of(normalized(text))) for text in _texts(values))
                    long = [text for text in texts if text.count(" ") + 1 >= SHINGLE]
                    rows.append(Row(file, line, tuple({numbers.setdefault(text, len(numbers)): 0 for text in long})))
                    found += len(long)
            if not found:
                raise DataError(f"{path}: no row has a text of at least {SHINGLE} words to look for in the corpus")
        return cls(list(numbers), rows)

    def find(self, units: list[str], shingles: list[str]) -> dict[int, int]:
        """Find grams in a text.

        Args:
            units: the units of the text.
            shingles: its shingles.

        Returns:
            For each cell with a gram in the text, how many of its grams the text has.
        """
        if len(units) < SHINGLE:
            return {}
        hashes = np.fromiter(map(hash, shingles), np.int64, len(shingles))
        first = np.searchsorted(self._anchors_sorted, hashes)
        places = np.flatnonzero(self._anchors_sorted[np.minimum(first, len(self._anchors_sorted) - 1)] == hashes)
        found: defaultdict[int, set[int]] = defaultdict(set)
        ends = np.searchsorted(self._anchors_sorted, hashes[places], side="right")
        for place, begin, end in zip(places.tolist(), first[places].tolist(), ends.tolist(), strict=True):
            for entry in range(begin, end):
                cell, offset = int(self._cells[entry]), int(self._offsets[entry])
                gram = self._units(cell)[offset : offset + GRAM]
                if units[place : place + len(gram)] == gram:
                    found[cell].add(offset)
        return {cell: len(offsets) for cell, offsets in sorted(found.items())}

    @staticmethod
    def _anchors(cell: str, count: int) -> list[int]:
        """Return the hash of the first shingle of each gram; hashes differ between processes and are never stored."""
        return list(map(hash, shingles_of(cell.split(" "))[:count]))


def num_grams(num_units: int) -> int:
    """Return the number of grams of a cell."""
    return max(1, num_units - GRAM + 1)


def _texts(values: Iterable[Any]) -> Iterator[str]:
    """Yield the texts of a row, also those inside lists and objects."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            yield from _texts(value.values())
        elif isinstance(value, list | tuple):
            yield from _texts(value)
