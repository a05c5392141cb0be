"""Predict for all rows of a file and write them with their predictions: first in parts, then joined into one file.

Parts begin at fixed rows, so that a resumed run computes the same batches, and writes the same bytes, as an undisturbed
one. The parts hold predictions only; to join them, the input is read a second time.
"""

import hashlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.bulk import parquet, parts, writers
from bertie.bulk.answers import Answer, answers, renamed
from bertie.bulk.items import ItemReader
from bertie.bulk.kinds import merged, widened
from bertie.bulk.parts import Part, Work
from bertie.bulk.sources import Row, Source, open_source, unique
from bertie.errors import DataError, Interrupted, ResourceError, SettingsError
from bertie.files.atomic import disk_errors, publish, sha256_file
from bertie.files.compression import format_suffix
from bertie.inference.predictor import Predictor
from bertie.inference.search import fingerprint
from bertie.readers.frames import is_written
from bertie.readers.hub import is_dataset
from bertie.readers.reading import Reading, learned
from bertie.runners._place import Place
from bertie.untrusted import check_regular
from bertie.version import VERSION

PART_ROWS = 1024
"""Most rows of a part."""
PART_CHARACTERS = 1 << 20
"""A part ends when its rows have so many characters."""
INPUT = "the input file"
"""The name of what tells the input file from others, in an origin."""
_HEAD_BYTES = 1 << 20
_SHOWN_ERRORS = 5


@dataclass(frozen=True)
class Job:
    """A file to predict for."""

    file: Path
    out: Path
    columns: Mapping[str, str] | None
    """The user's roles and options of columns."""
    settings: Mapping[str, Any]
    """All settings that change a prediction, by their flag."""


def predict_file(
    predictor: Predictor[Any], answer: Answer, job: Job, *, resume: bool, place: Place | None = None
) -> dict[str, Any]:
    """Predict for all rows of a file.

    Args:
        predictor: the model.
        answer: predicts for some items.
        job: the files and settings.
        resume: whether to continue a run that was stopped.
        place: where to run; by default in this process.

    Returns:
        Figures: rows, errors, the first errors, truncated items, seconds.

    Raises:
        SettingsError: a file or column doesn't exist, `out` exists, or the run to resume had other settings.
        DataError: the rows of the file can't be told apart, or the model is damaged.
        ResourceError: the disk is full.
        Interrupted: the user stopped the run.
    """
    started = time.monotonic()
    if is_dataset(job.file):
        raise SettingsError(f"{job.file}: --out reads a file; save the split as a file first, such as .parquet")
    check_regular(job.file)
    writers.check(job.out)
    origin = origin_of(predictor, job)
    with parts.opened(job.out, origin, resume=resume) as work:
        summary = parts.finished(job.out)
        begun = work.num_rows
        if summary is not None:
            progress.note(f"{job.out} is already finished; nothing to do")
        else:
            if begun:
                progress.note(f"continuing after {begun:,} rows")
            try:
                _predict(predictor, answer, job, work, place or Place())
                summary = join(job, work, origin, learned(predictor.bundle.extra))
            except KeyboardInterrupt:
                raise Interrupted(f"stopped after {work.num_rows:,} rows; continue with --resume") from None
            except ResourceError as error:
                raise ResourceError(f"{error}; then continue with --resume") from error
        predicted = work.num_rows - begun
        work.remove()
    seconds = time.monotonic() - started
    return {**summary, "seconds": seconds, "rows_per_second": predicted / seconds}


@dataclass(frozen=True)
class PartWork:
    """The work of one process: it predicts for the rows of a part."""

    predictor: Predictor[Any]
    answer: Answer
    file: Path
    columns: Mapping[str, str] | None
    keeps_kinds: bool
    """Whether a part holds the kinds of the file's own columns."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the reader, whose temporary files are of one process."""
        return PartWork, (self.predictor, self.answer, self.file, self.columns, self.keeps_kinds)

    @cached_property
    def reader(self) -> ItemReader:
        """The reader of the rows, opened at first use."""
        self.predictor.expect(None)  # so that the backend doesn't depend on where a run is resumed
        return ItemReader(self.predictor.task, self.file, self.columns, learned(self.predictor.bundle.extra))

    def __call__(self, shard: tuple[int, list[Row]]) -> tuple[Part, list[dict[str, Any]]]:
        """Predict for the rows of a part; the first value is the number of its first row."""
        first, some = shard
        reader, cut = self.reader, self.predictor.num_cut
        answered = answers(self.predictor, self.answer, reader, some)
        part = Part(
            first=first,
            rows=len(some),
            errors=sum("error" in one for one in answered),
            cut=self.predictor.num_cut - cut,
            own=widened({}, (row.values for row in some)) if self.keeps_kinds else {},
            added=widened({}, (one.get("fields", {}) for one in answered)),
        )
        return part, answered


def _predict(predictor: Predictor[Any], answer: Answer, job: Job, work: Work, place: Place) -> None:
    """Write the parts that are missing."""
    total = num_rows(job, learned(predictor.bundle.extra))
    with (
        shards(predictor, answer, job) as (of_part, every),
        progress.bar("Predicting", total=total, unit="rows") as bar,
        closing(place.run(of_part, every(work.num_rows), num_processes=1)) as results,
    ):
        bar.begin(work.num_rows)
        for part, answered in results:
            work.add(part, answered)
            bar.advance(part.rows, errors=f"{work.num_errors:,}")


