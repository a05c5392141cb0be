"""Search for the best library of each operation that is right on this machine.

The candidates of an operation are, in this order: the library of the package for each level, highest first
(`prebuilt`), with a library built here in place of one that the package lacks; then libraries built here, if there is a
compiler. The first candidate that passes the checks of `trial` is used. If all fail, torch replaces them. Proven
libraries and verdicts are kept in the user's cache (`cache`), so later starts only read them.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from bertie import progress
from bertie.ops.kernels import build, levels, prebuilt, trial
from bertie.ops.kernels import cache as store
from bertie.ops.kernels.cache import Verdict
from bertie.ops.kernels.levels import Level
from bertie.ops.kernels.pool import opened
from bertie.ops.kernels.prebuilt import Prebuilt

OFF = "C++ kernels are off, and torch replaces them more slowly"


@dataclass(frozen=True)
class Candidate:
    """A library that may serve an operation on this machine."""

    name: str
    level: Level
    file: str
    """The name in the cache once it is proven; it has a hash of everything that the library depends on."""
    prebuilt: Prebuilt | None = None
    """None: it is built here."""

    def __str__(self) -> str:
        return f"{'prebuilt ' if self.prebuilt else ''}{self.name} for {self.level.name}"


@dataclass(frozen=True)
class Choice:
    """The library that serves an operation."""

    level: str
    """`torch` if every library failed."""
    prebuilt: bool
    """Whether the package carries it; otherwise it was built here."""
    rejected: tuple[tuple[str, Verdict], ...]
    """The candidates before it, such as `gelu for avx512`, each with its verdict."""
    missing: tuple[str, ...] = ()
    """Higher levels of this processor for which there is no candidate."""


@dataclass
class Found:
    """The result of a search."""

    description: str
    loaded: dict[str, ctypes.CDLL] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)


class Search:
    """Finds the best right library of each operation.

    Args:
        names: of the operations.
        permitted: levels, highest first.
        command: the compiler; None if there is none.
    """

    def __init__(self, names: Sequence[str], permitted: Sequence[Level], command: Sequence[str] | None) -> None:
        self._names, self._command = names, command or ()
        self._folder, self._permanent = store.folder()
        self._verdicts: dict[Path, Verdict] = {}
        self._open: dict[Path, int] = {}
        self._contents: dict[Path, bytes] = {}
        self._candidates = {
            name: _candidates(name, [one for one in permitted if build.has_code_for(name, one.name)], self._command)
            for name in names
        }
        present = {candidate.level.name for several in self._candidates.values() for candidate in several}
        self._permitted = [level.name for level in permitted]
        self._levels = [level for level in self._permitted if level in present]

    def result(self) -> Found:
        """Check the candidates that have no verdict yet, and load the proven ones."""
        try:
            if unchecked := self._unchecked():
                self._announce(unchecked.values())
                with store.alone(self._folder):
                    self._check_all()
            self._report()
            return self._load()
        except OSError as error:
            progress.warn(f"{OFF}: {error}")
            return Found("plain torch (the kernels can't be checked)")
        finally:
            if not self._permanent:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _announce(self, unchecked: Iterable[Candidate]) -> None:
        what, seconds = "checking the package's C++ kernels on this processor", "a few seconds"
        if any(candidate.prebuilt is None for candidate in unchecked):
            what, seconds = "building C++ kernels for this processor and checking them", "about half a minute"
        progress.note(f"{what} ({self._levels[0]}); this takes {seconds}, once")

    def _check_all(self) -> None:
        """Check until every operation has a proven library or no candidates.

        Another process may have done this while this one waited.
        """
        store.clear_stale(self._folder)
        while unchecked := self._unchecked():
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".build-") as scratch:
                self._judge(unchecked, self._provide(unchecked, Path(scratch)))

    def _unchecked(self) -> dict[str, Candidate]:
        """Return the candidates that must be checked next, by operation."""
        best = {name: self._best(name) for name in self._names}
        return {name: one for name, one in best.items() if one is not None and self._verdict(one) is None}

    def _best(self, name: str) -> Candidate | None:
        """Return the first candidate that hasn't failed; None if all have."""
        for candidate in self._candidates[name]:
            verdict = self._verdict(candidate)
            if verdict is None or verdict.outcome == "proven":
                return candidate
        return None

    def _path(self, candidate: Candidate) -> Path:
        return self._folder / candidate.file

    def _verdict(self, candidate: Candidate) -> Verdict | None:
        """Return the verdict on a candidate; None if there is none, or if the proven file is missing or changed."""
        path = self._path(candidate)
        if path not in self._verdicts and (kept := store.read_verdict(path.with_suffix(".verdict"))) is not None:
            self._verdicts |= {path: kept} if kept.outcome != "proven" or self._opens(path, kept.text) else {}
        if candidate.prebuilt and path not in self._verdicts and path not in self._contents:
            try:
                self._contents[path] = candidate.prebuilt.content()
            except OSError as error:
                self._verdicts[path] = Verdict("unusable", str(error))
        return self._verdicts.get(path)

    def _opens(self, path: Path, digest: str) -> bool:
        """Open a library and keep it open, if its content has this hash; return whether it has."""
        try:
            descriptor = store.open_own(path)
        except OSError:
            return False
        if store.digest(store.content(descriptor)) != digest:
            os.close(descriptor)
            return False
        self._open[path] = descriptor
        return True

    def _provide(self, unchecked: Mapping[str, Candidate], scratch: Path) -> dict[str, Path]:
        """Compile or copy the libraries in parallel, record failures, and return the files of the others."""

        def provided(name: str) -> str | None:
            target, candidate = scratch / f"{name}.so", unchecked[name]
            if candidate.prebuilt is None:
                return build.compile_source(name, self._command, candidate.level.flags, target)
            target.write_bytes(self._contents[self._path(candidate)])
            target.chmod(0o600)
            return None

        with ThreadPoolExecutor(os.cpu_count() or 1) as workers:
            failures = dict(zip(unchecked, workers.map(provided, unchecked), strict=True))
        for name, failure in failures.items():
            if failure is not None:
                self._record(unchecked[name], Verdict("lacking", failure))
        return {name: scratch / f"{name}.so" for name, failure in failures.items() if failure is None}

    def _judge(self, unchecked: Mapping[str, Candidate], provided: Mapping[str, Path]) -> None:
        """Check the libraries, record their verdicts, and move the proven ones into the cache."""
        tried = {name: provided[name] for name in self._names if name in provided}
        if "layer" in tried and "attention" not in tried:
            attention = self._best("attention")
            if attention is None:
                self._record(unchecked["layer"], Verdict("lacking", "can't be checked without attention"))
            if attention is None or self._verdict(attention) is None:
                del tried["layer"]
            else:
                tried = {"attention": self._path(attention), **tried}
        for name, failure in (trial.judge(tried) if tried else {}).items():
            if name not in provided:
                continue
            path = self._path(unchecked[name])
            if failure is None:
                digest = store.digest(provided[name].read_bytes())
                provided[name].replace(path)
                self._record(unchecked[name], Verdict("proven", digest))
                self._opens(path, digest)
            else:
                self._record(unchecked[name], Verdict("failed", failure))

    def _record(self, candidate: Candidate, verdict: Verdict) -> None:
        path = self._path(candidate)
        self._verdicts[path] = verdict
        store.write_verdict(path.with_suffix(".verdict"), verdict)

    def _rejected(self, name: str) -> list[tuple[Candidate, Verdict]]:
        """Return the candidates that failed, each with its verdict."""
        verdicts = ((one, self._verdicts.get(self._path(one))) for one in self._candidates[name])
        return [(one, verdict) for one, verdict in verdicts if verdict is not None and verdict.outcome != "proven"]

    def _report(self) -> None:
        """Warn of the libraries that failed, and name their replacements."""
        failures = []
        for name in self._names:
            best = self._best(name)
            for candidate, verdict in self._rejected(name):
                if verdict.is_news():
                    here = ", built here," if best and candidate.prebuilt and not best.prebuilt else ""
                    failures.append(f"{candidate} {verdict.text} ({_level(best)}{here} is used instead)")
        if failures:
            again = f"; delete {self._folder} to check them again" if self._permanent else ""
            progress.warn(f"C++ kernels that failed on this machine are off: {'; '.join(failures)}{again}")

    def _load(self) -> Found:
        """Load the proven libraries, by their open descriptors if the system has paths for these."""
        loaded, lower = {}, []
        for name in self._names:
            best = self._best(name)
            if best is not None and (name != "layer" or "attention" in loaded):
                # The descriptor stays open, because the loader takes two libraries of one name for the same.
                path = self._path(best)
                by_descriptor = f"/proc/self/fd/{self._open[path]}"
                loaded[name] = opened(by_descriptor if Path(by_descriptor).exists() else str(path))
            if _level(best) != next((level for level in self._levels if build.has_code_for(name, level)), ""):
                lower.append(f"{name} by {_level(best)}")
        choices = {name: self._choice(name) for name in self._names}
        if not loaded:
            return Found("plain torch (every kernel failed on this machine)", choices=choices)
        return Found("; ".join((f"C++ ({self._levels[0]})", *lower)), loaded, choices)

    def _choice(self, name: str) -> Choice:
        best = self._best(name)
        rejected = tuple((str(candidate), verdict) for candidate, verdict in self._rejected(name))
        tried = {candidate.level.name for candidate in self._candidates[name]}
        wanted = [level for level in self._permitted if build.has_code_for(name, level)]
        higher = wanted[: wanted.index(best.level.name)] if best is not None else wanted
        missing = tuple(level for level in higher if level not in tried)
        return Choice(_level(best), best is not None and best.prebuilt is not None, rejected, missing)


def _candidates(name: str, permitted: Sequence[Level], command: Sequence[str]) -> list[Candidate]:
    """Return the candidates of an operation, best first.

    Args:
        name: of the operation.
        permitted: the levels for which it has code, highest first.
        command: the compiler; empty if there is none.
    """
    carried = {level.name: prebuilt.package().find(name, level) for level in permitted}
    first: list[Candidate] = []
    last: list[Candidate] = []
    if command:
        headers = b"".join(header.read_bytes() for header in build.headers())
        machine = "\0".join((*build.FLAGS, build.identity(command), levels.processor())).encode()
        sources = build.source(name).read_bytes()
    for level in permitted:
        if (library := carried[level.name]) is not None:
            key = f"{library.sha256}\0{levels.processor()}".encode()
            first.append(Candidate(name, level, _file(name, level, key), library))
        if command:
            key = b"\0".join((sources, " ".join(level.flags).encode(), headers + machine))
            (first if library is None else last).append(Candidate(name, level, _file(name, level, key)))
    return first + last


def _file(name: str, level: Level, key: bytes) -> str:
    return f"{name}-{level.name}-{store.digest(key)[:20]}.so"


def _level(candidate: Candidate | None) -> str:
    return "torch" if candidate is None else candidate.level.name
