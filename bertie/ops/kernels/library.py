"""The kernels that this process uses; each one is checked on this machine before its first use.

`search` finds them: libraries that the package carries (`prebuilt`), or that are built here with the system's compiler
(`build`). A kernel that crashes, hangs or differs from torch is replaced by the next one, and at last by torch. Kernels
use the threads of torch (`pool`).
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bertie import progress
from bertie.ops.kernels import build, levels, prebuilt
from bertie.ops.kernels.build import NAMES
from bertie.ops.kernels.pool import pool
from bertie.ops.kernels.search import OFF, Choice, Found, Search

_lent: Mapping[str, ctypes.CDLL] | None = None
_state: Found | None = None
_deciding = threading.Lock()


def load(name: str) -> ctypes.CDLL | None:
    """Return the library of `name`.cpp, after building and checking it if necessary.

    Returns:
        None if the package carries none for this processor and there is no compiler, if there is no thread pool to
        share, if every candidate failed, or if the switch is off. torch then replaces it.

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
    """Return the choice of each library, and why it is no better one; empty if there are no kernels at all."""
    return _kernels().choices


def forget() -> None:
    """Forget the loaded libraries, so that the next use loads them as in a new process."""
    global _state
    _state = None
    for cached in (pool, build.compiler, prebuilt.package, levels.available, levels.capabilities):
        cached.cache_clear()


def _kernels() -> Found:
    global _state
    if _state is None:
        with _deciding:
            _state = _state or _decide()
    return _state


def _decide() -> Found:
    """Choose the libraries of this process; build and check those that this machine doesn't have yet."""
    permitted = levels.chosen()
    if not permitted:
        return Found(f"plain torch ({levels.SWITCH}={levels.OFF})")
    command = build.compiler() if os.name == "posix" else None
    package = prebuilt.package()
    carried = any(package.find(name, level) for name in NAMES for level in permitted)
    if command is None and not carried:
        why = package.reason or "the package carries no compiled kernels for this processor"
        progress.note(f"{OFF}: there is no C++ compiler, and {why}; install g++ or clang++")
        return Found("plain torch (no C++ compiler)")
    if pool() is None:
        progress.note(f"{OFF}: this build of torch has no OpenMP threads to share")
        return Found("plain torch (no threads to share)")
    return Search(NAMES, permitted, command).result()
