"""Turn SIGTERM and SIGINT into a flag that a run checks after each step.

The run saves and stops. The command line sets the exit code.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """A flag that asks the run to stop."""

    requested: str | None = None
    """Name of the first signal received; None before that."""


@contextmanager
def interrupts() -> Iterator[Stop]:
    """Catch SIGTERM and SIGINT within the context. A SIGINT after either of them raises KeyboardInterrupt at once.

    A signal that the process ignores stays ignored; shells make background jobs ignore SIGINT. Outside the main thread
    Python allows no handlers, and no signal is caught.

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
    # A handler that Python didn't install is None here, and couldn't be restored.
    caught = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    try:
        for number in caught:
            signal.signal(number, note)
        yield stop
    finally:
        for number, handler in caught.items():
            signal.signal(number, handler)
