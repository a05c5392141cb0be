"""What does bertie's server do under load that it can't or may not serve, and over a long time?

Subcommands, each of which prints one line of JSON and adds it to --out:

    capacity   the sustained rate, as benchmarks.serving finds it; the others take it by --rate, or find it first
    steady     at 70 % of the capacity: errors, and growth of the memory
    overload   at 10 times the capacity: only 200, 429 and 503, how many good answers, how quick refusals are, and
               whether all is normal again after 5 seconds
    idle       thousands of idle and slow connections: what they change for the others, and whether they are closed
    many       a very large number of requests to a tiny model: growth of the memory

Usage: python -m benchmarks.serving_load COMMAND [--rate R] [--minutes M] [--smoke] [--out FILE]
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import inputs, machine, servers, serving, slow_clients

Figures = dict[str, Any]


def options_of(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=sorted(COMMANDS))
    inputs.arguments(parser)
    parser.add_argument("--rate", type=float, help="the capacity in requests a second (default: found first)")
    parser.add_argument("--minutes", type=float, help="how long (default: steady 10, overload 3, idle 1)")
    parser.add_argument("--connections", type=int, default=10_000, help="of idle: idle and slow ones (%(default)s)")
    parser.add_argument("--requests", type=int, default=1_000_000, help="of many (%(default)s)")
    parser.add_argument("--step", type=float, default=15.0, help="seconds at each rate, to find the capacity")
    parser.add_argument(
        "--threads", type=int, default=machine.description()["cores"], help="of the server (%(default)s)"
    )
    parser.add_argument("--smoke", action="store_true", help="a tiny model and seconds; the speeds mean nothing")
    parser.add_argument("--out", type=Path, help="JSON Lines file to add the result to")
    found = parser.parse_args(words)
    if found.smoke:
        found.step, found.connections, found.requests = 1.0, min(found.connections, 300), min(found.requests, 3000)
    return found


class Load:
    """A running server with its requests.

    Args:
        options: the command line.
        folder: for the requests and the model.
        server: the server.
    """

    def __init__(self, options: argparse.Namespace, folder: Path, server: servers.Running) -> None:
        self.options, self.folder, self.server = options, folder, server

    def seconds(self, minutes: float) -> float:
        """Return how long a part takes."""
        return 5.0 if self.options.smoke else 60.0 * (self.options.minutes or minutes)

    def rate(self) -> float:
        """Return the capacity, requests a second."""
        if self.options.rate is None:
            self.options.rate = serving.sustained(self.folder, self.server, self.options.step)
        return float(self.options.rate)

    def sent(self, **order: Any) -> Figures:
        """Send requests and return the figures."""
        return servers.sent(self.folder, self.server, **order)

    def watched(self, **order: Any) -> tuple[Figures, list[float]]:
        """Send requests, and note the server's memory each second, in MB."""
        process, memory = servers.sending(self.folder, self.server, **order), list[float]()
        while process.poll() is None:
            memory.append(self.server.rss_mb())
            time.sleep(1.0)
        assert process.stdout is not None
        return json.loads(process.stdout.read()), memory


def capacity(load: Load) -> Figures:
    """Find the sustained rate."""
    return {"sentences_a_second": load.rate()}


def steady(load: Load) -> Figures:
    """Ask at 70 % of the capacity."""
    rate = 0.7 * load.rate()
    load.sent(rate=rate, seconds=load.seconds(1.0) / 5, connections=1000)  # memory grows while the first sizes come
    found, memory = load.watched(rate=rate, seconds=load.seconds(10.0), connections=1000)
    return {"rate": rate, **found, "memory": growth(memory)}


def overload(load: Load) -> Figures:
    """Ask at ten times the capacity, and then again as usual."""
    rate, seconds = load.rate(), load.seconds(3.0)
    found, memory = load.watched(rate=10.0 * rate, seconds=seconds, connections=4000)
    time.sleep(5.0)
    after = load.sent(rate=0.5 * rate, seconds=seconds / 10, connections=1000)
    return {
        "rate": 10.0 * rate,
        **found,
        "goodput_of_capacity": found["good_a_second"] / rate,
        "memory": growth(memory),
        "after_5_seconds": after,
    }


