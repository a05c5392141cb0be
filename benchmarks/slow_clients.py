"""Many connections that a server must not wait for: idle ones, slow heads, slow bodies, and answers that nobody reads.

They run in a process of their own, whose limit of open files is raised.
"""

import json
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

KINDS = ("idle", "slow head", "slow body", "unread")
_HEAD = b"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
_BETWEEN = 1.0  # seconds between two bytes


class Clients:
    """The connections of one process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def still_open(self) -> int:
        """Return how many connections the server hasn't closed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("count\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))


@contextmanager
def opened(port: int, count: int, kind: str) -> Iterator[Clients]:
    """Open connections in a process of its own, and close them at the end.

    Args:
        port: of the server.
        count: number of connections; one in 500 of them for unread answers, each of which costs the server work.
        kind: one of `KINDS`.
    """
    count = max(1, count // 500) if kind == "unread" else count
    command = [sys.executable, "-m", "benchmarks.slow_clients", str(port), str(count), kind]
    root = Path(__file__).parents[1]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        assert process.stdout is not None
        process.stdout.readline()  # all are open
        try:
            yield Clients(process)
        finally:
            process.kill()


def first_bytes(kind: str) -> bytes:
    """Return what a connection sends at once."""
    if kind == "idle":
        return b""
    if kind == "slow head":
        return _HEAD
    if kind == "slow body":
        return _HEAD + b'Content-Length: 100000\r\n\r\n{"input": "'
    return b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 200  # more than the buffers of the machine hold


def _connected(port: int, kind: str) -> socket.socket | None:
    one = socket.socket()
    if kind == "unread":
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with suppress(OSError):
        one.connect(("127.0.0.1", port))
        one.setblocking(False)
        one.send(first_bytes(kind))
        return one
    one.close()
    return None


def main(words: list[str]) -> None:
    """Open the connections, send a byte a second by each slow one, and count the open ones when asked."""
    port, count, kind = int(words[0]), int(words[1]), words[2]
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    alive = [one for one in (_connected(port, kind) for _ in range(count)) if one is not None]
    print(json.dumps(len(alive)), flush=True)
    selector: Any = selectors.DefaultSelector()
    selector.register(sys.stdin, selectors.EVENT_READ)
    while True:
        begun, left = time.monotonic(), []
        for one in alive:
            try:
                if kind != "unread" and not one.recv(65_536):
                    raise ConnectionError("closed")
            except BlockingIOError:
                pass
            except OSError:
                one.close()
                continue
            try:
                if kind == "slow head":
                    one.send(b"x")
                elif kind == "slow body":
                    one.send(b"a")
                elif kind == "unread":
                    one.send(b"\r\n")
            except BlockingIOError:
                pass
            except OSError:
                one.close()
                continue
            left.append(one)
        alive = left
        while (wait := begun + _BETWEEN - time.monotonic()) > 0:
            if selector.select(wait):
                if not sys.stdin.readline():
                    return
                print(json.dumps(len(alive)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
