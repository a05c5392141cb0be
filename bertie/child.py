"""Child processes with a time limit, for work that may crash, hang or need too much memory.

A child has a process group of its own, so that a stop reaches all it has started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Done:
    """A process that ended."""

    code: int | None
    """None: it took too long and was stopped, with all it had started."""
    output: str
    errors: str


def run(
    command: Sequence[str], *, seconds: float, text: str = "", environment: Mapping[str, str] | None = None
) -> Done:
    """Run a command to its end, or to its time limit.

    Args:
        command: the program and its arguments.
        seconds: how long it may take.
        text: what it reads on stdin.
        environment: all of its variables; those of this process when None.

    Returns:
        How it ended, with the first MiB of what it wrote.

    Raises:
        OSError: it can't be started.
    """
    # Files rather than pipes: a grandchild that lives on can't keep us waiting for the end of a pipe.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        given.write(text.encode())
        given.seek(0)
        process = subprocess.Popen(
            command, stdin=given, stdout=output, stderr=errors, env=environment, start_new_session=True
        )
        code: int | None = None
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _stop(process)
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read(_MOST_BYTES).decode("utf-8", errors="replace"))
        return Done(code, *texts)


def python(
    words: Sequence[str], *, seconds: float, text: str = "", environment: Mapping[str, str] | None = None
) -> Done:
    """Run this Python, with the packages that this process finds.

    Args:
        words: its arguments, such as ``-m`` and a module.
        seconds: how long it may take.
        text: what it reads on stdin.
        environment: variables beside those of this process.

    Raises:
        OSError: it can't be started.
    """
    if not sys.executable:
        raise OSError("there is no Python program to start")
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-P", *words]
    return run(command, seconds=seconds, text=text, environment={**os.environ, **paths, **(environment or {})})


def _stop(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
