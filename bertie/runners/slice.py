"""Run one of N slices of a job, as a job array of Slurm or Kubernetes does, and read all slices in order.

    OUT.slices/0003-of-0007/    the slice --index 3 --of 7; it appears whole or not at all
        results.bin             the results of its shards, one after the other
        manifest.json           settings, files read with their sha256, the sizes of the shards, sha256 of results.bin

A shard is an item of the job: it has the number of its file and its number within the file. Slices need nothing of each
other. Running a complete slice again does nothing, and a damaged one is replaced.
"""

import json
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.errors import BertieError, DataError, SettingsError
from bertie.files.atomic import atomic_folder, sha256_file, write_text
from bertie.files.checksums import has_own_sum, with_own_sum
from bertie.untrusted import parse_object, read_object

Key = tuple[int, int]
"""The number of a shard's file, and the shard's number within the file."""

_FORMAT = "bertie slice"
_MANIFEST, RESULTS = "manifest.json", "results.bin"
_NAME = re.compile(r"(\d{4,6})-of-(\d{4,6})")
_MOST_SLICES = 999_999
_MOST_MANIFEST_BYTES = 1 << 30
_KINDS = {
    **dict.fromkeys(("command", "typed", "sha256_results"), str),
    **dict.fromkeys(("index", "of", "bytes"), int),
    **dict.fromkeys(("origin", "read"), dict),
    **dict.fromkeys(("files", "shards"), list),
}


@dataclass(frozen=True)
class Job:
    """What the slices of a job have in common."""

    command: str
    """The command's name."""
    out: Path
    """What the command writes."""
    typed: str
    """The command line without --index and --of; only for errors."""
    origin: Mapping[str, Any]
    """What the results depend on, by the name that an error uses."""
    files: Sequence[str]
    """The files to read, in their order."""


