"""Has built kernels prove themselves in a child process, where a crash or a hang ends the child alone.

The child is `bertie/nn/proof.py`, which compares every function with its twin in torch and says on stdout how far it
is: `begin LIBRARY FUNCTION`, `passed LIBRARY`, `differs LIBRARY CLAUSE`. It is named here by a string, since the twins
stand on a higher floor than the kernels.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

from bertie import child
from bertie.kernels.levels import OFF, SWITCH

SECONDS = 120.0
"""How long the child may take; its work is a second or two, and torch must be loaded before."""
_PROOF = "bertie.nn.proof"
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # no kernel sends itself these


def judge(libraries: Mapping[str, Path], environment: Mapping[str, str] | None = None) -> dict[str, str | None]:
    """Try libraries out.

    Args:
        libraries: by name; the layers' needs the attention's beside it.
        environment: variables for the child, beside its parent's.

    Returns:
        For each that was tried: None where it was right, else what happened, as a clause. After a crash or a hang the
        libraries behind it are left out.

    Raises:
        OSError: the child can't be started, or was ended by somebody else.
    """
    words = [f"{name}={path}" for name, path in libraries.items()]
    code = f"from {_PROOF} import main; main({words!r})"
    done = child.python(["-c", code], seconds=SECONDS, environment={SWITCH: OFF, **(environment or {})})
    found: dict[str, str | None] = {}
    begun = None
    for line in done.output.splitlines():
        word, name, *rest = line.split(" ", 2)
        if word == "begin":
            begun = name, " ".join(rest)
        elif word in ("passed", "differs"):
            found[name], begun = " ".join(rest) or None, None
    if done.code == 0 and begun is None and found:
        return found
    if begun is None:
        lines = done.errors.strip().splitlines() or [f"it ended with {done.code}"]
        ending = f"didn't begin within {SECONDS:.0f} seconds" if done.code is None else lines[-1][:300]
        raise OSError(f"the process that tries them out failed: {ending}")
    name, function = begun
    if done.code is None:
        found[name] = f"gave no result in {function} within {SECONDS:.0f} seconds"
    elif done.code >= 0:
        found[name] = f"ended the process in {function} (code {done.code})"
    elif -done.code in _FROM_OUTSIDE:
        raise OSError(f"the process that tries them out was ended by {signal.Signals(-done.code).name}")
    else:
        found[name] = f"crashed in {function} ({signal.Signals(-done.code).name})"
    return found
