"""Check built kernels in a child process, where a crash or a hang ends the child alone.

The child runs `bertie/nn/kernel_checks.py`, which compares every function with its twin in torch. It prints its
progress: `begin LIBRARY FUNCTION`, `passed LIBRARY`, `differs LIBRARY CLAUSE`. This file names the module as a string,
because `kernels/` must not import `nn/`.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

from bertie import child
from bertie.ops.kernels.levels import OFF, SWITCH

SECONDS = 120.0
"""Time limit of the child. Loading torch comes first; the checks then take a second or two."""
_PROOF = "bertie.nn.kernel_checks"
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # never caused by a kernel


def judge(libraries: Mapping[str, Path], environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Check libraries in a child process.

    Args:
        libraries: by name; `layer` needs `attention` before it.
        environment: variables for the child, in addition to its parent's.

    Returns:
        For each library that was checked: None if it is right, else the failure, as a clause. After a crash or a hang
        the remaining libraries are missing.

    Raises:
        OSError: the child can't be started, or something else ended it.
    """
    words = [f"{name}={path}" for name, path in libraries.items()]
    code = f"from {_PROOF} import main; main({words!r})"
    done = child.python(["-c", code], seconds=SECONDS, environment={SWITCH: OFF, **(environment or {})})
    failures: dict[str, str | None] = {}
    running = None
    for line in done.output.splitlines():
        word, name, *rest = line.split(" ", 2)
        if word == "begin":
            running = name, " ".join(rest)
        elif word in ("passed", "differs"):
            failures[name], running = " ".join(rest) or None, None
    if done.code == 0 and running is None and failures:
        return failures
    if running is None:
        lines = done.errors.strip().splitlines() or [f"it ended with {done.code}"]
        ending = f"didn't begin within {SECONDS:.0f} seconds" if done.code is None else lines[-1][:300]
        raise OSError(f"the process that checks them failed: {ending}")
    name, function = running
    if done.code is None:
        failures[name] = f"gave no result in {function} within {SECONDS:.0f} seconds"
    elif done.code >= 0:
        failures[name] = f"ended the process in {function} (code {done.code})"
    elif -done.code in _FROM_OUTSIDE:
        raise OSError(f"the process that checks them was ended by {signal.Signals(-done.code).name}")
    else:
        failures[name] = f"crashed in {function} ({signal.Signals(-done.code).name})"
    return failures
