"""Compile the C++ sources of the operations with the system's compiler, within a time limit."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Collection, Sequence
from functools import cache
from pathlib import Path

from bertie import child
from bertie.ops.kernels.levels import OPTIONAL, Level

NAMES = ("attention", "cross_entropy", "gelu", "linear", "normalise", "layer")
"""The libraries. `layer` calls `attention`, which is therefore checked first."""
_WITH_PRODUCTS = "layer"  # the only one with code for VNNI and AMX; the others use their AVX-512 library there
SOURCES = Path(__file__).parents[1]
"""The folder of the operations; each has its source in a folder of its own."""
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-Wno-psabi", "-shared")
SECONDS = 300.0
"""Time limit for one source."""


@cache
def compiler() -> tuple[str, ...] | None:
    """Return the command of the compiler: $CXX, which may include arguments, or g++, clang++ or c++; None if none."""
    for command in (os.environ.get("CXX", ""), "g++", "clang++", "c++"):
        words = shlex.split(command)
        if words and (path := shutil.which(words[0])):
            return (path, *words[1:])
    return None


def identity(command: Sequence[str]) -> str:
    """Return a string that identifies a compiler without starting it: path, size, time of change and arguments."""
    path = Path(command[0]).resolve()
    facts = path.stat()
    return f"{path} {facts.st_size} {facts.st_mtime_ns} {command[1:]}"


def has_code_for(name: str, level: str) -> bool:
    """Return whether a library has code of its own for a level; if not, it uses that of the next lower level."""
    return name == _WITH_PRODUCTS or level != "amx"


def prebuilt_variants(name: str, variants: Sequence[Level]) -> list[Level]:
    """Return the variants for which a wheel carries a library; those that would give the same code are left out."""
    if name == _WITH_PRODUCTS:
        return list(variants)
    return [one for one in variants if has_code_for(name, one.name) and one.parts != ("avx512_vnni",)]


def source(name: str) -> Path:
    """Return the C++ source of an operation."""
    return SOURCES / name / f"{name}.cpp"


def headers() -> list[Path]:
    """Return all C++ headers, sorted."""
    return sorted(SOURCES.rglob("*.h"))


def _include() -> list[str]:
    """Return the compiler flags that find the headers."""
    return [f"-I{folder}" for folder in sorted({header.parent for header in headers()})]


def compile_source(
    name: str, command: Sequence[str], flags: Sequence[str], target: Path, optional: Collection[str] = OPTIONAL
) -> str | None:
    """Compile `name`.cpp to a library.

    Args:
        name: of the source.
        command: the compiler.
        flags: in addition to `FLAGS`.
        target: the file to write.
        optional: flags that are dropped if the compiler doesn't know them.

    Returns:
        None, or the reason of the failure, as a clause.
    """
    words = list(flags)
    while True:
        arguments = [*FLAGS, *_include(), *words, str(source(name)), "-o", str(target)]
        done = child.run([*command, *arguments], seconds=SECONDS)
        if done.code == 0 and target.is_file():
            target.chmod(0o600)
            return None
        if done.code is None:
            return f"{command[0]} didn't finish within {SECONDS:.0f} seconds and was stopped"
        unknown = [flag for flag in words if flag in optional and flag in done.errors]
        if not unknown:
            return f"{command[0]} can't build it: {_first_error(done)}"
        words = [flag for flag in words if flag not in unknown]


def _first_error(done: child.Done) -> str:
    """Return the first error line of a compiler's output, or else its last line."""
    lines = [line.strip() for line in done.errors.splitlines() if line.strip()]
    chosen = next((line for line in lines if "error" in line), lines[-1] if lines else f"it ended with {done.code}")
    return "".join(letter if letter.isprintable() else "?" for letter in chosen)[:300]
