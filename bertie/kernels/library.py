"""Loads the kernels, of which each has proven itself on this machine before it is used.

At first use the sources of this folder are built with the system's compiler and tried out in a child process (`trial`).
What crashes, hangs or differs from torch is left for the next lower level of instructions, and at last for torch. The
verdicts are kept beside the libraries in the user's cache (`cache`), so later starts only read them. Threads are
those of torch (`parallel.h`).
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
from bertie.kernels import build, levels, trial
from bertie.kernels import cache as store
from bertie.kernels.cache import Verdict
from bertie.kernels.levels import Level

NAMES = ("attention", "cross_entropy", "gelu", "normalise", "layer")
"""The libraries; the layers' needs the attention's, which is therefore tried before it."""
_WITH_TILES = "layer"  # the only one with code for AMX; of the others the library for AVX-512 serves there
_lent: Mapping[str, ctypes.CDLL] | None = None
_state: _Settled | None = None
_settling = threading.Lock()


def load(name: str) -> ctypes.CDLL | None:
    """Return the library of `name`.cpp, once it is built and proven.

    Returns:
        None where there is no compiler, no thread pool to share, no level at which it is right, or the switch is off;
        then torch does the work.

    Raises:
        SettingsError: the switch is a word that it doesn't know.
    """
    return _settled().loaded.get(name) if _lent is None else _lent.get(name)


@contextmanager
def lent(libraries: Mapping[str, ctypes.CDLL]) -> Iterator[None]:
    """Use other libraries while the context lasts: those that are tried out, or none."""
    global _lent
    before, _lent = _lent, libraries
    try:
        yield
    finally:
        _lent = before


def describe() -> str:
    """Say in a few words what the CPU's kernels are, and at which level."""
    return _settled().description


def forget() -> None:
    """Forget what was settled, so that the next use settles it, as in a fresh process."""
    global _state
    _state = None
    for cached in (_pool, build.compiler, levels.available, levels.capabilities):
        cached.cache_clear()


@dataclass
class _Settled:
    """What serves this process."""

    description: str
    loaded: dict[str, ctypes.CDLL] = field(default_factory=dict)


def _settled() -> _Settled:
    global _state
    if _state is None:
        with _settling:
            _state = _state or _settle()
    return _state


def _settle() -> _Settled:
    """Decide which libraries serve, building and trying out what this machine hasn't yet."""
    permitted = levels.chosen()
    if not permitted:
        return _Settled(f"plain torch ({levels.SWITCH}={levels.OFF})")
    command = build.compiler()
    if command is None or os.name != "posix":
        progress.note(
            "C++ kernels are off, so torch does their work, slower: no C++ compiler, g++ or clang++, is found"
        )
        return _Settled("plain torch (no C++ compiler)")
    if _pool() is None:
        progress.note("C++ kernels are off, so torch does their work, slower: this torch has no threads to share")
        return _Settled("plain torch (no threads to share)")
    return _Search(permitted, command).settled()


class _Pool(ctypes.Structure):
    """`Pool` of parallel.h, field by field."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("parallel", "number", "count", "barrier"))


@cache
def _pool() -> _Pool | None:
    """Find the OpenMP runtime that torch itself has loaded, whatever it is called: among what torch's module needs."""
    try:
        runtime = ctypes.CDLL(torch._C.__file__)
        names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier")
        return _Pool(*(ctypes.cast(getattr(runtime, name), ctypes.c_void_p) for name in names))
    except (OSError, AttributeError):
        return None


def opened(path: str) -> ctypes.CDLL:
    """Load a library and lend it torch's threads.

    Raises:
        OSError: it can't be loaded.
    """
    library, pool = ctypes.CDLL(path), _pool()
    if pool is None:
        raise OSError("torch has no threads to share")
    library.share_pool(ctypes.byref(pool))
    return library


