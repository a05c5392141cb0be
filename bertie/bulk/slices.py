"""Predict for one slice of a file, and join all slices into one file; ``runners.slice`` describes their files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.bulk import parts, writers
from bertie.bulk.answers import Answer
from bertie.bulk.parts import part_bytes
from bertie.bulk.run import INPUT, Job, join, num_rows, origin_of, shards, state
from bertie.errors import SettingsError
from bertie.files.atomic import sha256_file
from bertie.inference.predictor import Predictor
from bertie.readers.hub import is_dataset
from bertie.readers.reading import STORED, learned
from bertie.runners import slice as slices
from bertie.runners._slices import Sealed
from bertie.untrusted import check_regular

COMMAND = "predict"
_COLUMNS, _READING = "the columns", "the reading of the training file"


def predict_slice(predictor: Predictor[Any], answer: Answer, job: Job, place: slices.Slice, typed: str) -> bool:
    """Predict for the rows of one slice: every N-th part of the file.

    Args:
        predictor: the model.
        answer: predicts for some items.
        job: the files and settings; the slice is written beside the file to write.
        place: which slice.
        typed: the command line, for errors.

    Returns:
        False if the slice was complete already.

    Raises:
        SettingsError: a file or column doesn't exist, `out` exists, or slices of another job are there.
        DataError: the rows of the file can't be told apart, or the model is damaged.
        ResourceError: the disk is full.
    """
    if is_dataset(job.file):
        raise SettingsError(f"{job.file}: --out reads a file; save the split as a file first, such as .parquet")
    check_regular(job.file)
    writers.check(job.out)
    if job.out.exists():
        raise SettingsError(f"{job.out} exists already; remove it or choose another name")
    stored = predictor.bundle.extra.get(STORED)
    origin = {
        **{name: value for name, value in origin_of(predictor, job).items() if name != INPUT},
        _COLUMNS: job.columns,
        _READING: stored,
    }
    one = slices.Job(COMMAND, job.out, typed, origin, [str(job.file)])
    if slices.is_complete(one, place):
        return False
    before, count = state(job.file), 0
    total = num_rows(job, learned(predictor.bundle.extra))
    with (
        shards(predictor, answer, job) as (of_part, every),
        progress.bar("Reading", total=total, unit="rows") as bar,
    ):

        def results() -> Iterator[tuple[slices.Key, bytes]]:
            nonlocal count
            for number, shard in enumerate(every(0)):
                if number % place.of == place.index:
                    yield (0, number), part_bytes(*of_part(shard))
                bar.advance(len(shard[1]))
                count = number + 1

        def read() -> dict[str, dict[str, Any]]:
            if state(job.file) != before:
                raise SettingsError(f"{job.file} changed while it was read; predict again when it is complete")
            return {str(job.file): {"shards": count, "sha256": sha256_file(job.file)}}

        slices.write(one, place, results(), read)
    return True


def seal(sealed: Sealed) -> dict[str, Any]:
    """Join all slices into the file, which has the same bytes as one that was written at once.

    Returns:
        Figures: rows, errors, the first errors, truncated items.

    Raises:
        SettingsError: the file to write exists already, or the input file has changed.
        DataError: a slice is damaged, or the file holds no rows.
        ResourceError: the disk is full.
    """
    file = Path(sealed.files[0])
    check_regular(file)
    if sha256_file(file) != sealed.read[sealed.files[0]]["sha256"]:
        raise SettingsError(
            f"{file} changed since the slices were made; restore it, or remove {slices.folder_of(sealed.out)} and make "
            "them again"
        )
    writers.check(sealed.out)
    job = Job(file, sealed.out, sealed.origin[_COLUMNS], {})
    origin = {INPUT: state(file)}
    with parts.opened(sealed.out, origin, resume=False) as work:
        try:
            for content in sealed.results():
                work.add_bytes(content)
            summary = join(job, work, origin, learned({STORED: sealed.origin[_READING]}))
        finally:
            work.remove()  # the slices hold all that it holds
    return summary
