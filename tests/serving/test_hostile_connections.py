"""Raw bytes that attack a server: none gives a 500 or holds it up, and each refusal says what to do."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bertie.serving import connections
from bertie.serving.limits import Limits

BODY = b'{"inputs": "a cat"}'
POST = b"POST /models/films HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
DEEP = b'{"inputs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def post(body: bytes = BODY, *more: bytes) -> bytes:
    return POST + b"".join(line + b"\r\n" for line in more) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*chunks: bytes) -> bytes:
    return POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks)


def asked(method: str, path: str = "/live") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


RAW: dict[str, tuple[bytes, tuple[int, ...]]] = {
    "nothing of HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (400,)),
    "a word": (b"hello\r\n\r\n", (400,)),
    "zeros": (b"\0" * 2000, (400,)),
    "no host": (b"GET /metrics HTTP/1.1\r\n\r\n", (400, 403)),
    "two hosts": (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n", (400, 403)),
    "bad host": (b"GET /metrics HTTP/1.1\r\nHost: a b/..?@#\r\n\r\n", (400, 403)),
    "HTTP/1.0": (b"GET /live HTTP/1.0\r\nHost: localhost\r\n\r\n", (200,)),
    "HTTP/1.0 with a body": (post().replace(b"HTTP/1.1", b"HTTP/1.0"), (200,)),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 403, 404, 405, 505)),
    "HTTP/9.9": (b"GET /live HTTP/9.9\r\nHost: localhost\r\n\r\n", (200, 400, 505)),
    "HEAD": (asked("HEAD"), (405,)),
    "OPTIONS": (asked("OPTIONS"), (405,)),
    "OPTIONS *": (asked("OPTIONS", "*"), (400, 404, 405)),
    "TRACE": (asked("TRACE"), (405,)),
    "CONNECT": (asked("CONNECT", "evil:443"), (400, 404, 405)),
    "BREW": (asked("BREW"), (405,)),
    "a URL of another host": (asked("GET", "http://evil/live"), (200, 400, 403, 404)),
    "a space in the path": (asked("GET", "/li ve"), (400,)),
    "unicode path": (asked("GET", "/mödels"), (400, 404)),
    "unicode model": (post().replace(b"films", "/猫%E7%8C%AB".encode()), (400, 404)),
    "coded unicode model": (post().replace(b"films", b"%E7%8C%AB%00%ff"), (404,)),
    "long path": (asked("GET", "/" + "a" * 30_000), (404,)),
    "too long a path": (asked("GET", "/" + "a" * 70_000), (404, 431)),
    "long query": (asked("GET", "/live?" + "a=b&" * 10_000), (200,)),
    "100,000 headers": (b"GET /live HTTP/1.1\r\n" + b"a: b\r\n" * 100_000 + b"\r\n", (431,)),
    "one long header": (b"GET /live HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", (431,)),
    "NUL in a header": (b"GET /live HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", (400,)),
    "folded header": (b"GET /live HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n", (200, 400)),
    "upgrade": (
        b"GET /live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        (200, 400),
    ),
    "negative length": (POST + b"Content-Length: -5\r\n\r\n" + BODY, (400,)),
    "fraction as length": (POST + b"Content-Length: 19.0\r\n\r\n" + BODY, (400,)),
    "word as length": (POST + b"Content-Length: many\r\n\r\n" + BODY, (400,)),
    "huge length": (POST + b"Content-Length: 99999999999999999999\r\n\r\n" + BODY, (400, 413)),
    "length of 2 GB": (POST + b"Content-Length: 2147483648\r\n\r\n" + BODY, (413,)),
    "two lengths": (POST + b"Content-Length: 19\r\nContent-Length: 5\r\n\r\n" + BODY, (400,)),
    "length and chunks": (POST + b"Content-Length: 19\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400,)),
    "no length": (POST + b"\r\n", (400,)),
    "chunks": (chunked(b"13\r\n" + BODY + b"\r\n", b"0\r\n\r\n"), (200,)),
    "bad chunk size": (chunked(b"zz\r\n", BODY), (400,)),
    "negative chunk size": (chunked(b"-1\r\n", BODY), (400,)),
    "huge chunk size": (chunked(b"f" * 30 + b"\r\n", BODY), (400,)),
    "unknown transfer coding": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", (400, 501)),
    "gzip": (post(gzip.compress(BODY), b"Content-Encoding: gzip"), (415,)),
    "gzip bomb": (post(gzip.compress(b" " * 10_000_000), b"Content-Encoding: gzip"), (415,)),
    "two codings": (post(BODY, b"Content-Encoding: br, gzip"), (415,)),
    "gzip without saying so": (post(gzip.compress(BODY)), (400,)),
    "form": (post(b"inputs=a", b"Content-Type: application/x-www-form-urlencoded"), (400, 415)),
    "deep": (post(DEEP), (400,)),
    "5,000 digits": (post(b'{"inputs": "a", "parameters": {"top_k": ' + b"9" * 5000 + b"}}"), (400,)),
    "NaN": (post(b'{"inputs": NaN}'), (400,)),
    "half a character": (post(rb'{"inputs": "\ud83d"}'), (400,)),
    "raw half a character": (post(b'{"inputs": "\xed\xa0\xbd"}'), (400,)),
    "key twice": (post(b'{"inputs": "a", "inputs": "b"}'), (400,)),
    "unicode key": (post('{"inputs": "a", "ключ\u202e猫": 1}'.encode()), (422,)),
    "empty text": (post(b'{"inputs": ""}'), (200,)),
    "no texts": (post(b'{"inputs": []}'), (200,)),
    "spaces": (post(b" " * 1000), (400,)),
    "NUL": (post(b"\0" * 1000), (400,)),
    "many commas": (post(b'{"inputs": [' + b"," * 1_000_000 + b"]}"), (400,)),
    "many texts": (post(json.dumps({"inputs": ["a"] * 100_000}).encode()), (413,)),
    "one long text": (post(json.dumps({"inputs": "a" * 1_000_000}).encode()), (413,)),
    "expects 100": (post(BODY, b"Expect: 100-continue"), (100,)),
    "expects a cat": (post(BODY, b"Expect: cat"), (200, 417)),
}


@pytest.fixture(scope="module")
def hardened(serve_models: Any) -> Iterator[Any]:
    with serve_models("films", limits=Limits(window=0.0)) as client:
        yield client


def read(raw: socket.socket) -> bytes:
    """Read one answer, or what comes until the server closes."""
    content = b""
    raw.settimeout(20)
    while True:
        head, _, rest = content.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0].strip()
        if content.startswith(b"HTTP/1.1 100"):
            return content
        if length.isdigit() and len(rest) >= int(length):
            return content
        part = raw.recv(65_536)
        if not part:
            return content
        content += part


@pytest.mark.parametrize("name", RAW)
def test_raw_requests(hardened: Any, name: str) -> None:
    content, allowed = RAW[name]
    with socket.create_connection(("127.0.0.1", hardened.port), timeout=20) as raw:
        raw.sendall(content)
        answer = raw.recv(65_536) if name == "HEAD" else read(raw)
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1])
    assert status in allowed, answer[:300]
    if status >= 400 and not name.startswith(("HEAD", "CONNECT")):
        error = json.JSONDecoder().raw_decode(body.decode())[0]["error"]  # what follows may be answered too
        assert error["type"] and 10 < len(error["message"]) < 700
        if status in (413, 431):
            assert error["limit"] and error["value"]
    assert hardened.post("/models/films", {"inputs": "a cat"}).status == 200


def test_requests_in_a_row_are_answered_in_order(hardened: Any) -> None:
    texts = [f"a cat {number}" for number in range(30)]
    many = b"".join(
        post(json.dumps({"inputs": text}).encode(), b"X-Request-ID: %d" % n) for n, text in enumerate(texts)
    )
    with socket.create_connection(("127.0.0.1", hardened.port), timeout=20) as raw:
        raw.sendall(many)
        raw.settimeout(30)
        content = b""
        while content.count(b"HTTP/1.1 200") < 30 or content.count(b"}]]") < 30:
            content += raw.recv(65_536)
    ids = [line.split(b": ")[1] for line in content.split(b"\r\n") if line.startswith(b"x-request-id")]
    assert ids == [b"%d" % number for number in range(30)]


def test_a_head_that_comes_byte_by_byte_is_read(hardened: Any) -> None:
    with socket.create_connection(("127.0.0.1", hardened.port), timeout=20) as raw:
        for _ in range(2):
            for byte in post():
                raw.send(bytes([byte]))
            assert read(raw).startswith(b"HTTP/1.1 200")


def test_a_refusal_reaches_a_client_that_still_sends(hardened: Any) -> None:
    with socket.create_connection(("127.0.0.1", hardened.port), timeout=20) as raw:
        raw.sendall(POST + b"Content-Length: 20000000\r\n\r\n")
        for _ in range(20):
            raw.sendall(b" " * 1_000_000)
        assert read(raw).startswith(b"HTTP/1.1 413")
        raw.sendall(post())
        assert read(raw).startswith(b"HTTP/1.1 200"), "the connection goes on after the body"


def closed_after(raw: socket.socket) -> tuple[float, bytes]:
    begun, content = time.monotonic(), b""
    raw.settimeout(20)
    while part := raw.recv(65_536):
        content += part
    return time.monotonic() - begun, content


def test_slow_connections_are_closed(serve_models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    room = connections.Room
    monkeypatch.setattr("bertie.serving.run.Room", lambda most, **more: room(most, head=1.0, **more))
    monkeypatch.setattr("bertie.serving.guard._PATIENCE", 0.5)
    with serve_models("films") as client:
        for content, status in ((b"", b""), (POST, b"HTTP/1.1 408"), (POST + b"Content-Length: 99\r\n\r\n{", b"")):
            with socket.create_connection(("127.0.0.1", client.port), timeout=20) as raw:
                raw.sendall(content)
                if content.endswith(b"{"):
                    time.sleep(0.7)
                    raw.sendall(b" ")  # one byte in that time
                    assert read(raw).startswith(b"HTTP/1.1 408")
                seconds, found = closed_after(raw)
                assert seconds < 10 and found.startswith(status), content
        text = client.get("/metrics").content.decode()
        assert 'bertie_failures_total{kind="too_slow"} 4.0' in text


def test_too_many_connections_push_out_the_one_that_waited_longest(
    serve_models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bertie.serving.run.most_connections", lambda: 8)
    with serve_models("films") as client:
        idle = [socket.create_connection(("127.0.0.1", client.port), timeout=20) for _ in range(20)]
        assert client.post("/models/films", {"inputs": "a cat"}).status == 200
        assert closed_after(idle[0])[1] == b""
        idle[-1].sendall(post())
        assert read(idle[-1]).startswith(b"HTTP/1.1 200")
        for raw in idle:
            raw.close()


def test_a_client_that_reads_nothing_is_left(serve_models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    room = connections.Room
    monkeypatch.setattr("bertie.serving.run.Room", lambda most, **more: room(most, reading=0.5, **more))
    with serve_models("films") as client, socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", client.port))
        raw.sendall(asked("GET", "/openapi.json") * 300)
        end = time.monotonic() + 30
        while 'kind="unread"' not in client.get("/metrics").content.decode():
            assert time.monotonic() < end
            time.sleep(0.2)
