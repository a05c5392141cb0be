"""Load the kernels; each one is checked on this machine before it is used.

At first use the sources of the operations are built with the system's compiler and checked in a child process
(`trial`). A kernel that crashes, hangs or differs from torch is replaced by that of the next lower level of
instructions, and at last by torch. Libraries and verdicts are kept in the user's cache (`cache`), so later starts only
read them. Kernels use the threads of torch (`parallel.h`).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch

from bertie import progress
from bertie.ops.kernels import build, levels, trial
from bertie.ops.kernels import cache as store
from bertie.ops.kernels.cache import Verdict
from bertie.ops.kernels.levels import Level

NAMES = ("attention", "cross_entropy", "gelu", "linear", "normalise", "layer")
"""The libraries. `layer` calls `attention`, which is therefore checked first."""
_OFF = "C++ kernels are off, and torch replaces them more slowly"
_WITH_TILES = "layer"  # the only one with code for AMX; the others use their AVX-512 library there
_lent: Mapping[str, ctypes.CDLL] | None = None
_state: _Kernels | None = None
_deciding = threading.Lock()


def load(name: str) -> ctypes.CDLL | None:
    """Return the library of `name`.cpp, after building and checking it if necessary.

    Returns:
        None if there is no compiler or no thread pool to share, if the library failed at every level, or if the switch
        is off. torch then replaces it.

    Raises:
        SettingsError: the switch has an unknown value.
    """
    return _kernels().loaded.get(name) if _lent is None else _lent.get(name)


@contextmanager
def lent(libraries: Mapping[str, ctypes.CDLL]) -> Iterator[None]:
    """Use these libraries, or none, instead of the loaded ones inside the context."""
    global _lent
    before, _lent = _lent, libraries
    try:
        yield
    finally:
        _lent = before


def describe() -> str:
    """Return a short description of the CPU kernels and their levels."""
    return _kernels().description


def choices() -> dict[str, Choice]:
    """Return the level of each library, and why it has no higher one; empty if there are no kernels at all."""
    return _kernels().choices


def forget() -> None:
    """Forget the loaded libraries, so that the next use loads them as in a new process."""
    global _state
    _state = None
    for cached in (_pool, build.compiler, levels.available, levels.capabilities):
        cached.cache_clear()


@dataclass(frozen=True)
class Choice:
    """The level at which a library runs."""

    level: str
    """`torch` if the library failed at every level."""
    rejected: tuple[tuple[str, Verdict], ...]
    """The higher levels, each with its verdict, highest first."""


@dataclass
class _Kernels:
    """The libraries that this process uses."""

    description: str
    loaded: dict[str, ctypes.CDLL] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)


def _kernels() -> _Kernels:
    global _state
    if _state is None:
        with _deciding:
            _state = _state or _decide()
    return _state


def _decide() -> _Kernels:
    """Choose the libraries of this process; build and check those that this machine doesn't have yet."""
    permitted = levels.chosen()
    if not permitted:
        return _Kernels(f"plain torch ({levels.SWITCH}={levels.OFF})")
    command = build.compiler()
    if command is None or os.name != "posix":
        progress.note(f"{_OFF}: there is no C++ compiler; install g++ or clang++")
        return _Kernels("plain torch (no C++ compiler)")
    if _pool() is None:
        progress.note(f"{_OFF}: this build of torch has no OpenMP threads to share")
        return _Kernels("plain torch (no threads to share)")
    return _Search(permitted, command).result()


