"""Child processes with a time limit, for work that may crash, hang or need too much memory.

Each child gets its own process group, so that stopping it also stops the processes that it started.
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
    """The result of a process that ended."""

    code: int | None
    """The exit code; None if the process took too long and was killed."""
    output: str
    errors: str


def run(
    command: Sequence[str], *, seconds: float, text: str = "", environment: Mapping[str, str] | None = None
) -> Done:
    """Run a command to its end, or to its time limit.

    Args:
        command: the program and its arguments.
        seconds: how long it may take.
        text: its stdin.
        environment: its environment variables; those of this process when None.

    Returns:
        The exit code, and the first MiB each of stdout and stderr.

    Raises:
        OSError: the command can't be started.
    """
    # Files rather than pipes: a surviving grandchild would hold a pipe open and keep us waiting for its end.
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        stdin.write(text.encode())
        stdin.seek(0)
        process = subprocess.Popen(
            command, stdin=stdin, stdout=output, stderr=errors, env=environment, start_new_session=True
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
    """Run a child with the Python interpreter and the import paths of this process.

    Args:
        words: its arguments, such as ``-m`` and a module.
        seconds: how long it may take.
        text: its stdin.
        environment: environment variables in addition to those of this process.

    Raises:
        OSError: the interpreter can't be started.
    """
    if not sys.executable:
        raise OSError("this process doesn't know the path of its Python interpreter")
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
