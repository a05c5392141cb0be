"""A server that is asked for more than it can do refuses most requests before it reads them, and goes on afterwards."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from bertie.serving.batcher import Batcher
from bertie.serving.connections import path_of_plain
from bertie.serving.hub import Served
from bertie.serving.limits import Limits, RequestError

PLAIN = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\n{}"


@pytest.mark.parametrize(
    "change",
    [
        (b"POST", b"GET"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"/v1/embeddings", b"*"),
        (b"/v1/embeddings", b"/ v1"),
        (b"{}", b"{}POST / HTTP/1.1"),  # the next request has begun
        (b"Length: 2", b"Length: +2"),
        (b"Length: 2", b"Length: 100000"),
        (b"Length: 2", b"Length: 1"),
        (b"Length: 2", b"Length: 2, 2"),
        (b"Length: 2", b"Length: 2\r\nContent-Length: 2"),
        (b"Length: 2", b"Length : 2"),
        (b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 2", b"Content-Length: 2\r\nTransfer-Encoding: chunked"),
        (b"Content-Length: 2", b"Content-Length: 2\r\n folded"),
        (b"Content-Length: 2", b"A: b\nTransfer-Encoding: chunked\r\nContent-Length: 2"),
        (b"Host: a\r\n", b"Host: a\n"),
        (b"Keep-Alive", b"close"),
        (b"Keep-Alive", b"keep-alive, upgrade"),
        (b"Host: a", b"Host: a\r\nExpect: 100-continue"),
        (b"Host: a", b"Host: a\r\nOrigin: http://a"),
        (b"Host: a", b"Host: a\r\nX-Request-ID: 7"),
        (PLAIN, b""),
        (PLAIN, b"\r\n\r\n"),
    ],
)
def test_what_is_not_plain_is_read_by_the_full_parser(change: tuple[bytes, bytes]) -> None:
    assert path_of_plain(PLAIN) == ("/v1/embeddings", 0)
    assert path_of_plain(PLAIN[:-1]) == ("/v1/embeddings", 1)
    assert change[0] in PLAIN
    assert path_of_plain(PLAIN.replace(*change)) is None


def test_in_an_overload_as_much_may_try_as_was_computed() -> None:
    batcher = Batcher(
        lambda items, group: items, Limits(queue=80, batch=20, window=0.0), clock=lambda: 0.0, threads=False
    )
    for _ in range(8):
        assert batcher.overload() is None
        batcher.submit(["a"], [10])
    with pytest.raises(RequestError, match="80 tokens wait") as found:
        batcher.submit(["a"], [10])
    assert (found.value.status, found.value.limit) == (429, "queue")
    assert batcher.overload() is not None
    for _ in range(2):
        assert batcher.step()
        tries = [batcher.overload() is None for _ in range(5)]
        assert tries == [True, True, False, False, False]
        for _ in range(2):
            batcher.submit(["a"], [10])
    while batcher.step():
        pass
    assert batcher.overload() is None
    assert batcher.overload() is None


def test_a_large_request_without_room_leaves_small_ones_alone() -> None:
    batcher = Batcher(
        lambda items, group: items, Limits(queue=80, batch=20, window=0.0), clock=lambda: 0.0, threads=False
    )
    batcher.submit(["a"], [30])
    with pytest.raises(RequestError, match="30 tokens wait"):
        batcher.submit(["large"], [60])
    assert batcher.overload() is None
    batcher.submit(["a"], [5])


def test_the_queue_is_bounded_by_the_time_that_it_takes() -> None:
    now = [0.0]

    def predict(items: list[Any], group: Any) -> list[Any]:
        now[0] += len(items) / 2 if len(items) > 1 else 0.2
        return items

    limits = Limits(queue=1_000_000, batch=4000, window=0.0, wait=2.0, deadline=1000.0)
    batcher = Batcher(predict, limits, clock=lambda: now[0], threads=False)
    batcher.submit(["a"], [20])
    assert batcher.step(), "100 tokens a second, but a small batch says little"
    for _ in range(10):
        batcher.submit(["a"] * 4, [1000] * 4)
    while batcher.step():
        pass
    for _ in range(30):
        batcher.submit(["a"] * 4, [1000] * 4)
        assert batcher.step()
    batcher.submit(["a"] * 100, [1000] * 100)  # what is large waits by itself, and is not refused for its own size
    with pytest.raises(RequestError) as found:
        batcher.submit(["a"], [1])
    assert (found.value.status, found.value.limit) == (429, "wait")
    assert found.value.value == pytest.approx(50.0, rel=0.01)
    assert found.value.retry_after is not None
    while batcher.tokens >= 4000:
        with pytest.raises(RequestError):
            batcher.submit(["a"], [1])
        assert batcher.step()
    batcher.submit(["a"], [1])


def test_refusals_of_an_overload_keep_the_connection(
    predictors: Any, serve_models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = RequestError(429, "busy", "90 tokens wait", limit="queue", value=91, retry_after=2.4)
    with serve_models("films", "vectors", limits=Limits(window=0.0)) as client:
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)

        def post(path: str, payload: Any) -> tuple[http.client.HTTPResponse, Any]:
            connection.request("POST", path, json.dumps(payload), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer, json.loads(answer.read())

        assert post("/models/films", {"inputs": "good"})[0].status == 200
        own = connection.sock
        with monkeypatch.context() as patch:
            patch.setattr(Served, "overload", lambda model: busy)
            for path in ("/models/films", "/v1/embeddings", "/nowhere"):
                answer, body = post(path, {"inputs": "good"})
                assert (answer.status, answer.reason) == (429, "Too Many Requests")
                assert body["error"]["message"].startswith("90 tokens wait")
                assert body["error"]["type"] == ("rate_limit_error" if path.startswith("/v1") else "busy")
                assert (answer.headers["retry-after"], answer.headers["cache-control"]) == ("2", "no-store")
                assert len(answer.headers["x-request-id"]) == 32
            connection.request("GET", "/live")
            assert json.loads(connection.getresponse().read()) == {"status": "live"}
        answer, body = post("/models/films", {"inputs": "good"})
        assert answer.status == 200
        assert connection.sock is own
        connection.request("GET", "/metrics")
        figures = connection.getresponse().read().decode()
        assert 'bertie_failures_total{kind="busy"} 3.0' in figures
        assert 'status="429"} 3.0' in figures
        connection.close()
