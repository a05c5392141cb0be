"""Read suites of minimal pairs: two sentences, of which one is acceptable; a folder or a tar of .jsonl files.

BLiMP (Warstadt et al. 2020) has 67 paradigms of 1,000 pairs, ZhoBLiMP (Liu et al. 2024) has 118 of 300. A paradigm
(`UID`) is one way to build a pair. The paradigms of one topic form a phenomenon.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bertie.errors import DataError, SettingsError
from bertie.files.compression import ByteStream, format_suffix
from bertie.files.text import expand, open_text
from bertie.registry import did_you_mean
from bertie.untrusted import parse_json

SUITES = {"blimp": "linguistics_term", "zhoblimp": "phenomenon"}
"""Name of a suite to the key of the phenomenon in its files."""
_MAX_MEMBER_BYTES = 64 * 1024 * 1024  # of one file in a tar, which is read into memory


@dataclass(frozen=True)
class MinimalPair:
    """Two sentences with a minimal difference that makes one of them unacceptable."""

    good: str
    bad: str
    paradigm: str
    phenomenon: str
    file: str
    """Path of the file, with the member of a tar."""
    line: int
    """Line in the file, from 1."""


def read_suite(suite: str, path: str | Path, *, limit: int | None = None) -> list[MinimalPair]:
    """Read the pairs of a suite.

    Args:
        suite: name of the suite, one of `SUITES`.
        path: a .jsonl file, a .tar of them, or a folder of either; each may be compressed (.gz, .xz, .zst).
        limit: largest number of pairs from a paradigm, its first ones; None: all.

    Raises:
        SettingsError: the suite is unknown, the limit is below 1, or the file doesn't exist.
        DataError: a file is broken, a line is not a pair, or a paradigm is in two files.
    """
    if suite not in SUITES:
        raise SettingsError(f"unknown suite {suite!r}; {did_you_mean(suite, SUITES)}")
    if limit is not None and limit < 1:
        raise SettingsError(f"--limit must be at least 1; got {limit}")
    pairs: list[MinimalPair] = []
    counts: Counter[str] = Counter()
    origin: dict[str, str] = {}
    for file, lines in _files(expand(path, suffixes=(".jsonl", ".tar"))):
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            pair = _pair(text, SUITES[suite], file, number)
            if origin.setdefault(pair.paradigm, file) != file:
                raise DataError(
                    f"{file}:{number}: {pair.paradigm} is in {origin[pair.paradigm]} too; pass one copy of the suite "
                    "with --data"
                )
            counts[pair.paradigm] += 1
            if limit is None or counts[pair.paradigm] <= limit:
                pairs.append(pair)
    if not pairs:
        raise DataError(f"{path} holds no pairs; a suite is a folder or a tar of .jsonl files")
    return pairs


def _files(paths: Iterable[Path]) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield name and lines of every .jsonl file, one after another."""
    for path in paths:
        if format_suffix(path) == ".tar":
            yield from _members(path)
        else:
            with open_text(path) as lines:
                yield str(path), lines


def _members(path: Path) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield name and lines of every .jsonl file in a tar, in one pass; write nothing to disk."""
    try:
        with ByteStream(path) as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                hidden = Path(member.name).name.startswith(".")  # some systems add such files
                if not member.isfile() or hidden or not member.name.endswith(".jsonl"):
                    continue
                if member.size > _MAX_MEMBER_BYTES:
                    raise DataError(f"{path}: {member.name} has more than {_MAX_MEMBER_BYTES // 2**20} MiB")
                content = archive.extractfile(member)
                assert content is not None  # a regular file always has content
                yield f"{path}:{member.name}", content.read().decode("utf-8-sig").split("\n")
    except tarfile.TarError as error:
        raise DataError(f"{path}: this is not a valid tar ({error})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {member.name} is not UTF-8 at offset {error.start} ({error.reason})") from error


def _pair(text: str, phenomenon: str, file: str, number: int) -> MinimalPair:
    """Read the pair on one line.

    Raises:
        DataError: the line is not a pair.
    """
    keys = ("sentence_good", "sentence_bad", "UID", phenomenon)
    values = parse_json(text, f"{file}:{number}")
    for key in keys:
        if not isinstance(values, dict) or not isinstance(values.get(key), str):
            raise DataError(
                f"{file}:{number}: a pair is an object with the texts {', '.join(keys)}; here, {key} is not a text"
            )
    good, bad, paradigm, named = (values[key] for key in keys)
    return MinimalPair(good, bad, paradigm, named, file, number)
