"""What a server refuses before any route sees it: foreign hosts and origins, missing keys, large and broken bodies.

The guard wraps the whole app, so no route can be forgotten. A body is read once, within its limit, and checked by the
strict parser; the routes get the same bytes. Bare ASGI: no framework, and no URL is built from the client's headers.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from bertie.errors import DataError
from bertie.serving.hub import Times, times
from bertie.serving.limits import RequestError
from bertie.untrusted import parse_json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Form = Callable[[RequestError], dict[str, Any]]
"""Makes the body of a refusal."""

_PATIENCE, _SLOWEST = 5.0, 240.0
"""Seconds after which a body must have arrived at so many bytes a second, as in other servers."""
OPEN_PATHS = ("/live", "/ready")
"""Paths that need no key and no known host, because programs ask them by the address of a container."""
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_ALWAYS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::[0-9]{1,5})?")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON = re.compile(rb"application/(?:[\w.-]+\+)?json\s*(?:;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)


@dataclass(frozen=True)
class Rules:
    """Who may ask a server, and what."""

    keys: tuple[str, ...] = ()
    """Keys, one of which a client sends as `Authorization: Bearer KEY`. Empty: everybody may ask."""
    hosts: tuple[str, ...] = LOCAL_HOSTS
    """Names in the Host header, without port. `*` allows all."""
    origins: tuple[str, ...] = ()
    """Web pages of other origins that may ask, such as https://example.org."""
    body: int = 2_000_000
    """Bytes of a request."""
    seconds: float = 30.0
    """Seconds in which the body must arrive."""


