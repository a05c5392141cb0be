"""Decide which documents of a text enter a corpus, in two steps.

1. Fingerprints of all documents are computed, in several processes, and stored; see `store`.
2. Reasons to drop documents are decided from the fingerprints, in this order: language, rows of test sets, exact
   duplicates, near duplicates. A document that is dropped for an earlier reason is never the copy that is kept.

A document's number counts the documents that `corpus.documents` reads, from 0. Nothing depends on the number of
processes. The first step takes constant memory; docs/measured/selection.md has the memory of the second.
"""

import json
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bertie import progress
from bertie.corpus.documents import Document, Tally
from bertie.corpus.selection.duplicates import LEAST_SIMILARITY, Copies, Shortened, exact_copies, near_copies
from bertie.corpus.selection.fingerprints import Chunk, Fingerprint, algorithm
from bertie.corpus.selection.languages import check_languages
from bertie.corpus.selection.leaks import Leaks
from bertie.corpus.selection.store import Store
from bertie.corpus.selection.test_sets import TestSets
from bertie.errors import DataError, SettingsError
from bertie.runners.local import run

DuplicatesSetting = Literal["keep", "exact", "near"]
LeaksSetting = Literal["report", "drop"]
REASONS = ("", "language", "test_rows", "exact_duplicate", "near_duplicate")
"""Why a document is dropped, by the number in `Selection.reasons`; the first one is that of documents that are kept."""
_CHUNK_CHARACTERS = 500_000
_NO_UNITS = 0xFFFF  # every hash of a signature without shingles

Read = Callable[[Path, Tally], Iterator[Document]]
"""Reads the documents of a file."""


@dataclass(frozen=True, kw_only=True)
class SelectSettings:
    """Which documents to drop."""

    duplicates: DuplicatesSetting = "keep"
    """``exact`` drops documents whose text equals an earlier one without regard to case, white space and Unicode form;
    ``near`` also those that are similar to an earlier one."""

    similarity: float = 0.7
    """The least Jaccard similarity of near duplicates, between 0.3 and 1."""

    languages: tuple[str, ...] = ()
    """Codes of the languages to keep; documents with too few letters to tell are kept, too. All if empty."""

    test_sets: tuple[Path, ...] = ()
    """Tables whose rows are looked for in the documents."""

    leaks: LeaksSetting = "report"
    """``drop`` drops documents in which a row of a test set occurs."""

    def __post_init__(self) -> None:
        if not LEAST_SIMILARITY <= self.similarity <= 1:
            raise SettingsError(f"--similarity must be between {LEAST_SIMILARITY} and 1; got {self.similarity:g}")
        if self.leaks == "drop" and not self.test_sets:
            raise SettingsError("--leaks drop has no effect without test sets; name them with --test-sets FILE")

    @property
    def selects(self) -> bool:
        """Whether there is anything to do."""
        return self.duplicates != "keep" or bool(self.languages) or bool(self.test_sets)

    def check(self) -> None:
        """Check what would fail later.

        Raises:
            SettingsError: a package isn't installed, a language is unknown, or a test set doesn't exist.
        """
        if self.duplicates == "near":
            algorithm()
        if self.languages:
            check_languages(self.languages)
        for path in self.test_sets:
            if not path.is_file():
                raise SettingsError(f"{path}: no such test set")


