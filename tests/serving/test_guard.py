"""Who may ask a server: keys, hosts and origins; what a request may hold: limits and strict JSON. Never a 500."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from bertie.serving.guard import Rules
from bertie.serving.limits import Limits
from bertie.serving.protocols import _features

CLOZE = {"inputs": "the [MASK] sat"}
KEYS = ("first-key-123", "second-key-456")
DEEP = b"[" * 100_000 + b"]" * 100_000
DIGITS = b"9" * 5000
HOSTILE = {
    "empty": b"",
    "not json": b"{inputs",
    "nan": b'{"inputs": NaN}',
    "infinity": b'{"inputs": "the [MASK] sat", "parameters": {"top_k": 1e999}}',
    "deep": b'{"inputs": ' + DEEP + b"}",
    "only deep": DEEP,
    "deep objects": b'{"inputs":' * 50_000 + b"1" + b"}" * 50_000,
    "digits": b'{"inputs": "the [MASK] sat", "parameters": {"top_k": ' + DIGITS + b"}}",
    "surrogate": b'{"inputs": "the [MASK] \\ud83d sat"}',
    "surrogate in a key": b'{"inputs": "the [MASK] sat", "\\ud83d": 1}',
    "twice": b'{"inputs": "the [MASK] sat", "inputs": "a [MASK]"}',
    "utf-16": json.dumps(CLOZE).encode("utf-16"),
    "latin-1": '{"inputs": "café [MASK]"}'.encode("latin-1"),
}
WRONG: list[Any] = [
    None,
    [],
    "text",
    5,
    {},
    {"inputs": None},
    {"inputs": 5},
    {"inputs": {}},
    {"inputs": [5]},
    {"inputs": [None]},
    {"inputs": [["a", "b"]]},
    {"inputs": "the [MASK] sat", "parameters": []},
    {"inputs": "the [MASK] sat", "parameters": "top_k"},
    {"inputs": "the [MASK] sat", "parameters": {"top_k": 0}},
    {"inputs": "the [MASK] sat", "parameters": {"top_k": -1}},
    {"inputs": "the [MASK] sat", "parameters": {"top_k": True}},
    {"inputs": "the [MASK] sat", "parameters": {"top_k": 1.5}},
    {"inputs": "the [MASK] sat", "parameters": {"top_k": 10**299}},
    {"inputs": "the [MASK] sat", "parameters": {"top_k": 1001}},
    {"inputs": "the [MASK] sat", "parameters": {"targets": [5]}},
    {"inputs": "the [MASK] sat", "parameters": {"targets": [""]}},
    {"inputs": "the [MASK] sat", "parameters": {"targets": ["cat", "cat"]}},
    {"inputs": "the [MASK] [MASK]", "parameters": {"targets": ["cat"]}},
    {"inputs": "the [MASK] sat", "parameters": {"labels": ["a"]}},
    {"inputs": "the [MASK] sat", "more": 1},
    {"inputs": "no mask"},
    {"inputs": {"source_sentence": "a"}},
    {"inputs": {"source_sentence": 5, "sentences": []}},
    {"inputs": "a", "parameters": {"candidate_labels": ["x"]}},
]


@pytest.fixture(scope="module")
def guarded(serve_models: Any) -> Iterator[Any]:
    rules = Rules(keys=KEYS, origins=("https://pages.example",), hosts=("127.0.0.1", "::1", "models.example"))
    with serve_models("cloze", rules=rules) as client:
        yield client


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_are_refused(client: Any, name: str) -> None:
    answer = client.post("/models/cloze", HOSTILE[name])
    assert (answer.status, answer.kind) == (400, "wrong_json")
    assert client.post("/models/cloze", CLOZE).status == 200


@pytest.mark.parametrize("body", WRONG, ids=lambda body: json.dumps(body)[:60])
def test_wrong_payloads_are_refused(client: Any, body: Any) -> None:
    answer = client.post("/models/cloze", json.dumps(body).encode())
    assert answer.status == 422 and answer.json["error"]["message"]


@pytest.mark.parametrize("text", ["\0 [MASK]", "[MASK]e\u0301", "\u202e[MASK]", "[MASK]\ufffe", " [MASK]\r\n"])
def test_strange_texts_are_answered(client: Any, text: str) -> None:
    assert client.post("/models/cloze", {"inputs": text}).status == 200


def test_only_plain_json_is_read(client: Any) -> None:
    for headers in ({"Content_Type": "text/plain"}, {"Content_Type": "application/x-www-form-urlencoded"}):
        assert client.post("/models/cloze", CLOZE, **headers).kind == "wrong_content_type"
    assert client.post("/models/cloze", CLOZE, Content_Type="").status == 200, "a client that names no type"
    assert client.post("/models/cloze", CLOZE, Content_Encoding="gzip").kind == "wrong_encoding"
    assert client.post("/models/cloze", CLOZE, Content_Type="application/json; charset=UTF-8").status == 200


def test_unknown_routes_and_methods_have_the_same_form(client: Any) -> None:
    assert (client.get("/nowhere").status, client.get("/nowhere").kind) == (404, "no_such_route")
    assert (client.get("/models/cloze").status, client.get("/models/cloze").kind) == (405, "wrong_method")
    unknown = client.post("/models/close", CLOZE)
    assert (unknown.status, unknown.kind) == (404, "no_such_model") and "did you mean 'cloze'" in unknown.json["error"][
        "message"
    ]
    assert client.post("/models/%ed%a0%80", CLOZE).status == 404
    assert client.post("/models/cloze/pipeline/poems", CLOZE).status == 404
    assert client.post("/models/cloze/pipeline/text-classification", {"inputs": "a"}).kind == "wrong_task"


def test_limits_are_exact(serve_models: Any) -> None:
    limits = Limits(body=400, inputs=3, characters=50, queue=40, window=0.0)
    with serve_models("films", limits=limits) as client:

        def ask(inputs: Any, pad: int = 0) -> Any:
            body = json.dumps({"inputs": inputs}).encode()
            return client.post("/models/films", body + b" " * max(0, pad - len(body)))

        for at, at_bytes, over, over_bytes, limit in (
            ("a cat", 400, "a cat", 401, "body"),
            (["a"] * 3, 0, ["a"] * 4, 0, "inputs"),
            ("a" * 50, 0, "a" * 51, 0, "characters"),
            (["a" + " a" * 17] * 2, 0, ["a" + " a" * 17, "a" + " a" * 18], 0, "queue"),
        ):
            assert ask(at, at_bytes).status == 200, limit
            refused = ask(over, over_bytes)
            assert (refused.status, refused.json["error"]["limit"]) == (413, limit)


def test_a_chunked_body_has_the_same_limit(serve_models: Any) -> None:
    head = b"POST /models/films HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with (
        serve_models("films", limits=Limits(body=1000, window=0.0)) as client,
        socket.create_connection(("127.0.0.1", client.port), timeout=20) as raw,
    ):
        raw.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(4):  # and no end
            raw.sendall(b"100\r\n" + b" " * 256 + b"\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")


def test_every_route_but_health_needs_a_key(guarded: Any) -> None:
    asked = {"Authorization": f"Bearer {KEYS[1]}"}
    paths = guarded.get("/openapi.json", **asked).json["paths"]
    assert {"/live", "/ready", "/metrics", "/docs", "/models/{name}"} <= paths.keys()
    for path, methods in {**paths, "/openapi.json": {"get": {}}, "/nowhere": {"get": {}}}.items():
        for method in methods:
            answer = guarded.ask(method.upper(), path.replace("{name}", "cloze"), b"{}" if method == "post" else None)
            expected = 200 if path in ("/live", "/ready") else 401
            assert answer.status == expected, (method, path)
    for path in ("/live/", "//live", "/live/../metrics", "/ready/x", "/metrics?x=/live", "/%6cive/x"):
        assert guarded.get(path).status == 401, path


WRONG_KEYS = ("", "Bearer", "Bearer ", "Bearer wrong", "first-key-123", "Bearer first-key-12", "Bearer first-key-1234")


@pytest.mark.parametrize("key", [*WRONG_KEYS, "Basic !!", "Basic first-key-123", "Bearer \xff"])
def test_wrong_keys(guarded: Any, key: str) -> None:
    answer = guarded.get("/metrics", Authorization=key)
    assert (answer.status, answer.kind) == (401, "no_key") and "Bearer" in answer.headers["www-authenticate"]


def test_right_keys(guarded: Any) -> None:
    for key in ("Bearer first-key-123", "bearer second-key-456", "Basic eDpmaXJzdC1rZXktMTIz"):
        assert guarded.get("/metrics", Authorization=key).status == 200
        assert guarded.post("/models/cloze", CLOZE, Authorization=key).status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:99", "MODELS.example", "[::1]:8000", "models.example:80"])
def test_known_hosts(guarded: Any, host: str) -> None:
    assert guarded.get("/metrics", Host=host, Authorization="Bearer first-key-123").status == 200


OTHER_HOSTS: tuple[str, ...] = (
    "evil.example",
    "127.0.0.1.evil.example",
    "models.example.",
    "x/..?",
    "127.0.0.1@evil",
    "127.1",
    "",
)
OTHER_HOSTS += ("models.example:port", "::1", "[::1", "2130706433", "models.example/live", "a b")


@pytest.mark.parametrize("host", OTHER_HOSTS)
def test_other_hosts_are_refused(guarded: Any, host: str) -> None:
    request = f"GET /metrics HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer first-key-123\r\n\r\n"
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=20) as raw:
        raw.sendall(request.encode())
        status = int(raw.recv(4096).split(b" ")[1])
    assert status in (400, 403)


def test_origins(guarded: Any) -> None:
    key = {"Authorization": "Bearer first-key-123"}
    allowed = guarded.post("/models/cloze", CLOZE, Origin="https://pages.example", **key)
    assert allowed.status == 200 and allowed.headers["access-control-allow-origin"] == "https://pages.example"
    own = guarded.post("/models/cloze", CLOZE, Origin=guarded.url, **key)
    assert own.status == 200 and "access-control-allow-origin" not in own.headers
    others = ("null", "-", "https://evil.example", "http://pages.example", "https://pages.example.evil")
    for origin in (*others, "https://pages.example/"):
        assert guarded.post("/models/cloze", CLOZE, Origin=origin, **key).kind == "wrong_origin"
    asked = {"Origin": "https://pages.example", "Access_Control_Request_Method": "POST"}
    first = guarded.ask("OPTIONS", "/models/cloze", None, **asked)
    assert first.status == 204 and "authorization" in first.headers["access-control-allow-headers"]
    assert guarded.ask("OPTIONS", "/models/cloze", None, Origin="https://evil.example").status == 403


def test_answers_that_would_be_huge_are_refused(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    many = client.post("/models/cloze", {"inputs": ["[MASK] " * 30] * 200, "parameters": {"top_k": 1000}})
    assert (many.status, many.kind) == (413, "answer_too_large")
    labels = [str(number) for number in range(50_000)]
    pairs = client.post("/models/nli", {"inputs": ["a"] * 50_000, "parameters": {"candidate_labels": labels}})
    assert (pairs.status, pairs.json["error"]["limit"]) == (413, "inputs")
    for most, status in ((3 * 32, 200), (3 * 32 - 1, 413)):  # [CLS] a [SEP]
        monkeypatch.setattr(_features, "_MOST_NUMBERS", most)
        assert client.post("/models/cloze/pipeline/feature-extraction", {"inputs": "a"}).status == status


def test_a_body_that_never_ends_is_given_up_and_keeps_nobody_waiting(serve_models: Any) -> None:
    head = b"POST /models/films HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with (
        serve_models("films", rules=Rules(seconds=0.5)) as client,
        socket.create_connection(("127.0.0.1", client.port), timeout=20) as slow,
    ):
        slow.sendall(head + b"Content-Length: 99\r\n\r\n{")
        assert client.post("/models/films", {"inputs": "a"}).status == 200
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")
