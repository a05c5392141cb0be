"""The selection of documents as a step of the preparation of a corpus.

Fingerprints are kept in ``OUT.selection`` while the corpus is prepared. If that is interrupted, the same command uses
them again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.corpus.documents import Tally, read_file
from bertie.corpus.selection.duplicates import bands
from bertie.corpus.selection.fingerprints import HASHES, algorithm
from bertie.corpus.selection.select import Selection, SelectSettings, select
from bertie.corpus.selection.units import SHINGLE
from bertie.corpus.shards import CorpusWriter


@dataclass(frozen=True)
class Selecting:
    """The selection for a corpus."""

    settings: SelectSettings
    files: list[Path]
    selection: Selection

    def take(self, number: int) -> bool:
        """See `Selection.take`."""
        return self.selection.take(number)

    def dropped(self, num_documents: int) -> dict[str, int]:
        """Return the number of documents dropped for each reason that occurs.

        Args:
            num_documents: the number of documents read for the corpus.

        Raises:
            DataError: it differs from the number of documents compared.
        """
        self.selection.check_read(num_documents)
        return self.selection.dropped()

    def manifest(self) -> dict[str, Any]:
        """Return the settings, and what was found of the test sets, for the manifest."""
        settings = self.settings
        near: dict[str, Any] = {}
        if settings.duplicates == "near":
            count, rows = bands(settings.similarity)
            near = {
                "similarity": settings.similarity,
                "signatures": f"{algorithm()}, {HASHES} hashes, {count} bands of {rows}, shingles of {SHINGLE} units",
            }
        found: dict[str, Any] = {}
        if (leaks := self.selection.leaks) is not None:
            found = {"leaks": settings.leaks, "test_sets": leaks.report(self.files, self.selection.store)}
        return {"duplicates": settings.duplicates, **near, "languages": list(settings.languages), **found}

    def list_dropped(self, path: Path) -> None:
        """See `Selection.list_dropped`."""
        self.selection.list_dropped(self.files, path)


@contextmanager
def selecting(
    files: list[Path], settings: SelectSettings | None, reading: dict[str, Any], out: Path, num_processes: int
) -> Iterator[Selecting | None]:
    """Select documents, and keep the fingerprints until the context ends.

    Args:
        files: the files of the text.
        settings: which documents to drop; nothing is done if that is None or drops and reports nothing.
        reading: arguments of `read_file`.
        out: the corpus folder.
        num_processes: number of processes.

    Yields:
        The selection; None if nothing is done.

    Raises:
        SettingsError, DataError, ResourceError: see `select`.
    """
    if settings is None or not settings.selects:
        yield None
        return
    folder = out.with_name(f"{out.name}.selection")
    selection = select(
        files,
        read=lambda path, tally: read_file(path, **reading, tally=tally),
        reading=reading,
        settings=settings,
        folder=folder,
        num_processes=num_processes,
    )
    try:
        yield Selecting(settings, files, selection)
    except BaseException:
        selection.store.close()
        if folder.exists():
            progress.note(f"the comparison of the documents is kept in {folder} for the next attempt")
        raise
    selection.store.remove()


def dropped_documents(
    statistics: dict[str, Any], tally: Tally, writer: CorpusWriter, selected: Selecting | None
) -> dict[str, int]:
    """Return the number of documents that were read and are not in the corpus, for each reason that occurs.

    Args:
        statistics: the statistics of the documents that were taken.
        tally: counts of what was read.
        writer: the writer of the corpus, after the last document.
        selected: the selection, if any.

    Raises:
        DataError: the text was changed after the documents were selected.
    """
    num_taken = sum(statistics["documents_by_language"].values())
    reasons = {} if selected is None else selected.dropped(tally.num_documents)
    counts = {
        "empty": tally.num_empty,
        **reasons,
        "in_other_corpus": tally.num_documents - num_taken - sum(reasons.values()),
        "without_tokens": num_taken - writer.num_documents,
    }
    return {reason: count for reason, count in counts.items() if count}
