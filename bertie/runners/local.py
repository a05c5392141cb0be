"""Run a job on this machine: in this process, or in several that are started afresh.

Processes are spawned, never forked: a fork copies the locks of threads that don't exist in the copy. One that is killed
(most often by the system, for memory) ends the job with an error.
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

# Enough that no process waits while the results are written, few enough that memory stays small.
_ITEMS_IN_FLIGHT_PER_PROCESS = 3


def available_processes() -> int:
    """Return how many processors this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # systems that can't tie a process to processors


def run(work: Work[Item, Result], items: Iterable[Item], *, num_processes: int) -> Generator[Result]:
    """Work on items in several processes and yield the results in the items' order.

    Args:
        work: see ``runners.runner``.
        items: read as fast as they are worked on, in this process.
        num_processes: how many processes work; 1 works in this one.

    Yields:
        The result of each item.

    Raises:
        SettingsError: the number of processes is below 1.
        ResourceError: a process was killed.
        Exception: what the work or the items raised, as it is.
    """
    if num_processes < 1:
        raise SettingsError(f"--processes {num_processes} is too few; at least 1 has to work")
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
    """Prepare a fresh process: it works, and leaves signals and threads to others."""
    # Ctrl-C reaches every process of the terminal; the first one decides and ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The processes are the parallelism; the Rust tokenizer would start threads on top, as many as processors.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parent = multiprocessing.parent_process()
    assert parent is not None, "this runs in a process of a pool"

    def end_with_parent() -> None:
        # When the first process is killed nobody tells the others: they would wait for work without end.
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


@contextmanager
def _hidden_main_module(work: object) -> Iterator[None]:
    """Keep fresh processes from running the user's script again.

    A spawned process imports the main module anew, so a script without ``if __name__ == "__main__":`` would start the
    whole job again in each. Our work never lives there; work that does needs it, and the guard.
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
