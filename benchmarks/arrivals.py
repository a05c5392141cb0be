"""Send requests at times that don't depend on the answers, as many independent clients do, and note what happens.

Open loop: a slow server doesn't slow down the arrivals, so the wait for it counts. The time of a request starts when it
should be sent. This runs in a process of its own and needs the standard library alone, so that it takes little of
the machine.

Usage: python -m benchmarks.arrivals ORDER, a JSON file with the fields of `Order`; the figures are printed as JSON.
"""

import asyncio
import json
import math
import random
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_LATE = 60.0  # seconds after the last arrival for which answers are awaited
_PERCENTILES = (50.0, 95.0, 99.0, 99.9)


@dataclass(frozen=True)
class Order:
    """What to send."""

    port: int
    """Port on this machine."""
    requests: str
    """File with a request in each line: bytes of HTTP, as a JSON string."""
    rate: float = 0.0
    """Requests a second. 0: a closed loop, in which each connection asks again as soon as it is answered."""
    seconds: float = 10.0
    """How long requests are sent."""
    connections: int = 256
    """The most connections. In a closed loop, their number."""
    seed: int = 0
    """Seed of the times and the order of requests."""


class _Connection(asyncio.Protocol):
    """One connection that is kept open; it has one request at a time."""

    def __init__(self, client: "_Client") -> None:
        self._client, self._due, self._buffer = client, 0.0, b""
        self.is_open = False

    def connection_made(self, transport: Any) -> None:
        self._transport, self.is_open = transport, True

    def ask(self, content: bytes, due: float) -> None:
        """Send a request."""
        self._due = due
        self._transport.write(content)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[:end].lower()
        place = head.find(b"\r\ncontent-length:")
        length = int(head[place + 17 :].split(b"\r\n", 1)[0])
        if len(self._buffer) < end + 4 + length:
            return
        self._buffer = b""
        keep = b"\r\nconnection: close" not in head
        if not keep:
            self.is_open = False
        self._client.answered(self, int(head[9:12]), time.perf_counter() - self._due, keep)

    def connection_lost(self, error: Exception | None) -> None:
        was_open, self.is_open = self.is_open, False
        if was_open:
            self._client.lost(self)

    @property
    def due(self) -> float:
        """When its request should have been sent."""
        return self._due

    def close(self) -> None:
        """Close it."""
        self.is_open = False
        self._transport.close()


class _Client:
    """All connections of one run."""

    def __init__(self, order: Order) -> None:
        self._order = order
        with Path(order.requests).open(encoding="utf-8") as lines:
            self._requests = [json.loads(line).encode("latin-1") for line in lines]
        self._random = random.Random(order.seed)
        self._free: list[_Connection] = []
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._opening = 0
        self._busy: set[_Connection] = set()
        self._ends = 0.0
        self.latencies: dict[int, list[float]] = {}
        self.failures: Counter[str] = Counter()
        self.last_good = 0.0

    def _draw(self) -> bytes:
        return self._requests[self._random.randrange(len(self._requests))]

    def answered(self, connection: _Connection, status: int, seconds: float, keep: bool) -> None:
        """Note an answer."""
        self._busy.discard(connection)
        self.latencies.setdefault(status, []).append(seconds)
        if status == 200:
            self.last_good = time.perf_counter()
        if keep:
            self._use(connection)
        else:
            connection.close()
            self._fill()

    def lost(self, connection: _Connection) -> None:
        """Note a connection that the server closed, with or without a request."""
        if connection in self._busy:
            self._busy.discard(connection)
            self.failures["closed without an answer"] += 1
        elif connection in self._free:
            self._free.remove(connection)
        self._fill()

    def _use(self, connection: _Connection) -> None:
        """Give a free connection the next request."""
        if self._order.rate == 0.0 and time.perf_counter() < self._ends:
            self._waiting.append((self._draw(), time.perf_counter()))
        if self._waiting:
            self._busy.add(connection)
            connection.ask(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def _fill(self) -> None:
        """Open connections for the requests that wait."""
        room = self._order.connections - len(self._busy) - len(self._free) - self._opening
        for _ in range(min(len(self._waiting) - self._opening, room)):
            self._opening += 1
            asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._order.port)
        except OSError as error:
            self.failures[type(error).__name__] += 1
            if self._waiting:
                self._waiting.popleft()
            return
        finally:
            self._opening -= 1
        self._use(connection)

    async def run(self) -> dict[str, Any]:
        """Send everything, wait for the answers, and return the figures."""
        order, begun = self._order, time.perf_counter()
        self._ends = begun + order.seconds
        sent = 0
        if order.rate == 0.0:
            self._waiting.extend((self._draw(), begun) for _ in range(order.connections))
            self._fill()
            await asyncio.sleep(order.seconds)
        due = begun
        while order.rate:
            due += self._random.expovariate(order.rate)
            if due > self._ends:
                break
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            elif sent % 16 == 15:
                await asyncio.sleep(0)  # a client that is behind reads answers too
            sent += 1
            self._waiting.append((self._draw(), due))
            if self._free:
                self._use(self._free.pop())
            else:
                self._fill()
        while (self._busy or self._waiting) and time.perf_counter() < self._ends + _LATE:
            await asyncio.sleep(0.01)
        self.failures["no answer"] += len(self._busy) + len(self._waiting)
        return self._figures(begun)

    def _figures(self, begun: float) -> dict[str, Any]:
        good = self.latencies.get(200, [])
        seconds = max(self.last_good - begun, 1e-9)
        return {
            "asked": sum(map(len, self.latencies.values())) + sum(self.failures.values()),
            "answers": {str(status): len(found) for status, found in sorted(self.latencies.items())},
            "failures": {kind: count for kind, count in self.failures.items() if count},
            "good_a_second": len(good) / seconds,
            "milliseconds": {str(status): percentiles(found) for status, found in self.latencies.items()},
        }


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return percentiles of times, in milliseconds."""
    ordered = sorted(seconds)
    ranks = {each: ordered[min(len(ordered) - 1, math.ceil(each / 100.0 * len(ordered)) - 1)] for each in _PERCENTILES}
    return {f"p{each:g}": round(1000.0 * value, 2) for each, value in ranks.items()}


def write_requests(path: Path, target: str, bodies: list[Any]) -> Path:
    """Write the file of requests: a POST of each JSON body to a path of the server."""
    with path.open("w", encoding="utf-8") as file:
        for body in bodies:
            content = json.dumps(body)
            head = f"POST {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            file.write(json.dumps(f"{head}Content-Length: {len(content)}\r\n\r\n{content}") + "\n")
    return path


def order_file(path: Path, order: Order) -> Path:
    """Write an order."""
    path.write_text(json.dumps(asdict(order)), encoding="utf-8")
    return path


def main(words: list[str]) -> None:
    """Carry out one order."""
    order = Order(**json.loads(Path(words[0]).read_text(encoding="utf-8")))
    print(json.dumps(asyncio.run(_Client(order).run())))


if __name__ == "__main__":
    main(sys.argv[1:])
