"""The connections of a server: which are closed because they are slow or too many, and how broken HTTP is refused.

uvicorn waits without end for the head of a request and for a client that doesn't read its answer. Without limits,
clients that do nothing would take all of the process's file descriptors. The time for a body is the guard's.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from bertie.serving.limits import RequestError

MAX_HEAD = 65_536
"""Bytes of a request's first line and headers."""
_POST = re.compile(rb"POST (/[!-~]{0,1000}) HTTP/1\.1")
_HEADER = re.compile(rb"([A-Za-z0-9-]+): ?([^\r\n]*)")
_SIZE = re.compile(rb"[0-9]{1,5}")  # larger bodies are not kept here
_UNUSUAL = {b"origin", b"expect", b"transfer-encoding", b"upgrade", b"x-request-id"}
_SWEEP = 1.0  # seconds between two looks for slow connections
_SPARE = 128  # file descriptors that the process needs besides connections
_LEAST = 16
_AT_ONCE = 100  # slow connections that are closed together


@dataclass
class Room:
    """All connections of one server.

    Args:
        most: connections at the same time. Beyond it, the connection that has waited longest for a request is closed.
        head: seconds in which the first line and the headers of a request must arrive.
        reading: seconds in which a client must read what fits no buffer of this machine.
        refused: called with the kind of each refusal, for metrics.
        overload: returns the refusal of every request while the models have too much to do, or None.
        answer: returns the whole answer to a request at a path that is refused, and counts it.
    """

    most: int
    head: float = 10.0
    reading: float = 30.0
    refused: Callable[[str], None] = lambda kind: None
    overload: Callable[[], RequestError | None] = lambda: None
    answer: Callable[[str, RequestError], bytes] = lambda path, error: b""
    asking: dict[Connection, float] = field(default_factory=dict)
    """Connections whose next request hasn't arrived in full, and since when, the oldest first."""
    resting: dict[Connection, None] = field(default_factory=dict)
    """Connections that are kept open after an answer, the oldest first."""
    blocked: dict[Connection, float] = field(default_factory=dict)
    """Connections whose client doesn't read, and since when, the oldest first."""
    size: int = 0
    """Number of open connections."""
    _is_sweeping: bool = False

    def enter(self, connection: Connection) -> bool:
        """Add a new connection, and tell whether there is room for it."""
        self.size += 1
        if self.size > self.most:
            oldest = next(iter(self.asking), None) or next(iter(self.resting), None)
            if oldest is None:
                return False
            oldest.give_up(_full())
        self.ask(connection)
        if not self._is_sweeping:
            self._is_sweeping = True
            connection.loop.call_later(_SWEEP, self._sweep, connection.loop)
        return True

    def ask(self, connection: Connection) -> None:
        """Note that a connection is expected to send a request."""
        self.resting.pop(connection, None)
        self.asking.setdefault(connection, connection.loop.time())

    def rest(self, connection: Connection) -> None:
        """Note that a connection may stay without a request for a while."""
        self.asking.pop(connection, None)
        self.resting[connection] = None

    def free(self, connection: Connection) -> None:
        """Note that a connection's request is being answered, or that it is closing."""
        self.asking.pop(connection, None)
        self.resting.pop(connection, None)

    def leave(self, connection: Connection) -> None:
        """Remove a connection that is closed."""
        self.size -= 1
        self.free(connection)
        self.blocked.pop(connection, None)

    def _sweep(self, loop: Any) -> None:
        """Close the connections whose time is over, some at a time, so that requests don't wait for that."""
        now, wait = loop.time(), _SWEEP
        slow = [one for one, since in islice(self.asking.items(), _AT_ONCE) if now - since >= self.head]
        for connection in slow:
            connection.give_up(
                RequestError(408, "too_slow", f"the headers didn't arrive within {self.head:g} seconds; send faster")
            )
        if len(slow) == _AT_ONCE:
            wait = _SWEEP / 50
        for connection in [one for one, since in self.blocked.items() if now - since >= self.reading]:
            self.refused("unread")
            connection.transport.abort()
        self._is_sweeping = self.size > 0
        if self._is_sweeping:
            loop.call_later(wait, self._sweep, loop)


