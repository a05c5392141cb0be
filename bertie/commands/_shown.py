"""What `show` returns: all facts for programs, and those that people look for, in words, for the terminal."""

import math
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertie.commands.command import Report
from bertie.errors import DataError
from bertie.untrusted import check_regular, parse_object

DAMAGED = 3
"""The exit code for changed files."""
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format


@dataclass(frozen=True, kw_only=True)
class Description(Report):
    """What an artefact is; ``--json`` prints all facts."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    """What the terminal shows: facts in words, by name, without those that are None or empty."""

    def as_table(self) -> dict[str, Any]:
        """Return the facts in words."""
        return {name: value for name, value in self.facts.items() if value not in (None, "", [], {}, ())}


def quoted(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))


def size(num_bytes: int) -> str:
    """Return a size for people.

    >>> size(1234), size(6216648)
    ('1.2 kB', '6.2 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:,.1f} {unit}"
    return f"{num_bytes} bytes"


def count(number: int) -> str:
    """Return a large number for people.

    >>> count(980), count(22713216)
    ('980', '22.7 million')
    """
    for unit, factor in (("billion", 1e9), ("million", 1e6)):
        if number >= factor:
            return f"{number / factor:,.1f} {unit}"
    return f"{number:,}"


def bytes_of(folder: Path) -> int:
    """Return the size of a folder's files."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def scores_in_words(scores: Mapping[str, Any]) -> str:
    """Return scores as one line."""
    numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
    return ", ".join(f"{name.removeprefix('dev_').replace('_', ' ')} {value:.4g}" for name, value in numbers.items())


def integrity(files: Mapping[str, Any]) -> str:
    """Return the state of an artefact's files as one line, with the names of those that differ."""
    named = "; ".join(f"{kind}: {some(files[kind])}" for kind in ("changed", "missing", "added") if files.get(kind))
    return f"{files['state']}{f' ({named})' if named else ''}"


def some(names: Iterable[Any], most: int = 6) -> str:
    """Return the first names, separated by commas, and how many there are more."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most:,} more" if len(listed) > most else "")


def tensors_of(file: Path) -> dict[str, tuple[int, str]]:
    """Read the header of a weight file: the count of numbers and their type, by tensor.

    The header is JSON; its length is in the first eight bytes.

    Raises:
        DataError: it is broken.
    """
    check_regular(file)
    length_on_disk = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(MAX_HEADER_BYTES, length_on_disk):
            raise DataError(f"{file}: its header claims {length} bytes, more than the file has; the file is broken")
        header = parse_object(stream.read(length), f"{file}: its header")
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    try:
        ends = [int(entry["data_offsets"][1]) for entry in entries.values() if "data_offsets" in entry]
        found = {name: (math.prod(map(int, entry["shape"])), str(entry["dtype"])) for name, entry in entries.items()}
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(f"{file}: its header describes a tensor without shape or type; the file is broken") from error
    if ends and 8 + length + max(ends) > length_on_disk:
        raise DataError(
            f"{file} is cut off: it has {length_on_disk:,} bytes, and its tensors end at byte "
            f"{8 + length + max(ends):,}; copy or download it again"
        )
    return found