@dataclass(frozen=True)
class Slice:
    """The number of a slice, from 0, and the number of slices."""

    index: int
    of: int

    @classmethod
    def chosen(cls, index: int | None, of: int | None) -> "Slice":
        """Return the slice that the flags or the job array's environment variables name.

        Args:
            index: --index; by default ``SLURM_ARRAY_TASK_ID`` less ``SLURM_ARRAY_TASK_MIN``, or
                ``JOB_COMPLETION_INDEX``.
            of: --of; by default ``SLURM_ARRAY_TASK_COUNT``.

        Raises:
            SettingsError: a number is missing or out of range.
        """
        number, first = _variable("SLURM_ARRAY_TASK_ID"), _variable("SLURM_ARRAY_TASK_MIN")
        if index is None and number is not None:
            index = number - (first or 0)
        if index is None:
            index = _variable("JOB_COMPLETION_INDEX")
        if of is None:
            of = _variable("SLURM_ARRAY_TASK_COUNT")
        if index is None or of is None:
            raise SettingsError(
                "--runner slice needs --index K --of N, with K from 0 to N - 1; only a job array of Slurm sets both, "
                "and an indexed job of Kubernetes sets --index"
            )
        if not (0 < of <= _MOST_SLICES and 0 <= index < of):
            raise SettingsError(f"--index {index} --of {of}: give N from 1 to {_MOST_SLICES:,}, and K from 0 to N - 1")
        return cls(index, of)

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.index:04}-of-{self.of:04}"

    def parts(self, sizes: Sequence[int]) -> list[range | None]:
        """Divide files among slices: small files whole, and the shards of large files one by one.

        Args:
            sizes: bytes of each file.

        Returns:
            For each file None if this slice doesn't read it, or else the numbers of its shards: ``range(0, M, 1)`` or
            ``range(K, M, N)``, with M larger than any number.
        """
        total, begin = max(1, sum(sizes)), 0
        parts: list[range | None] = []
        most = 1 << 62
        for size in sizes:
            if size * self.of > total:
                parts.append(range(self.index, most, self.of))
            else:  # the slice in whose share of all bytes the file begins
                parts.append(range(most) if begin * self.of // total == self.index else None)
            begin += size
        return parts


def folder_of(out: Path) -> Path:
    """Return the folder of the slices of a command's output."""
    return out.with_name(f"{out.name}.slices")


def is_complete(job: Job, place: Slice) -> bool:
    """Return whether a slice is there already; false if it is missing or damaged.

    Raises:
        SettingsError: there are slices of another job, or of another number of slices.
    """
    folder = folder_of(job.out)
    for each in found_in(folder):
        if each.of != place.of:
            raise SettingsError(
                f"{folder} holds slices of {each.of}, not of {place.of}; give --of {each.of}, or remove the folder"
            )
    if not (folder / place.name).exists():
        return False
    try:
        manifest = checked(folder, place)
    except DataError as error:
        progress.note(f"{error}; it is made again")
        return False
    check_same(folder / place.name, manifest, command=job.command, origin=job.origin)
    return True


def write(
    job: Job, place: Slice, shards: Iterable[tuple[Key, bytes]], read: Callable[[], Mapping[str, Mapping[str, Any]]]
) -> None:
    """Compute a slice and write it, atomically.

    Args:
        job: the job.
        place: the slice.
        shards: the results, in ascending order of their keys.
        read: called after the last shard; returns what the slice found in each file that it read, by the name of the
            file: ``shards``, the number of shards of the whole file, and what all slices must agree on.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the folder can't be written.
    """
    folder = folder_of(job.out)
    with atomic_folder(folder / place.name, replace=True) as partial:
        sizes = []
        with (partial / RESULTS).open("xb") as file:
            for key, content in shards:
                file.write(content)
                sizes.append([*key, len(content)])
        manifest = {
            "format": _FORMAT,
            "command": job.command,
            "typed": job.typed,
            "index": place.index,
            "of": place.of,
            "origin": job.origin,
            "files": list(job.files),
            "read": read(),
            "shards": sizes,
            "bytes": sum(size for *_, size in sizes),
            "sha256_results": sha256_file(partial / RESULTS),
        }
        write_text(partial / _MANIFEST, json.dumps(with_own_sum(plain(manifest)), ensure_ascii=False))


def num_complete(out: Path) -> int:
    """Return how many slices are there."""
    return len(found_in(folder_of(out)))


def found_in(folder: Path) -> list[Slice]:
    """Return the slices of a folder by the names of their folders, complete or not."""
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [Slice(int(match[1]), int(match[2])) for match in map(_NAME.fullmatch, names) if match]


def checked(folder: Path, place: Slice) -> dict[str, Any]:
    """Read the manifest of a slice, and compare the results with it.

    Raises:
        DataError: the slice is damaged.
    """
    path = folder / place.name
    damaged = DataError(f"{path} is damaged")
    try:
        manifest = read_object(path / _MANIFEST, limit=_MOST_MANIFEST_BYTES)
    except BertieError:
        raise damaged from None
    whole = (
        manifest.get("format") == _FORMAT
        and all(type(manifest.get(name)) is kind for name, kind in _KINDS.items())
        and has_own_sum(manifest)
        and (manifest["index"], manifest["of"]) == (place.index, place.of)
    )
    results = path / RESULTS
    if not (whole and results.is_file() and results.stat().st_size == manifest["bytes"]):
        raise damaged
    if sha256_file(results) != manifest["sha256_results"]:
        raise damaged
    return manifest


def check_same(path: Path, manifest: Mapping[str, Any], command: str, origin: Mapping[str, Any]) -> None:
    """Check that a slice is of the same command with the same settings and data.

    Raises:
        SettingsError: it is not.
    """
    if manifest["command"] != command:
        raise SettingsError(f"{path} is a slice of {manifest['command']}, not of {command}; choose another --out")
    ours, theirs = plain(origin), manifest["origin"]
    names = [name for name in dict.fromkeys((*ours, *theirs)) if ours.get(name) != theirs.get(name)]
    if names:
        raise SettingsError(
            f"{path} was made with another value of {', '.join(names)}; remove it and run: "
            f"{command_for(manifest['typed'], manifest['index'], manifest['of'])}, with the right value"
        )


def command_for(typed: str | None, index: int, of: int) -> str:
    """Return the command to type for a slice."""
    return f"{typed or 'the same command with --runner slice'} --index {index} --of {of}"


def command_line(command: str, positional: Sequence[Any], flags: Mapping[str, Any]) -> str:
    """Return a command line of ``--runner slice`` for errors, without --index and --of.

    Args:
        command: the name of the command.
        positional: arguments without a flag.
        flags: values by parameter name; those that are None, empty or False are left out.
    """
    words = ["bertie", command, *map(str, positional)]
    for name, value in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, Mapping):
            words += [flag, *(f"{key}={each}" for key, each in value.items())] if value else []
        elif isinstance(value, bool):
            words += [flag] if value else []
        elif isinstance(value, list | tuple):
            words += [flag, *map(str, value)] if value else []
        elif value is not None:
            words += [flag, str(value)]
    return shlex.join([*words, "--runner", "slice"])


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON keeps them."""
    return parse_object(json.dumps(values, default=str), "the manifest of a slice")


def _variable(name: str) -> int | None:
    value = os.environ.get(name, "")
    return int(value) if value.isascii() and value.isdecimal() else None
