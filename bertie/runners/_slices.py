"""Read all slices of a job in order, after a check that they are there and belong together; see ``slice.py``."""

import heapq
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import DataError, SettingsError
from bertie.runners.slice import RESULTS, Key, Slice, check_same, checked, command_for, folder_of, found_in

_SHOWN = 5  # slices that an error lists


@dataclass(frozen=True)
class Sealed:
    """All slices of a job, checked."""

    out: Path
    command: str
    origin: dict[str, Any]
    files: list[str]
    read: dict[str, dict[str, Any]]
    """What was found in each file."""
    manifests: list[dict[str, Any]]

    def results(self) -> Iterator[bytes]:
        """Yield the results of all shards in order."""
        parts = [self._results_of(number) for number in range(len(self.manifests))]
        for _, content in heapq.merge(*parts, key=lambda part: part[0]):
            yield content

    def remove(self) -> None:
        """Remove the slices, after their results were written."""
        shutil.rmtree(folder_of(self.out), ignore_errors=True)

    def _results_of(self, number: int) -> Iterator[tuple[Key, bytes]]:
        manifest = self.manifests[number]
        name = Slice(number, len(self.manifests)).name
        with (folder_of(self.out) / name / RESULTS).open("rb") as file:
            for first, second, size in manifest["shards"]:
                yield (first, second), file.read(size)


def opened(out: Path) -> Sealed:
    """Check that all slices of an output are there, and that they are of one job.

    Raises:
        SettingsError: there are no slices, one is missing, or one is of another job.
        DataError: a slice is damaged, or the slices read different files.
    """
    folder = folder_of(out)
    found = found_in(folder)
    if not found:
        raise SettingsError(
            f"no slices of {out}: {folder} {'is empty' if folder.is_dir() else 'is missing'}; make them with "
            "prepare-corpus or predict, --runner slice"
        )
    if len(numbers := Counter(each.of for each in found)) > 1:
        most = numbers.most_common(1)[0][0]
        wrong = ", ".join(each.name for each in found if each.of != most)
        raise SettingsError(f"{folder} holds slices of different jobs; remove those that are not of {most}: {wrong}")
    manifests: dict[int, dict[str, Any]] = {}
    problems: dict[int, str] = dict.fromkeys(range(found[0].of), "missing")
    for each in found:
        try:
            manifests[each.index] = checked(folder, each)
            del problems[each.index]
        except DataError:
            problems[each.index] = "damaged"
    if problems:
        raise _incomplete(folder, problems, found[0].of, next(iter(manifests.values()), {}).get("typed"))
    ordered = [manifests[index] for index in range(found[0].of)]
    identities = [json.dumps([one["command"], one["origin"], one["files"]], sort_keys=True) for one in ordered]
    usual = identities.index(Counter(identities).most_common(1)[0][0])
    for each in sorted(found, key=lambda one: one.index):
        check_same(folder / each.name, ordered[each.index], ordered[usual]["command"], ordered[usual]["origin"])
    read = _read_by_all(folder, ordered)
    return Sealed(out, ordered[0]["command"], ordered[0]["origin"], ordered[0]["files"], read, ordered)


def _read_by_all(folder: Path, manifests: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what was found in each file, after a check that all slices found the same, and all shards are there.

    Raises:
        DataError: the slices read different files, or a shard is missing.
    """
    read: dict[str, dict[str, Any]] = {}
    shards: dict[int, list[int]] = {number: [] for number in range(len(manifests[0]["files"]))}
    for manifest in manifests:
        name = Slice(manifest["index"], manifest["of"]).name
        for file, found in manifest["read"].items():
            if read.setdefault(file, found) != found:
                again = command_for(manifest["typed"], manifest["index"], manifest["of"])
                raise DataError(
                    f"{folder / name} read another content of {file} than an earlier slice; if this slice is wrong, "
                    f"remove it and run: {again}"
                )
        for first, second, _ in manifest["shards"]:
            shards[first].append(second)
    for number, file in enumerate(manifests[0]["files"]):
        if file not in read or sorted(shards[number]) != list(range(read[file]["shards"])):
            raise DataError(f"{folder}: the slices don't hold each part of {file} once; remove the folder, start again")
    return read


def _incomplete(folder: Path, problems: Mapping[int, str], of: int, typed: str | None) -> SettingsError:
    """Build the error for missing and damaged slices, with the commands to type."""
    listed = ", ".join(f"{index} ({problem})" for index, problem in sorted(problems.items())[:_SHOWN])
    more = " ..." if len(problems) > _SHOWN else ""
    commands = [command_for(typed, index, of) for index in sorted(problems)[:_SHOWN]]
    return SettingsError(
        f"{folder}: {len(problems)} of {of} slices can't be used: {listed}{more}; run:\n  " + "\n  ".join(commands)
    )
