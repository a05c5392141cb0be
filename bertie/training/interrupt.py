"""SIGTERM and SIGINT as a flag that the run looks at between two steps.

Saving and leaving are the run's work; what the exit code is, the command line's.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether somebody asked the run to stop."""

    requested: str | None = None
    """Name of the first signal that came; None as long as none did."""


@contextmanager
def interrupts() -> Iterator[Stop]:
    """Catch SIGTERM and SIGINT while the context lasts; a SIGINT after either of them raises KeyboardInterrupt at once.

    A signal that is being ignored, as a shell has its background jobs ignore SIGINT, stays ignored. Outside the main
    thread, where Python allows no handlers, nothing is caught.

    Yields:
        The flag.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        if stop.requested is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.requested = stop.requested or signal.Signals(number).name

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    # None: a handler that Python didn't install and couldn't put back.
    caught = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    try:
        for number in caught:
            signal.signal(number, note)
        yield stop
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
