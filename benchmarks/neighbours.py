"""How much of its speed does training keep while other processes are busy?

A mini encoder trains with bertie's loop, alone and next to one, two and four busy processes: Python loops, torch
products with as many threads as the training, and a compiler, each at nice 0 and 10. The result also has the fair
share: the part of the speed alone that the training would keep if the scheduler divided processor time by its weights
among all threads. A kernel with autogroups first divides time by session, so that its shares differ.

Usage: python -m benchmarks.neighbours [--size mini]
"""

import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any

from benchmarks import rounds
from benchmarks.contest import Case, Contestant, Ready, Work
from benchmarks.pretrain import BATCHES, LENGTH, LOSS, TOKENS, ready_ours

COUNTS, NICENESS = (1, 2, 4), (0, 10)
WEIGHTS = {0: 1024, 10: 110}
"""Weights of the Linux scheduler for each niceness."""
SECONDS = 4.0  # of one repeat
LOADS = {
    "Python loops": "while True: sum(range(10_000))",
    "torch": "import torch\na = torch.randn(1000, 1000)\nwhile True: a @ a",
    "a compiler": "import subprocess\n"
    "text = '#include <regex>\\n#include <map>\\nint f(std::string s) {return std::regex_match(s, std::regex(s));}'\n"
    "while True: subprocess.run(['g++', '-O2', '-xc++', '-', '-S', '-o', '/dev/null'], input=text.encode())",
}


def arguments(parser: ArgumentParser) -> None:
    """Add this benchmark's flags."""
    parser.add_argument("--size", default="mini", help="network size (%(default)s)")


def cases(options: Namespace) -> list[Case]:
    """Make a case for each kind of neighbour and each niceness."""
    kinds = list(product(LOADS, NICENESS))[: 1 if options.smoke else None]
    size, rows = "tiny" if options.smoke else options.size, 4 if options.smoke else TOKENS // LENGTH
    found = []
    for load, nice in kinds:
        beside = tuple(
            Contestant(
                f"bertie beside {count}" if count else "bertie alone",
                partial(ready, size, rows, load, nice, count, 0.2 if options.smoke else SECONDS),
            )
            for count in (0, *COUNTS[: 1 if options.smoke else None])
        )
        settings = {"size": size, "load": load, "nice": nice}
        found.append(Case(f"{size}, {load} at nice {nice}", "tokens/s", beside, LOSS, settings=settings))
    return found


def prepare(work: Work) -> dict[str, Any]:
    """Record the duration of a repeat."""
    return {"seconds_a_repeat": SECONDS}


def ready(size: str, rows: int, load: str, nice: int, count: int, seconds: float, work: Work) -> Ready:
    """Prepare the training; its neighbours run during each repeat."""
    steps = ready_ours(size, rows, LENGTH, 0.0, 0.0, work)
    threads, cores = work.options.threads, os.cpu_count() or 1
    busy = count * (threads if load == "torch" else 1)
    alone = min(threads, cores)  # processors that the training uses when it runs alone
    fair = min(1.0, cores * threads / (threads + busy * WEIGHTS[nice] / WEIGHTS[0]) / alone)

    def repeat() -> float:
        with neighbours(load, nice, count):
            tokens, started = 0.0, time.perf_counter()
            while (spent := time.perf_counter() - started) < seconds:
                tokens += steps.repeat() * (time.perf_counter() - started - spent)
            return tokens / spent

    return Ready(steps.prove, repeat, warmups=BATCHES, derive=lambda figure: {"fair_share": fair})


@contextmanager
def neighbours(load: str, nice: int, count: int) -> Iterator[None]:
    """Run `count` busy processes while the context lasts."""
    command = [sys.executable, "-c", f"import os\nos.nice({nice})\n{LOADS[load]}"]
    busy = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        for _ in range(count)
    ]
    try:
        time.sleep(1.0 if busy else 0.0)  # until they have started
        yield
    finally:
        for process in busy:
            os.killpg(process.pid, 9)
            process.wait()


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.neighbours", words, rounds=3, repeats=2)


if __name__ == "__main__":
    main()
