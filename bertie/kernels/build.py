"""Compiles a C++ source of this folder with the system's compiler, within a time limit."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bertie.kernels.levels import OPTIONAL

SOURCES = Path(__file__).parent
FLAGS = ("-std=c++17", "-O3", "-fPIC", "-Wno-psabi", "-shared")
SECONDS = 300.0
"""How long a compiler may take for one source."""
_MOST_BYTES = 1 << 20


@cache
def compiler() -> tuple[str, ...] | None:
    """Find the compiler: $CXX, which may have words of its own, or what systems call it."""
    for named in (os.environ.get("CXX", ""), "g++", "clang++", "c++"):
        words = shlex.split(named)
        if words and (path := shutil.which(words[0])):
            return (path, *words[1:])
    return None


def identity(command: Sequence[str]) -> str:
    """Tell one compiler from another without starting it."""
    path = Path(command[0]).resolve()
    facts = path.stat()
    return f"{path} {facts.st_size} {facts.st_mtime_ns} {command[1:]}"


@dataclass(frozen=True)
class Done:
    """A process that ended."""

    code: int | None
    """None: it took too long and was stopped, with all it had started."""
    output: str
    errors: str


def run(command: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None) -> Done:
    """Run a command in a process group of its own, so that all of it can be stopped.

    Raises:
        OSError: it can't be started.
    """
    # Files rather than pipes: a grandchild that lives on can't keep us waiting for the end of a pipe.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment, start_new_session=True
        )
        code: int | None = None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read(_MOST_BYTES).decode("utf-8", errors="replace"))
        return Done(code, *texts)


def compile_source(name: str, command: Sequence[str], flags: Sequence[str], target: Path) -> str | None:
    """Compile `name`.cpp to a library.

    Args:
        name: of the source.
        command: the compiler.
        flags: beside those that all have.
        target: the file to write.

    Returns:
        None, or what went wrong, as a clause.
    """
    words = list(flags)
    while True:
        done = run([*command, *FLAGS, *words, str(SOURCES / f"{name}.cpp"), "-o", str(target)], seconds=SECONDS)
        if done.code == 0 and target.is_file():
            target.chmod(0o600)
            return None
        if done.code is None:
            return f"{command[0]} didn't finish within {SECONDS:.0f} seconds and was stopped"
        unknown = [flag for flag in words if flag in OPTIONAL and flag in done.errors]
        if not unknown:
            return f"{command[0]} can't build it: {_first_error(done)}"
        words = [flag for flag in words if flag not in unknown]


def _first_error(done: Done) -> str:
    """Take the line of a compiler's output that says most."""
    lines = [line.strip() for line in done.errors.splitlines() if line.strip()]
    chosen = next((line for line in lines if "error" in line), lines[-1] if lines else f"it ended with {done.code}")
    return "".join(letter if letter.isprintable() else "?" for letter in chosen)[:300]