@dataclass(frozen=True, eq=False)
class Selection:
    """The decision about each document."""

    reasons: npt.NDArray[np.uint8]
    """(N,) the number of the reason in `REASONS`; 0 for a document that is kept."""
    kept: npt.NDArray[np.int64]
    """(N,) for a duplicate the number of the document that it repeats, otherwise -1."""
    similarities: npt.NDArray[np.float32]
    """(N,) for a duplicate the similarity to it."""
    leaks: Leaks | None
    """The rows of test sets that occur; None without test sets."""
    store: Store

    def take(self, number: int) -> bool:
        """Return whether a document is kept.

        Raises:
            DataError: there are more documents now than there were.
        """
        if number >= len(self.reasons):
            raise _changed()
        return not self.reasons[number]

    def dropped(self) -> dict[str, int]:
        """Return the number of documents dropped for each reason that occurs."""
        counts = np.bincount(self.reasons, minlength=len(REASONS)).tolist()
        return {name: count for name, count in zip(REASONS, counts, strict=True) if name and count}

    def check_read(self, num_documents: int) -> None:
        """Check that all documents were read again.

        Raises:
            DataError: there are fewer documents now than there were.
        """
        if num_documents != len(self.reasons):
            raise _changed()

    def list_dropped(self, files: list[Path], path: Path) -> None:
        """Write a line of JSON for each document that is dropped: file, line, reason, and what led to it.

        Args:
            files: the files of the documents.
            path: the file to write.
        """
        numbers, lines = self.store.whole("source"), self.store.whole("line")
        languages = self.store.whole("language")

        def place(number: int) -> dict[str, Any]:
            return {"file": str(files[numbers[number]]), "line": int(lines[number])}

        with path.open("x", encoding="utf-8") as output:
            for number in np.flatnonzero(self.reasons).tolist():
                record = place(number) | {"reason": REASONS[self.reasons[number]]}
                if self.kept[number] >= 0:
                    similarity = round(float(self.similarities[number]), 3)
                    record |= {"kept": place(int(self.kept[number])), "similarity": similarity}
                elif record["reason"] == "language":
                    record |= {"language": languages[number].decode()}
                elif self.leaks is not None:
                    record |= {"test_row": self.leaks.row_in(number)}
                output.write(json.dumps(record, ensure_ascii=False) + "\n")


def select(
    files: list[Path],
    *,
    read: Read,
    reading: dict[str, Any],
    settings: SelectSettings,
    folder: Path,
    num_processes: int,
) -> Selection:
    """Decide which documents to keep.

    Args:
        files: the files of the text.
        read: reads the documents of one of them.
        reading: the settings of `read`, as JSON can hold them.
        settings: which documents to drop.
        folder: where to keep fingerprints; if it has those of the same files and settings, they are used again. The
            caller removes it when the corpus is complete.
        num_processes: number of processes.

    Raises:
        SettingsError: a package isn't installed, or another process uses the folder.
        DataError: a file or test set is damaged, or all documents are dropped.
        ResourceError: the disk is full, or a process was killed.
    """
    settings.check()
    test_sets = TestSets.read(settings.test_sets) if settings.test_sets else None
    work = Fingerprint(settings.duplicates == "near", bool(settings.languages), settings.test_sets)
    store = Store(folder, _request(files, reading, work))
    try:
        # What there is to say about the files is said when they are read for the corpus.
        with progress.without_notes(), progress.collected():
            _fingerprint(files, read, work, store, num_processes)
        selection = _decide(store, settings, test_sets)
    except BaseException:
        store.close()
        raise
    if len(selection.reasons) and selection.reasons.all():
        store.remove()
        reasons = ", ".join(f"{name} {count:,}" for name, count in selection.dropped().items())
        raise DataError(f"all {len(selection.reasons):,} documents would be dropped: {reasons}")
    return selection


def _fingerprint(files: list[Path], read: Read, work: Fingerprint, store: Store, num_processes: int) -> None:
    """Store the fingerprints of all documents that the store doesn't have yet."""
    begin, skipped = 0, 0
    for numbers in store.arrays("source"):
        last = int(numbers[-1])
        count = int(np.count_nonzero(numbers == last))
        skipped = skipped + count if last == begin else count
        begin = last
    tally = Tally(bytes_read=sum(path.stat().st_size for path in files[:begin]))
    places: deque[tuple[int, int]] = deque()
    positions: deque[int] = deque()
    chunks = _chunks(files, begin, skipped, read, tally, places, positions)
    total = sum(path.stat().st_size for path in files) / 1e6
    results = closing(run(work, chunks, num_processes=num_processes))
    with progress.bar("Comparing", total=total, unit="MB") as bar, results as fingerprints:
        bar.begin(tally.bytes_read / 1e6)
        shown = tally.bytes_read
        for one in fingerprints:
            for number, continues in enumerate(one.continues):
                if continues:
                    store.extend(one, number)
                else:
                    store.append(*places.popleft(), one, number)
            position = positions.popleft()
            bar.advance((position - shown) / 1e6)
            shown = position
    store.flush()


