"""Run a training command in the processes that torchrun started: `torchrun --nproc-per-node 2 -m bertie pretrain ...`.

The leader prepares the run. The others then run the same command, as if they resumed the run, but write nothing. When
torchrun has restarted the processes, the run continues from its newest checkpoint.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from bertie import progress
from bertie.commands.command import Report
from bertie.errors import BertieError, SettingsError

if TYPE_CHECKING:
    from bertie.training.parallel import Connected

Kind = TypeVar("Kind", bound=Report)
P = ParamSpec("P")
_PATIENCE = 2.0  # seconds in which a process that lost its connection waits for the message of the one that failed


def together(command: Callable[P, Kind]) -> Callable[P, Kind]:
    """Decorate a training command with `out`, `resume` and `seeds` to run in several processes under torchrun."""

    @functools.wraps(command)
    def call(*args: P.args, **kwargs: P.kwargs) -> Kind:
        if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "MASTER_ADDR" not in os.environ:
            return command(*args, **_resumed(kwargs))
        if kwargs.get("seeds") is not None:
            raise SettingsError("--seeds can't run under torchrun: start one torchrun command for each --seed")
        from bertie.training.parallel import connect

        return _run(command, connect(), args, kwargs)

    return call


def _run(command: Callable[..., Kind], group: Connected, args: Any, kwargs: Any) -> Kind:
    from bertie.training.parallel import Followed

    try:
        if group.leads:
            report = command(*args, **_resumed(kwargs))
            group.announce(finished=True)
            return report
        kwargs = {**kwargs, "resume": True, "track": ()}
        with progress.silence(), progress.collected():
            group.await_leader()
            try:
                return command(*args, **kwargs)  # a finished run
            except Followed:
                group.await_leader(finished=True)
                return command(*args, **kwargs)
    except Exception as error:
        _end(group, error)
        raise


def _end(group: Connected, error: Exception) -> None:
    """Let the process that failed first print its error, and end the others without a message."""
    from bertie.training.parallel import LostError

    if isinstance(error, LostError):
        # torchrun ends the processes as soon as one is gone, which would cut off the message.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and not group.failed():
            time.sleep(0.05)
    first = group.claim(str(error))
    group.close()
    if not first:
        sys.exit(error.exit_code if isinstance(error, BertieError) else 1)


def _resumed(kwargs: Any) -> Any:
    """Return the arguments with `resume` set if the run in `out` was begun by the same torchrun command."""
    launch = os.environ.get("TORCHELASTIC_RUN_ID")
    if launch is None or kwargs.get("resume") or kwargs.get("out") is None:
        return kwargs
    from bertie.training.runfolder import LAUNCH

    file = Path(kwargs["out"]) / LAUNCH
    restarted = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    known = launch != "none" and file.is_file() and file.read_text(encoding="utf-8") == launch
    if restarted or known:
        return {**kwargs, "resume": True}
    return kwargs
