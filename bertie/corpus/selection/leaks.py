"""Report which rows of test sets occur in the documents of a text."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bertie.corpus.selection.store import Store
from bertie.corpus.selection.test_sets import TestSets
from bertie.files.text import shorten

EXAMPLES = 5
_SHOWN_CHARACTERS = 100


class Leaks:
    """The rows that occur.

    Args:
        test_sets: the test sets.
        files: their files.
        store: the fingerprints of the documents.

    Raises:
        DataError: the stored fingerprints are damaged.
    """

    def __init__(self, test_sets: TestSets, files: tuple[Path, ...], store: Store) -> None:
        self._sets, self._files = test_sets, files
        self._shares = np.zeros(len(test_sets.cells))
        self._best = np.full(len(test_sets.cells), -1, np.int64)
        self._row_of_cell = {cell: row for row in reversed(test_sets.rows) for cell in row.cells}
        documents: list[npt.NDArray[np.int64]] = []
        cells: list[npt.NDArray[np.int64]] = []
        begin = 0
        for found, sizes in zip(store.arrays("found"), store.arrays("line"), strict=True):
            documents.append(found[:, 0] + begin)
            cells.append(found[:, 1])
            for (_, cell, count), document in zip(found.tolist(), documents[-1].tolist(), strict=True):
                share = min(1.0, count / int(test_sets.num_grams[cell]))
                if share > self._shares[cell]:
                    self._shares[cell], self._best[cell] = share, document
            begin += len(sizes)
        pairs = np.concatenate(documents or [np.empty(0, np.int64)])
        self.documents, first = np.unique(pairs, return_index=True)
        """The numbers of the documents in which a row occurs, ascending."""
        self._first_cell = np.concatenate(cells or [np.empty(0, np.int64)])[first]
        self._pairs = pairs, np.concatenate(cells or [np.empty(0, np.int64)])

    def row_in(self, document: int) -> dict[str, Any]:
        """Return the file and the line of the first row that occurs in a document of `documents`."""
        row = self._row_of_cell[int(self._first_cell[np.searchsorted(self.documents, document)])]
        return {"file": str(self._files[row.file]), "line": row.line}

    def report(self, files: list[Path], store: Store) -> list[dict[str, Any]]:
        """Return for each test set the number of its rows that occur, in how many documents, and examples.

        Args:
            files: the files of the documents.
            store: their fingerprints.
        """
        numbers, lines = store.whole("source"), store.whole("line")
        reports = []
        for file, path in enumerate(self._files):
            rows = [row for row in self._sets.rows if row.file == file]
            found = []
            for row in rows:
                cell = max(row.cells, key=lambda each: float(self._shares[each]), default=None)
                if cell is not None and self._shares[cell] > 0:
                    found.append((float(self._shares[cell]), row.line, cell))
            own = np.zeros(len(self._sets.cells), bool)
            own[[cell for row in rows for cell in row.cells]] = True
            pairs, cells = self._pairs
            examples = []
            for share, line, cell in sorted(found, key=lambda each: (-each[0], each[1]))[:EXAMPLES]:
                document = int(self._best[cell])
                examples.append(
                    {
                        "line": line,
                        "share": share,
                        "text": shorten(self._sets.cells[cell], _SHOWN_CHARACTERS),
                        "document": f"{files[numbers[document]]}:{lines[document]}",
                    }
                )
            reports.append(
                {
                    "path": str(path),
                    "rows": len(rows),
                    "rows_too_short": sum(not row.cells for row in rows),
                    "rows_found": len(found),
                    "rows_found_whole": sum(share == 1 for share, _, _ in found),
                    "documents": len(np.unique(pairs[own[cells]])),
                    "examples": examples,
                }
            )
        return reports