def _chunks(
    files: list[Path],
    begin: int,
    skipped: int,
    read: Read,
    tally: Tally,
    places: deque[tuple[int, int]],
    positions: deque[int],
) -> Iterator[Chunk]:
    """Collect texts into chunks, from a file and document on; note each document's place, and the bytes read."""
    chunk, num_characters = Chunk([], []), 0
    for file in range(begin, len(files)):
        left = skipped if file == begin else 0
        for document in read(files[file], tally):
            left -= not document.continues
            if left >= 0:
                continue
            if not document.continues:
                places.append((file, document.line))
            text = "\n".join(document.paragraphs)
            for start in range(0, len(text), _CHUNK_CHARACTERS):
                chunk.texts.append(text[start : start + _CHUNK_CHARACTERS])
                chunk.continues.append(document.continues or start > 0)
                num_characters += len(chunk.texts[-1])
                if num_characters >= _CHUNK_CHARACTERS:
                    positions.append(tally.bytes_read)
                    yield chunk
                    chunk, num_characters = Chunk([], []), 0
    if chunk.texts:
        positions.append(tally.bytes_read)
        yield chunk


def _decide(store: Store, settings: SelectSettings, test_sets: TestSets | None) -> Selection:
    num_documents = len(store)
    reasons = np.zeros(num_documents, np.uint8)
    selection = Selection(
        reasons=reasons,
        kept=np.full(num_documents, -1, np.int64),
        similarities=np.zeros(num_documents, np.float32),
        leaks=None if test_sets is None else Leaks(test_sets, settings.test_sets, store),
        store=store,
    )
    if not num_documents:
        return selection
    if settings.languages:
        wanted = np.array(["", *settings.languages], "S8")
        reasons[~np.isin(store.whole("language"), wanted)] = REASONS.index("language")
    if selection.leaks is not None and settings.leaks == "drop":
        leaking = selection.leaks.documents
        reasons[leaking[reasons[leaking] == 0]] = REASONS.index("test_rows")
    if settings.duplicates != "keep":
        _drop(selection, exact_copies(store.whole("digest"), reasons == 0), "exact_duplicate")
    if settings.duplicates == "near":
        has_units = np.concatenate([(block != _NO_UNITS).any(axis=1) for block in store.arrays("signature")])

        def blocks() -> Iterator[Shortened]:
            return store.arrays("signature")

        _drop(selection, near_copies(blocks, (reasons == 0) & has_units, settings.similarity), "near_duplicate")
    return selection


def _drop(selection: Selection, copies: Copies, reason: str) -> None:
    selection.reasons[copies.documents] = REASONS.index(reason)
    selection.kept[copies.documents] = copies.kept
    selection.similarities[copies.documents] = copies.similarities


def _request(files: list[Path], reading: dict[str, Any], work: Fingerprint) -> dict[str, Any]:
    """Return what determines the fingerprints."""

    def identity(paths: list[Path] | tuple[Path, ...]) -> list[list[Any]]:
        return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]

    return {
        "version": 1,
        "files": identity(files),
        "reading": reading,
        "signatures": algorithm() if work.near else None,
        "language": work.language,
        "test_sets": identity(work.test_sets),
    }


def _changed() -> DataError:
    return DataError("the text was changed while the corpus was prepared; prepare it again")
