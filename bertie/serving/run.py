"""Run the app of a server in this process, until a signal asks it to stop."""

from __future__ import annotations

import gc
import math
import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

from bertie.errors import SettingsError, missing_extra
from bertie.serving.app import build
from bertie.serving.connections import MAX_HEAD, Connection, Room, most_connections
from bertie.serving.guard import Rules
from bertie.serving.hub import Hub
from bertie.serving.metrics import Metrics

try:
    import uvicorn
except ModuleNotFoundError as error:
    raise missing_extra("uvicorn", "serve", "to serve a model") from error

_BACKLOG = 2048  # connections that the system keeps until they are accepted
_AT_ONCE = 64
_KEPT = 75  # seconds that a connection stays open after an answer; proxies close theirs after 60


class _Server(uvicorn.Server):
    """A server that returns after SIGINT or SIGTERM, so that the process ends with its own exit code."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(_BACKLOG)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listen(host: str, port: int) -> socket.socket:
    """Open a port, so that a port that is taken is found before the models are loaded.

    Raises:
        SettingsError: the address is wrong, or another program uses the port.
    """
    if not 0 <= port <= 65535:
        raise SettingsError(f"--port must be from 0 to 65535; got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns off Nagle's algorithm only where the protocol is named. With it, the body of an answer waits until
    # the client acknowledges the head, which takes 40 ms.
    opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
        opened.listen(_BACKLOG)
    except OSError as error:
        opened.close()
        raise SettingsError(f"can't listen on --host {host} --port {port}: {error.strerror or error}") from error
    return opened


def server_of(hub: Hub, rules: Rules, metrics: Metrics) -> uvicorn.Server:
    """Return a server for a hub; its `run` returns after `should_exit` is set, or after a signal."""
    app = build(hub, rules, metrics)
    room = Room(
        most_connections(),
        refused=lambda kind: metrics.failures.labels(kind).inc(),
        overload=hub.overload,
        answer=app.quick_refusal,
    )
    connection: Any = partial(Connection, room=room)  # uvicorn calls it as it would call the class
    config = uvicorn.Config(
        app,
        http=connection,
        lifespan="on",
        ws="none",
        log_config=None,
        log_level="error",  # what clients do wrong is counted, and fills no log
        h11_max_incomplete_event_size=MAX_HEAD,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # nothing here depends on a client's address
        timeout_graceful_shutdown=math.ceil(hub.limits.deadline),
        timeout_keep_alive=_KEPT,
        backlog=_AT_ONCE,  # so many are accepted before any request goes on; `startup` sets the system's own queue
    )
    return _Server(config)


def run(hub: Hub, rules: Rules, listening: socket.socket) -> dict[str, Any]:
    """Answer requests until SIGINT or SIGTERM, and then those that wait.

    Args:
        hub: the models.
        rules: who may ask, and what.
        listening: an open port.

    Returns:
        The number of requests and of failures.
    """
    metrics = Metrics()
    # The garbage collector would look at all that libraries and models hold, again and again.
    gc.collect()
    gc.freeze()
    server_of(hub, rules, metrics).run(sockets=[listening])
    return {"requests": metrics.total("bertie_requests"), "failures": metrics.total("bertie_failures")}