def idle(load: Load) -> Figures:
    """Ask at half the capacity, without and with thousands of idle and slow connections."""
    rate, seconds = 0.5 * load.rate(), load.seconds(1.0)
    load.sent(rate=rate, seconds=seconds / 5, connections=1000)
    before = load.sent(rate=rate, seconds=seconds, connections=1000)
    memory, result = load.server.rss_mb(), {}
    for kind in slow_clients.KINDS:
        with slow_clients.opened(load.server.port, load.options.connections, kind) as clients:
            held, peak = settled(load.server), load.server.rss_mb()
            during = load.sent(rate=rate, seconds=seconds, connections=1000)
            result[kind] = {
                "answers": during["answers"],
                "failures": during["failures"],
                "milliseconds": during["milliseconds"].get("200"),
                "open_files": held,
                "memory_mb": peak,
                "still_open_at_the_end": clients.still_open(),
            }
    return {"rate": rate, "without": before["milliseconds"].get("200"), "memory_mb": memory, "with": result}


def settled(server: servers.Running) -> int:
    """Wait until the server has accepted all connections that clients have opened; return its number of open files."""
    before = -1
    for _ in range(60):
        if (now := server.files()) <= before:
            break
        before = now
        time.sleep(0.5)
    return server.files()


def many(load: Load) -> Figures:
    """Ask as often as asked for, by 32 connections, and note the growth of the memory after the first tenth."""
    memory, done, part = list[float](), 0, 5.0 if load.options.smoke else 30.0
    answers: dict[str, int] = {}
    begun, cpu = time.monotonic(), load.server.cpu_seconds()
    while done < load.options.requests:
        found = load.sent(seconds=part, connections=32, seed=done)
        for status, count in found["answers"].items():
            answers[status] = answers.get(status, 0) + count
        if found["failures"] or not found["answers"]:
            raise SystemExit(f"requests failed: {found}")
        done += sum(found["answers"].values())
        memory.append(load.server.rss_mb())
        print(f"{done:,} requests, {memory[-1]:,.1f} MB", file=sys.stderr, flush=True)
    seconds = time.monotonic() - begun
    cpu = load.server.cpu_seconds() - cpu
    more = {"a_second": done / seconds, "cpu_ms_a_request": 1000.0 * cpu / done}
    return {"answers": answers, **more, "memory": growth(memory)}


def growth(memory: Sequence[float]) -> Figures:
    """Return the growth of the memory from the end of the first tenth to the end."""
    first = memory[min(len(memory) - 1, len(memory) // 10)]
    return {"first_mb": first, "last_mb": memory[-1], "most_mb": max(memory), "growth": memory[-1] / first - 1.0}


COMMANDS: dict[str, Callable[[Load], Figures]] = {
    "capacity": capacity,
    "steady": steady,
    "overload": overload,
    "idle": idle,
    "many": many,
}
TINY = ("many", "idle")
"""Commands that use a tiny model, because what they show doesn't depend on its size."""


def main(words: Sequence[str] | None = None) -> None:
    """Run one command."""
    options = options_of(words)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = argparse.Namespace(**{**vars(options), "smoke": True}) if options.command in TINY else options
        model = inputs.model_folder(folder, small)
        serving.write_requests(folder, serving.sentences(options))
        with servers.running(servers.bertie(), model, options.threads) as server:
            result = COMMANDS[options.command](Load(options, folder, server))
    line = {
        "command": options.command,
        "smoke": options.smoke,
        **result,
        "machine": {**machine.description(), "threads": options.threads},
        "versions": machine.versions(["uvicorn", "fastapi"]),
        "date": time.strftime("%Y-%m-%d"),
    }
    print(json.dumps(line))
    if options.out:
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