class _Search:
    """For each library the highest level at which it is right.

    Args:
        permitted: levels, highest first.
        command: the compiler.
    """

    def __init__(self, permitted: tuple[Level, ...], command: tuple[str, ...]) -> None:
        self._permitted, self._command = permitted, command
        self._folder, self._lasts = store.folder()
        self._verdicts: dict[Path, Verdict] = {}
        self._open: dict[Path, int] = {}
        headers = b"".join(header.read_bytes() for header in sorted(build.SOURCES.glob("*.h")))
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
        """Name the file of a library by all that it depends on."""
        source = (build.SOURCES / f"{name}.cpp").read_bytes()
        digest = store.digest(b"\0".join((source, " ".join(level.flags).encode(), shared)))
        return self._folder / f"{name}-{level.name}-{digest[:20]}.so"

    def settled(self) -> _Settled:
        """Load what is proven, after building and trying out what isn't yet."""
        try:
            if self._untried():
                progress.note(
                    f"building C++ kernels for this processor ({self._permitted[0].name}) and trying them out; "
                    "this takes about half a minute, once"
                )
                with store.alone(self._folder):
                    self._try_all()
            self._report()
            return self._load()
        except OSError as error:
            progress.warn(f"C++ kernels are off, so torch does their work, slower: {error}")
            return _Settled("plain torch (the kernels can't be tried out)")
        finally:
            if not self._lasts:
                shutil.rmtree(self._folder, ignore_errors=True)

    def _try_all(self) -> None:
        """Build and try until every library is proven or out of levels; another process may have done it meanwhile."""
        store.clear_stale(self._folder)
        while untried := self._untried():
            with tempfile.TemporaryDirectory(dir=self._folder, prefix=".build-") as scratch:
                self._judge(untried, self._build(untried, Path(scratch)))

    def _untried(self) -> dict[str, tuple[Level, Path]]:
        """Return what must be built and tried next."""
        found = {name: self._standing(name) for name in NAMES}
        return {name: at[:2] for name, at in found.items() if at is not None and at[2] is None}

    def _standing(self, name: str) -> tuple[Level, Path, Verdict | None] | None:
        """Return the highest level that hasn't failed, with its verdict; None where all have."""
        for level in self._levels(name):
            path = self._paths[name, level.name]
            verdict = self._verdict(path)
            if verdict is None or verdict.outcome == "proven":
                return level, path, verdict
        return None

    def _verdict(self, path: Path) -> Verdict | None:
        """Look up what is known of a library; a proven one must be there, unchanged."""
        if path not in self._verdicts and (kept := store.read_verdict(path.with_suffix(".verdict"))) is not None:
            if kept.outcome == "proven" and not self._opens(path, kept.text):
                return None
            self._verdicts[path] = kept
        return self._verdicts.get(path)

    def _opens(self, path: Path, digest: str) -> bool:
        """Open a library that has this content, and keep it open."""
        try:
            descriptor = store.open_own(path)
        except OSError:
            return False
        if store.digest(store.content(descriptor)) != digest:
            os.close(descriptor)
            return False
        self._open[path] = descriptor
        return True

    def _build(self, untried: Mapping[str, tuple[Level, Path]], scratch: Path) -> dict[str, Path]:
        """Compile side by side; what can't be built is noted."""

        def compiled(name: str) -> str | None:
            return build.compile_source(name, self._command, untried[name][0].flags, scratch / f"{name}.so")

        with ThreadPoolExecutor(os.cpu_count() or 1) as workers:
            troubles = dict(zip(untried, workers.map(compiled, untried), strict=True))
        for name, trouble in troubles.items():
            if trouble is not None:
                self._keep(untried[name][1], Verdict("lacking", trouble))
        return {name: scratch / f"{name}.so" for name, trouble in troubles.items() if trouble is None}

    def _judge(self, untried: Mapping[str, tuple[Level, Path]], built: Mapping[str, Path]) -> None:
        """Try out what was built, and put it into its place."""
        tried = {name: built[name] for name in NAMES if name in built}
        if "layer" in tried and "attention" not in tried:
            attention = self._standing("attention")
            if attention is None:
                self._keep(untried["layer"][1], Verdict("lacking", "can't be tried without attention"))
            if attention is None or attention[2] is None:
                del tried["layer"]
            else:
                tried = {"attention": attention[1], **tried}
        for name, trouble in (trial.judge(tried) if tried else {}).items():
            if name not in built:
                continue
            path = untried[name][1]
            if trouble is None:
                digest = store.digest(built[name].read_bytes())
                built[name].replace(path)
                self._keep(path, Verdict("proven", digest))
                self._opens(path, digest)
            else:
                self._keep(path, Verdict("failed", trouble))

    def _keep(self, path: Path, verdict: Verdict) -> None:
        self._verdicts[path] = verdict
        store.write_verdict(path.with_suffix(".verdict"), verdict)

    def _report(self) -> None:
        """Say in one sentence what failed, and what serves in its place."""
        told = []
        for name in NAMES:
            standing = self._standing(name)
            for level in self._levels(name):
                verdict = self._verdicts.get(self._paths[name, level.name])
                if verdict is not None and verdict.is_news():
                    told.append(f"{name} for {level.name} {verdict.text} ({_serving(standing)} serves instead)")
        if told:
            again = f"; delete {self._folder} to have them tried again" if self._lasts else ""
            progress.warn(f"C++ kernels that failed on this machine are off: {'; '.join(told)}{again}")

    def _load(self) -> _Settled:
        """Load what serves, by its open descriptor where the system names these."""
        loaded, lower = {}, []
        for name in NAMES:
            standing = self._standing(name)
            if standing is not None and (name != "layer" or "attention" in loaded):
                # The descriptor stays open: the loader takes two libraries of one name to be the same.
                by_descriptor = f"/proc/self/fd/{self._open[standing[1]]}"
                loaded[name] = opened(by_descriptor if Path(by_descriptor).exists() else str(standing[1]))
            if standing is None or standing[0] != self._levels(name)[0]:
                lower.append(f"{name} by {_serving(standing)}")
        if not loaded:
            return _Settled("plain torch (no kernel is right on this machine)")
        return _Settled("; ".join((f"C++ ({self._permitted[0].name})", *lower)), loaded)


def _serving(standing: tuple[Level, Path, Verdict | None] | None) -> str:
    return "torch" if standing is None else standing[0].name
