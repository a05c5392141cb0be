"""Builds a C++ source of this folder with the system's compiler, once a machine, and loads it.

What was built is kept in the user's cache under a hash of the sources, the flags, the compiler and the processor, so a
home that several machines share holds one library each. Threads are those of torch: a second pool beside it would
fight for the same cores.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from bertie import progress

SWITCH = "BERTIE_KERNELS"
"""Environment variable; `off` leaves everything to torch."""
_SOURCES = Path(__file__).parent
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", "-fopenmp", "-Wno-psabi")
_MINUTES = 5.0


@cache
def load(name: str) -> ctypes.CDLL | None:
    """Load the library of `name`.cpp, building it if this machine hasn't yet.

    Returns:
        None where there is no compiler, no thread pool to share, or the switch is off; then torch does the work.
    """
    if os.environ.get(SWITCH, "").lower() == "off":
        return None
    compiler, threads = _compiler(), _thread_pool()
    if compiler is None or threads is None:
        return None
    try:
        path = _folder() / f"{name}-{_fingerprint(name, compiler, threads)}.so"
        if not path.exists():
            _build(name, compiler, threads, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or str(error)
        progress.warn(f"{compiler} can't build {name}.cpp, so torch does its work, slower: {output.strip()[:500]}")
        return None


def describe() -> str:
    """Say in a few words what the CPU's kernels are."""
    if load("attention") is None:
        return "plain torch (no C++ compiler)" if _compiler() is None else "plain torch"
    return "C++, built here"


@cache
def _compiler() -> str | None:
    """Find the compiler: $CXX, or what systems call it."""
    named = os.environ.get("CXX")
    return next((path for name in (named, "g++", "clang++") if name and (path := shutil.which(name))), None)


@cache
def _thread_pool() -> Path | None:
    """Find the OpenMP runtime that torch itself has loaded."""
    home = Path(torch.__file__).parent
    found = [*home.glob("lib/libgomp*.so*"), *home.parent.glob("torch.libs/libgomp*.so*")]
    return found[0] if found else None


def _folder() -> Path:
    """Return the user's own folder of libraries; no one else may write there what we load."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "bertie" / "kernels"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.stat()
        if facts.st_uid == os.getuid() and not facts.st_mode & 0o022 and os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):
        pass
    return _own_folder()


@cache
def _own_folder() -> Path:
    """Make a folder for this process alone, where the cache can't be used."""
    return Path(tempfile.mkdtemp(prefix="bertie-kernels-"))


def _fingerprint(name: str, compiler: str, threads: Path) -> str:
    """Hash what the library depends on."""
    digest = hashlib.sha256()
    for source in (_SOURCES / f"{name}.cpp", *sorted(_SOURCES.glob("*.h"))):
        digest.update(source.read_bytes())
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    for part in (*_FLAGS, version, str(threads), platform.machine(), _processor()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:20]


def _processor() -> str:
    """Name the instructions that the processor has."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())


def _build(name: str, compiler: str, threads: Path, path: Path) -> None:
    """Compile and link beside the final place, then rename: other processes see a whole library or none."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".build-") as scratch:
        built, linked = Path(scratch) / f"{name}.o", Path(scratch) / f"{name}.so"
        compiling = [compiler, *_FLAGS, "-c", str(_SOURCES / f"{name}.cpp"), "-o", str(built)]
        linking = [compiler, "-shared", str(built), str(threads), "-o", str(linked)]
        for command in (compiling, linking):
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=60 * _MINUTES)
        linked.replace(path)
