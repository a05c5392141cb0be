"""Run a job on this machine: in this process, or in several new processes.

Processes are spawned and never forked: a fork copies the locks of threads that don't exist in the copy. If a process is
killed, most often by the system for lack of memory, the job ends with an error.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar

from bertie.errors import ResourceError, SettingsError
from bertie.runners.runner import Work

Item = TypeVar("Item")
Result = TypeVar("Result")

# Enough that no process waits while results are written, and few enough that memory stays small.
_ITEMS_IN_FLIGHT_PER_PROCESS = 3


def available_processes() -> int:
    """Return how many processors this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # a system that can't restrict a process to some processors


def run(work: Work[Item, Result], items: Iterable[Item], *, num_processes: int) -> Generator[Result]:
    """Apply work to items in several processes and yield the results in the order of the items.

    Args:
        work: see ``runners.runner``.
        items: read in this process, as fast as they are worked on.
        num_processes: number of processes; with 1 the work runs in this process.

    Yields:
        The result of each item.

    Raises:
        SettingsError: the number of processes is below 1.
        ResourceError: a process was killed.
        Exception: any exception of the work or the items, unchanged.
    """
    if num_processes < 1:
        raise SettingsError(f"--processes must be at least 1; got {num_processes}")
    if num_processes == 1:
        yield from map(work, items)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(num_processes, mp_context=context, initializer=_begin)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            if len(waiting) >= _ITEMS_IN_FLIGHT_PER_PROCESS * num_processes:
                yield waiting.popleft().result()
            with _hidden_main_module(work):
                waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise ResourceError(
            f"one of {num_processes} processes was killed, most likely because memory ran out; "
            "try again with fewer: --processes 1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Prepare a new process: ignore Ctrl-C, use one thread, and end when the parent ends."""
    # Ctrl-C reaches every process of the terminal. The parent handles it and ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The processes already use all processors; the Rust tokenizer would start as many threads in each of them.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = multiprocessing.parent_process()
    assert parent is not None, "this runs in a process of a pool"

    def end_with_parent() -> None:
        # If the parent is killed, the others aren't notified and would wait for work forever.
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


@contextmanager
def _hidden_main_module(work: object) -> Iterator[None]:
    """Keep new processes from running the user's script again.

    A spawned process imports the main module, so a script without ``if __name__ == "__main__":`` would start the whole
    job again in each process. bertie's own work is never defined in the main module, so the module is hidden. Work that
    is defined there needs the module, and the script needs the guard.
    """
    main = sys.modules["__main__"]
    if type(work).__module__ == "__main__" or getattr(work, "__module__", None) == "__main__":
        yield
        return
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