@contextmanager
def shards(
    predictor: Predictor[Any], answer: Answer, job: Job
) -> Iterator[tuple[PartWork, Callable[[int], Iterator[tuple[int, list[Row]]]]]]:
    """Open the input file; give the work on a part, and a function that reads the parts after so many rows.

    Raises:
        SettingsError: the file can't be opened, lacks a column, or has items of several rows.
        DataError: the columns can't be recognised.
    """
    with open_source(job.file, job.columns or {}, learned(predictor.bundle.extra)) as source:
        of_part = PartWork(predictor, answer, job.file, job.columns, source.num_rows is None)
        with of_part.reader as reader:

            def every(first: int) -> Iterator[tuple[int, list[Row]]]:
                rows = source.rows(reader.needed)
                for _ in islice(rows, first):
                    pass
                while some := _next_part(rows):
                    yield first, some
                    first += len(some)

            yield of_part, every


def num_rows(job: Job, like: Reading | None) -> int:
    """Count the rows. Reading the whole file also finds a broken end before hours of work."""
    with open_source(job.file, job.columns or {}, like) as source:
        return sum(1 for _ in source.rows()) if source.num_rows is None else source.num_rows


def _next_part(rows: Iterator[Row]) -> list[Row]:
    """Take the rows of the next part; none at the end of the file."""
    some: list[Row] = []
    characters = 0
    while len(some) < PART_ROWS and characters < PART_CHARACTERS and (row := next(rows, None)):
        some.append(row)
        characters += sum(len(value) if isinstance(value, str) else len(str(value)) for value in row.values.values())
    return some


def join(job: Job, work: Work, origin: Mapping[str, Any], like: Reading | None) -> dict[str, Any]:
    """Write the rows with their predictions into one file, and give it its name."""
    _check_unchanged(job, origin)
    if not work.parts:
        raise DataError(f"{job.file} holds no rows")
    own: dict[str, str] = {}
    added: dict[str, str] = {}
    for part in work.parts:
        merged(own, part.own)
        merged(added, part.added)
    in_tables = format_suffix(job.file) == format_suffix(job.out) == ".parquet"
    first_errors: list[str] = []
    with open_source(job.file, job.columns or {}, like) as source, disk_errors(job.out):
        own = {name: own.get(name, "str") for name in dict.fromkeys((*source.columns, *own))}
        added = {**added, "error": "str"}
        names = dict(zip(added, unique(added, own), strict=True))
        types = parquet.schema(job.file) if in_tables else None
        columns = writers.Columns(own, renamed(names, added), types)
        with (
            closing(_blocks(job, work, source, in_tables=in_tables)) as blocks,
            writers.opened(work.joined, job.out, columns) as write,
        ):
            for number, block in enumerate(blocks):
                found = work.answers(number)
                lines = [one.get("fields", {}) | {"error": one.get("error")} for one in found]
                write(block, [renamed(names, line) for line in lines])
                room = _SHOWN_ERRORS - len(first_errors)
                first_errors += [one["error"] for one in found if "error" in one][:room]
    _check_unchanged(job, origin)
    figures = {"rows": work.num_rows, "errors": work.num_errors, "truncated": sum(one.cut for one in work.parts)}
    summary: dict[str, Any] = figures | ({"first_errors": first_errors} if first_errors else {})
    work.finish(summary)
    publish(work.joined, job.out)
    return summary


def _blocks(job: Job, work: Work, source: Source, *, in_tables: bool) -> Generator[Any, None, None]:
    """Yield the input's rows of each part: dictionaries, or tables of Arrow."""
    if in_tables:
        yield from parquet.tables(job.file, (part.rows for part in work.parts))
        return
    rows = source.rows()
    for part in work.parts:
        some = [row.values for row in islice(rows, part.rows)]
        if len(some) < part.rows:
            raise _changed(job)
        yield some


def origin_of(predictor: Predictor[Any], job: Job) -> dict[str, Any]:
    """Return what the predictions depend on, by the name that an error uses."""
    return {
        "the version of bertie": VERSION,
        INPUT: state(job.file),
        "the model": fingerprint(predictor),
        **{name: value if value is None else str(value) for name, value in job.settings.items()},
    }


def state(file: Path) -> dict[str, Any]:
    """Return what tells a file from a changed one, without reading all of a large file."""
    if is_written(file):  # a Python table, written anew for each call
        return {"sha256": sha256_file(file)}
    status = file.stat()
    with file.open("rb") as stream:
        head = hashlib.sha256(stream.read(_HEAD_BYTES)).hexdigest()
    return {"bytes": status.st_size, "changed": status.st_mtime_ns, "head": head}


def _check_unchanged(job: Job, origin: Mapping[str, Any]) -> None:
    """Check that the input file didn't change while it was read.

    Raises:
        SettingsError: it did.
    """
    if origin[INPUT] != state(job.file):
        raise _changed(job)


def _changed(job: Job) -> SettingsError:
    return SettingsError(f"{job.file} changed while it was read; predict again when it is complete")
