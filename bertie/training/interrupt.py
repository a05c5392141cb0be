"""SIGTERM and SIGINT as a flag that the run looks at between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether somebody asked the run to stop."""

    requested: str | None = None
    """Name of the signal that came; None as long as none did."""


@contextmanager
def interrupts() -> Iterator[Stop]:
    """Catch SIGTERM and SIGINT while the context lasts; a second SIGINT stops at once.

    Outside the main thread, where Python allows no handlers, nothing is caught.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        if stop.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.requested = signal.Signals(number).name

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