class Connection(H11Protocol):
    """One connection.

    The start of a head is kept here until the head is complete: h11 would read it again for each byte of a slow client.

    Args:
        *args: as for uvicorn's own class.
        room: all connections of the server.
        **more: as for uvicorn's own class.
    """

    def __init__(self, *args: Any, room: Room, **more: Any) -> None:
        super().__init__(*args, **more)
        self._room, self._head, self._has_head = room, bytearray(), False

    def connection_made(self, transport: Any) -> None:
        """Start to wait for a request."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that each answer that isn't read is noticed
        if not self._room.enter(self):
            self.give_up(_full(), is_new=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._room.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        if self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            seen = max(0, len(self._head) - 3)
            self._head += data
            self._has_head = self._has_head or self._is_complete(seen)
            if not self._has_head:
                self._unset_keepalive_if_required()
                self._room.ask(self)
                return
            if (error := self._room.overload()) is not None and self._is_refused(error):
                return
            data, self._head, self._has_head = bytes(self._head), bytearray(), False
        super().data_received(data)
        self._note()

    def _is_refused(self, error: RequestError) -> bool:
        """Refuse a plain request without h11, as soon as its body is there. False: h11 must read the request."""
        plain = path_of_plain(self._head)
        if plain is None:
            return False
        path, missing = plain
        self._unset_keepalive_if_required()
        if missing:
            self._room.ask(self)
            return True
        self._head, self._has_head = bytearray(), False
        self.transport.write(self._room.answer(path, error))
        # As after any answer. h11 has seen nothing of the request, and waits for the next one.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        self._room.rest(self)
        return True

    def _is_complete(self, seen: int) -> bool:
        """Tell whether h11 can decide: the head has ended, is too large, or doesn't look like HTTP at all."""
        has_ended = self._head.find(b"\n\r\n", seen) >= 0 or self._head.find(b"\n\n", seen) >= 0
        return has_ended or len(self._head) > MAX_HEAD or not 0x21 <= self._head[0] <= 0x7E

    def on_response_complete(self) -> None:
        """Start to wait for the next request."""
        super().on_response_complete()
        self._note()

    def pause_writing(self) -> None:
        """Note that the client doesn't read."""
        self._room.blocked[self] = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client has read everything."""
        self._room.blocked.pop(self, None)
        super().resume_writing()

    def _note(self) -> None:
        """Note what the connection does now."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if is_answering or self.transport.is_closing():
            self._room.free(self)
        elif self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]:
            self._room.rest(self)
        else:  # a head has begun, or the rest of a refused body arrives
            self._room.ask(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP. uvicorn calls this while it handles h11's error."""
        error = sys.exc_info()[1]
        said = f"the request is not HTTP/1.1 ({error if isinstance(error, h11.ProtocolError) else msg})"
        if isinstance(error, h11.ProtocolError) and error.error_status_hint == 431:
            message = f"the request's first line and headers have more than {MAX_HEAD:,} bytes; send fewer headers"
            return self.give_up(RequestError(431, "head_too_large", message, limit="head", value=MAX_HEAD))
        status = 501 if isinstance(error, h11.ProtocolError) and error.error_status_hint == 501 else 400
        return self.give_up(RequestError(status, "wrong_http", f"{said}; use an HTTP library"))

    def give_up(self, error: RequestError, *, is_new: bool = False) -> None:
        """Close the connection, and say why to a client that has begun a request.

        Args:
            error: why.
            is_new: whether the client may be about to send a request, so that it will read an answer.
        """
        self._room.refused(error.kind)
        self._room.free(self)
        is_asking = is_new or self._head or self.conn.trailing_data[0] or self.conn.their_state is h11.ERROR
        if is_asking and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps(error.as_dict()).encode()
            head = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
            with suppress(h11.LocalProtocolError):
                answer = [h11.Response(status_code=error.status, headers=head), h11.Data(body), h11.EndOfMessage()]
                self.transport.write(b"".join(self.conn.send(event) or b"" for event in answer))
        self.transport.close()


def path_of_plain(data: bytes | bytearray) -> tuple[str, int] | None:
    """Return the path of a POST request that asks for nothing unusual, and how many bytes of its body are missing.

    None: it is anything else. In doubt it is None, and then h11 reads the request.

    Args:
        data: the bytes since the last answer, with a whole head.
    """
    head, _, body = data.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    first, headers = _POST.fullmatch(line), [_HEADER.fullmatch(line) for line in lines]
    values = {header[1].lower(): header[2] for header in headers if header is not None}
    is_plain = len(values) == len(lines) and not _UNUSUAL & values.keys()  # none is broken, and none comes twice
    stays = values.get(b"connection", b"keep-alive").lower() == b"keep-alive"
    length = values.get(b"content-length", b"")
    if first is None or not is_plain or not stays or not _SIZE.fullmatch(length) or int(length) < len(body):
        return None
    return first[1].decode("ascii"), int(length) - len(body)


def _full() -> RequestError:
    message = "too many connections are open; close some, or try again later"
    return RequestError(503, "too_many_connections", message, retry_after=1.0)


def most_connections() -> int:
    """Raise the process's limit of open files as far as it may, and return how many connections fit in.

    Further descriptors are left to model files and logs.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or soft < hard:
        with suppress(ValueError, OSError):
            wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
            soft = max(soft, wanted)
    return max(_LEAST, soft - _SPARE)
