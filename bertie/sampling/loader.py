"""Prefetch: a thread prepares the next batches while the processor works on the current one."""

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")


class _End:
    """Mark the end of the source, or its failure with `error`."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def prefetch(source: Iterator[T], *, depth: int = 2) -> Generator[T, None, None]:
    """Yield the items of `source`, drawn up to `depth` items ahead.

    An error of the source reaches the consumer after the items before it. Closing the generator stops the thread and
    the source.

    Args:
        source: iterator that only the thread uses.
        depth: largest number of waiting items.
    """
    waiting: queue.Queue[T | _End] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: T | _End) -> bool:
        while not stopped.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in source:
                if not put(item):
                    return
        except BaseException as caught:
            error = caught
        finally:
            if isinstance(source, Generator):
                source.close()
        put(_End(error))

    thread = threading.Thread(target=work, name="bertie-prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stopped.set()
        thread.join()
