"""Name a process of a parallel run that stands still: its host, its step, and the lines of code where it is.

A thread of every process reports twice a second what its process does. When a process has waited for longer than
`training.stall_after`, its thread compares these reports, prints the one that stands still, and ends its process, so
that torchrun ends the others and begins again. A report that no longer changes is that of a process that is stopped.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Any

from bertie import progress
from bertie.errors import DataError, ResourceError
from bertie.training.parallel import Connected
from bertie.untrusted import parse_json

_INTERVAL = 0.5
_SAMPLES = 6  # reports without a change that make a process a stopped one
_FREE = ("evaluation", "preparation")  # may take any time
_MOST_LINES = 6


class Watch:
    """Watch the processes of a run while the context lasts.

    Args:
        group: the processes.
        limit: seconds after which a process that does nothing new stands still.
    """

    def __init__(self, group: Connected, limit: float) -> None:
        self._group, self._limit = group, limit
        self._store = group.store.clone()
        self._main = threading.main_thread().ident or 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the thread."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        number = 0
        try:
            while not self._ended.wait(_INTERVAL):
                number += 1
                self._store.set(f"report/{self._group.rank}", json.dumps(self._report(number)))
                waiting = self._group.phase == "waiting" and time.monotonic() - self._group.since > self._limit
                if waiting and (culprit := self._culprit()) and not self._ended.is_set():
                    if self._group.claim(culprit):
                        progress.warn(culprit)
                    os._exit(ResourceError.exit_code)  # the main thread waits in C++ and can't be interrupted
        except (RuntimeError, DataError):
            return  # the store has ended, and with it the run

    def _report(self, number: int) -> dict[str, Any]:
        group = self._group
        seconds = time.monotonic() - group.since
        stack = ""
        if seconds > self._limit / 2 and (frame := sys._current_frames().get(self._main)) is not None:
            stack = "".join(traceback.format_stack(frame)[-_MOST_LINES:])
        place = {"host": group.host, "pid": group.pid, "phase": group.phase, "step": group.step}
        return {"number": number, "seconds": seconds, "stack": stack, **place}

    def _culprit(self) -> str:
        """Describe the process for which the others wait; "" if none stands still."""
        first = self._reports()
        time.sleep(_SAMPLES * _INTERVAL)
        for rank, report in self._reports().items():
            who = f"process {rank} of {self._group.size} on {report['host']} (pid {report['pid']})"
            place = f"stands still in step {report['step'] + 1}, {report['phase']}"
            if rank not in first or rank == self._group.rank:
                continue
            if first[rank]["number"] == report["number"]:
                return f"{who} {place}: it is stopped, or its machine is"
            if report["phase"] not in ("waiting", *_FREE) and report["seconds"] > self._limit:
                return f"{who} {place}, for {report['seconds']:.0f} s. It is here:\n{report['stack']}"
        return ""

    def _reports(self) -> dict[int, Any]:
        names = {rank: f"report/{rank}" for rank in range(self._group.size)}
        known = {rank: name for rank, name in names.items() if self._store.check([name])}
        return {
            rank: parse_json(self._store.get(name), f"the report of process {rank}") for rank, name in known.items()
        }