class Guard:
    """Wrap an app.

    Args:
        app: answers the requests that the rules allow.
        rules: who may ask, and what.
        count: called with the request's scope, its status, its seconds and the kind of its failure or "".
        form_of: returns the form of refusals at a path; clients of a protocol expect its own.
    """

    def __init__(
        self,
        app: App,
        rules: Rules,
        count: Callable[[Scope, int, float, str], None],
        form_of: Callable[[str], Form] = lambda path: RequestError.as_dict,
    ) -> None:
        self._app, self._rules, self._count, self._form_of = app, rules, count, form_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = [(name.lower(), value) for name, value in scope["headers"]]
        answer = _Answer(send, headers, self._form_of(scope["path"]))
        scope["bertie.answer"] = answer
        times.set(answer.times)
        try:
            if scope["path"] not in OPEN_PATHS:
                self._check_host(headers)
                origin = self._origin(headers)
                answer.origin = origin if origin in self._rules.origins else ""
                if answer.origin and scope["method"] == "OPTIONS":  # a browser asks first, and sends no key
                    await answer.preflight()
                    return
                self._check_key(headers)
            try:
                async with asyncio.timeout(self._rules.seconds):
                    body = await self._body(scope, headers, receive)
            except TimeoutError as error:
                message = f"the body didn't arrive in {self._rules.seconds:g} seconds, at {_SLOWEST:g} bytes a second"
                raise RequestError(408, "too_slow", f"{message}; send it faster") from error
            await _until_the_client_leaves(self._app, scope, receive, answer.send, body)
        except RequestError as error:
            await answer.refuse(error)
        finally:
            self._count(scope, answer.status, time.perf_counter() - answer.begun, answer.kind)

    def quick_refusal(self, path: str, error: RequestError) -> bytes:
        """Count a request as refused, and return the whole answer; the request's own headers are not looked at."""
        self._count({}, error.status, 0.0, error.kind)
        body = _body_of(error, self._form_of(path))
        headers = {**_headers_of_body(body), **headers_of(error), **_ALWAYS, "x-request-id": uuid.uuid4().hex}
        lines = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + body

    def _check_host(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Check the name by which the client asks: a web page may let its own name point to this machine."""
        if "*" not in self._rules.hosts and _host(headers) not in self._rules.hosts:
            raise RequestError(
                403, "wrong_host", "this server doesn't answer to that name; start it with --allowed-host NAME"
            )

    def _check_key(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Check the key."""
        keys = [value for name, value in headers if name == b"authorization"]
        if self._rules.keys and not (len(keys) == 1 and _is_known(keys[0], self._rules.keys)):
            raise RequestError(401, "no_key", "send a key of this server as the header Authorization: Bearer KEY")

    def _origin(self, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """Return the origin of the web page that asks, or "".

        Raises:
            RequestError: it is neither this server nor allowed.
        """
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if not origins:
            return ""
        host = next((value.decode("latin-1") for name, value in headers if name == b"host"), "")
        same = (f"http://{host}".lower(), f"https://{host}".lower())
        if len(origins) == 1 and (origins[0] in self._rules.origins or origins[0].lower() in same):
            return origins[0]
        raise RequestError(
            403, "wrong_origin", "web pages of that origin may not ask; start the server with --allow-origin ORIGIN"
        )

    async def _body(self, scope: Scope, headers: Sequence[tuple[bytes, bytes]], receive: Receive) -> bytes:
        """Read the body, within the limit, and check that it is JSON."""
        values = dict(headers)
        length = values.get(b"content-length", b"0")
        if length.isdigit() and (len(length) > 18 or int(length) > self._rules.body):
            raise self._too_large(int(length[:18]))
        parts, size, more, begun = [], 0, True, time.perf_counter()
        while more:
            message = await receive()
            if (spent := time.perf_counter() - begun) > _PATIENCE and size < spent * _SLOWEST:
                raise TimeoutError
            if message["type"] == "http.disconnect":
                raise RequestError(400, "left", "the client left")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > self._rules.body:
                raise self._too_large(size)
        body = b"".join(parts)
        if not body:  # routes that need a payload refuse it; others may not exist, or take another method
            return body
        if values.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            raise RequestError(415, "wrong_encoding", "send the body without compression")
        # A client that names no type, such as tritonclient, sends JSON. A web page can't: its origin was checked.
        if _JSON.fullmatch(values.get(b"content-type", b"application/json").strip()) is None:
            raise RequestError(415, "wrong_content_type", "send JSON, with the header Content-Type: application/json")
        try:
            scope["bertie.payload"] = parse_json(body, "body")
        except DataError as error:
            raise RequestError(400, "wrong_json", str(error)) from error
        return body

    def _too_large(self, size: int) -> RequestError:
        message = f"the body has more than {self._rules.body:,} bytes; send fewer or shorter items"
        return RequestError(413, "body_too_large", message, limit="body", value=size)


class _Answer:
    """Send an answer, with the headers that every answer has."""

    def __init__(self, send: Send, headers: Sequence[tuple[bytes, bytes]], form: Form) -> None:
        self._send, self._has_started, self.form = send, False, form
        asked = next((value.decode("latin-1") for name, value in headers if name == b"x-request-id"), "")
        self.id = asked if _REQUEST_ID.fullmatch(asked) else uuid.uuid4().hex
        self.begun, self.status, self.kind, self.origin = time.perf_counter(), 499, "left", ""
        self.times = Times()

    async def send(self, message: Message) -> None:
        """Pass on a message of the app."""
        if message["type"] == "http.response.start":
            self._has_started = True
            self.status = message["status"]
            self.kind = "" if self.status < 400 else self.kind if self.kind != "left" else "other"
            spent = {
                "total": time.perf_counter() - self.begun,
                "tokenization": self.times.tokenization,
                "queue": self.times.queue,
                "inference": self.times.inference,
            }
            more = {"x-request-id": self.id, **_ALWAYS}
            more |= {f"x-{name}-time": f"{1000.0 * seconds:.1f}" for name, seconds in spent.items()}
            if self.origin:
                more |= {"access-control-allow-origin": self.origin, "vary": "origin"}
            own = {name.lower() for name, _ in message.get("headers", ())}
            added = [(name.encode(), value.encode()) for name, value in more.items() if name.encode() not in own]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await self._send(message)

    async def refuse(self, error: RequestError) -> None:
        """Send an error."""
        if self._has_started:
            return
        self.kind = error.kind
        body = _body_of(error, self.form)
        headers = {**_headers_of_body(body), **headers_of(error)}
        start = {
            "type": "http.response.start",
            "status": error.status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        with suppress(OSError):
            await self.send(start)
            await self.send({"type": "http.response.body", "body": body})

    async def preflight(self) -> None:
        """Answer a browser that asks whether a page of an allowed origin may ask."""
        allowed = [
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", b"authorization, content-type, x-request-id"),
            (b"content-length", b"0"),
        ]
        await self.send({"type": "http.response.start", "status": 204, "headers": allowed})
        await self.send({"type": "http.response.body", "body": b""})


def _body_of(error: RequestError, form: Form) -> bytes:
    return json.dumps(form(error), ensure_ascii=False).encode("utf-8", "replace")


def _headers_of_body(body: bytes) -> dict[str, str]:
    return {"content-type": "application/json", "content-length": str(len(body))}


def headers_of(error: RequestError) -> dict[str, str]:
    """Return the headers that belong to an error."""
    headers = {} if error.retry_after is None else {"retry-after": str(max(1, round(error.retry_after)))}
    return {**headers, "www-authenticate": 'Bearer, Basic realm="bertie"'} if error.status == 401 else headers


def _host(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """Return the one host that a request names, without port and brackets; "" if it names none or several."""
    hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    return match[1].strip("[]").lower() if match else ""


def _is_known(header: bytes, keys: Sequence[str]) -> bool:
    """Compare the key of a header with all keys, in the same time for each. A browser sends it as a password."""
    scheme, _, given = header.partition(b" ")
    if scheme.lower() == b"basic":
        with suppress(ValueError):
            scheme, given = b"bearer", base64.b64decode(given.strip(), validate=True).partition(b":")[2]
    matches = [hmac.compare_digest(given.strip(), key.encode()) for key in keys]
    return scheme.lower() == b"bearer" and any(matches)


async def _until_the_client_leaves(app: App, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
    """Run the app on a body that was read, and cancel it when the client leaves."""
    is_read = False

    async def replay() -> Message:
        nonlocal is_read
        if not is_read:
            is_read = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await asyncio.shield(leaving)

    leaving = asyncio.ensure_future(_disconnect(receive))
    answering = asyncio.ensure_future(app(scope, replay, send))
    try:
        await asyncio.wait((answering, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            answering.cancel()
        with suppress(asyncio.CancelledError):
            await answering
    finally:
        for task in (answering, leaving):
            task.cancel()


async def _disconnect(receive: Receive) -> Message:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message