class _Pool(ctypes.Structure):
    """`Pool` of parallel.h, field by field."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("parallel", "number", "count", "barrier"))


@cache
def _pool() -> _Pool | None:
    """Return the functions of the OpenMP runtime that torch has loaded; None if there is none.

    torch's own module depends on the runtime, so its functions are found there whatever the runtime is called.
    """
    try:
        runtime = ctypes.CDLL(torch._C.__file__)
        names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier")
        return _Pool(*(ctypes.cast(getattr(runtime, name), ctypes.c_void_p) for name in names))
    except (OSError, AttributeError):
        return None


def opened(path: str) -> ctypes.CDLL:
    """Load a library and pass it torch's thread pool.

    Raises:
        OSError: it can't be loaded.
    """
    library, pool = ctypes.CDLL(path), _pool()
    if pool is None:
        raise OSError("torch has no threads to share")
    library.share_pool(ctypes.byref(pool))
    return library


class _Search:
    """Finds the highest level at which each library is right.

    Args:
        permitted: levels, highest first.
        command: the compiler.
    """

    def __init__(self, permitted: tuple[Level, ...], command: tuple[str, ...]) -> None:
        self._permitted, self._command = permitted, command
        self._folder, self._permanent = store.folder()
        self._verdicts: dict[Path, Verdict] = {}
        self._open: dict[Path, int] = {}
        headers = b"".join(header.read_bytes() for header in build.headers())
        machine = "\0".join((*build.FLAGS, build.identity(command), levels.processor())).encode()
        self._paths = {
            (name, level.name): self._path(name, level, headers + machine)
            for name in NAMES
            for level in self._levels(name)
        }

    def _levels(self, name: str) -> list[Level]:
        """Return the levels that a library has code for, highest first."""
        return [level for level in self._permitted if name == _WITH_TILES or level.name != "amx"]

    def _path(self, name: str, level: Level, shared: bytes) -> Path:
        """Return the file of a library; its name has a hash of everything that the library depends on."""
        source = build.source(name).read_bytes()
        digest = store.digest(b"\0".join((source, " ".join(level.flags).encode(), shared)))
        return self._folder / f"{name}-{level.name}-{digest[:20]}.so"

    def result(self) -> _Kernels:
        """Build and check the libraries that have no verdict yet, and load the proven ones."""
        try:
            if self._unchecked():
                progress.note(
                    f"building C++ kernels for this processor ({self._permitted[0].name}) and checking them; "
                    "this takes about half a minute, once"
                )
                with store.alone(self._folder):
                    self._check_all()
            self._report()
            return self._load()
        except OSError as error:
            progress.warn(f"{_OFF}: {error}")
            return _Kernels("plain torch (the kernels can't be checked)")
        finally:
            if not self._permanent:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _check_all(self) -> None:
        """Build and check until every library is proven or has failed at all levels.

        Another process may have done this while this one waited.
        """
        store.clear_stale(self._folder)
        while unchecked := self._unchecked():
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".build-") as scratch:
                self._judge(unchecked, self._build(unchecked, Path(scratch)))

    def _unchecked(self) -> dict[str, tuple[Level, Path]]:
        """Return the level and file of each library that must be built and checked next."""
        candidates = {name: self._candidate(name) for name in NAMES}
        return {name: best[:2] for name, best in candidates.items() if best is not None and best[2] is None}

    def _candidate(self, name: str) -> tuple[Level, Path, Verdict | None] | None:
        """Return the highest level that hasn't failed, its file and its verdict; None if all levels have failed."""
        for level in self._levels(name):
            path = self._paths[name, level.name]
            verdict = self._verdict(path)
            if verdict is None or verdict.outcome == "proven":
                return level, path, verdict
        return None

    def _verdict(self, path: Path) -> Verdict | None:
        """Return the verdict on a library; None if there is none, or if the proven file is missing or changed."""
        if path not in self._verdicts and (verdict := store.read_verdict(path.with_suffix(".verdict"))) is not None:
            if verdict.outcome == "proven" and not self._opens(path, verdict.text):
                return None
            self._verdicts[path] = verdict
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

    def _build(self, unchecked: Mapping[str, tuple[Level, Path]], scratch: Path) -> dict[str, Path]:
        """Compile the libraries in parallel, record failures, and return the files of the others."""

        def compiled(name: str) -> str | None:
            return build.compile_source(name, self._command, unchecked[name][0].flags, scratch / f"{name}.so")

        with ThreadPoolExecutor(os.cpu_count() or 1) as workers:
            failures = dict(zip(unchecked, workers.map(compiled, unchecked), strict=True))
        for name, failure in failures.items():
            if failure is not None:
                self._record(unchecked[name][1], Verdict("lacking", failure))
        return {name: scratch / f"{name}.so" for name, failure in failures.items() if failure is None}

    def _judge(self, unchecked: Mapping[str, tuple[Level, Path]], built: Mapping[str, Path]) -> None:
        """Check the built libraries, record their verdicts, and move the proven ones into the cache."""
        tried = {name: built[name] for name in NAMES if name in built}
        if "layer" in tried and "attention" not in tried:
            attention = self._candidate("attention")
            if attention is None:
                self._record(unchecked["layer"][1], Verdict("lacking", "can't be checked without attention"))
            if attention is None or attention[2] is None:
                del tried["layer"]
            else:
                tried = {"attention": attention[1], **tried}
        for name, failure in (trial.judge(tried) if tried else {}).items():
            if name not in built:
                continue
            path = unchecked[name][1]
            if failure is None:
                digest = store.digest(built[name].read_bytes())
                built[name].replace(path)
                self._record(path, Verdict("proven", digest))
                self._opens(path, digest)
            else:
                self._record(path, Verdict("failed", failure))

    def _record(self, path: Path, verdict: Verdict) -> None:
        self._verdicts[path] = verdict
        store.write_verdict(path.with_suffix(".verdict"), verdict)

    def _report(self) -> None:
        """Warn of the libraries that failed, and name their replacements."""
        failures = []
        for name in NAMES:
            used = _name_of(self._candidate(name))
            for level in self._levels(name):
                verdict = self._verdicts.get(self._paths[name, level.name])
                if verdict is not None and verdict.is_news():
                    failures.append(f"{name} for {level.name} {verdict.text} ({used} is used instead)")
        if failures:
            again = f"; delete {self._folder} to check them again" if self._permanent else ""
            progress.warn(f"C++ kernels that failed on this machine are off: {'; '.join(failures)}{again}")

    def _load(self) -> _Kernels:
        """Load the proven libraries, by their open descriptors if the system has paths for these."""
        loaded, lower = {}, []
        for name in NAMES:
            best = self._candidate(name)
            if best is not None and (name != "layer" or "attention" in loaded):
                # The descriptor stays open, because the loader takes two libraries of one name for the same.
                by_descriptor = f"/proc/self/fd/{self._open[best[1]]}"
                loaded[name] = opened(by_descriptor if Path(by_descriptor).exists() else str(best[1]))
            if best is None or best[0] != self._levels(name)[0]:
                lower.append(f"{name} by {_name_of(best)}")
        choices = {name: self._choice(name) for name in NAMES}
        if not loaded:
            return _Kernels("plain torch (every kernel failed on this machine)", choices=choices)
        return _Kernels("; ".join((f"C++ ({self._permitted[0].name})", *lower)), loaded, choices)

    def _choice(self, name: str) -> Choice:
        verdicts = ((level.name, self._verdicts.get(self._paths[name, level.name])) for level in self._levels(name))
        rejected = tuple((level, one) for level, one in verdicts if one is not None and one.outcome != "proven")
        return Choice(_name_of(self._candidate(name)), rejected)


def _name_of(candidate: tuple[Level, Path, Verdict | None] | None) -> str:
    return "torch" if candidate is None else candidate[0].name
