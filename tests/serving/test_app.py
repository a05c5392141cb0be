"""The state of a server: health, metrics, the list of routes, headers; answers equal those of the predictor."""

from __future__ import annotations

import json
import random
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bertie.inference.predictor import Predictor
from bertie.serving import hub
from bertie.serving.hub import Served
from bertie.serving.limits import Limits, RequestError


def test_answers_of_many_clients_equal_those_of_the_predictor(client: Any, predictors: Any) -> None:
    draw = random.Random(5)
    words = ["the", "cat", "dog", "sat", "ran", "in", "a", "very", "good", "house", "city", "river"]
    texts = [" ".join(draw.choices(words, k=draw.randint(1, 25))) for _ in range(60)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: client.post("/models/films", {"inputs": text}).json[0], texts))
    for rows, expected in zip(found, predictors["films"].predict(texts), strict=True):
        assert {row["label"]: row["score"] for row in rows} == pytest.approx(expected.scores, abs=1e-5)


def test_settings_of_one_request_leave_others_alone(client: Any) -> None:
    def ask(top_k: int) -> int:
        body = {"inputs": "the [MASK] sat", "parameters": {"top_k": top_k}}
        return len(client.post("/models/cloze", body).json)

    with ThreadPoolExecutor(8) as pool:
        wanted = [number % 7 + 1 for number in range(40)]
        assert list(pool.map(ask, wanted)) == wanted
    assert len(client.post("/models/cloze", {"inputs": "the [MASK] sat"}).json) == 5


def test_health_and_headers(client: Any) -> None:
    assert client.get("/live").json == {"status": "live"}
    assert (client.get("/ready").status, client.get("/ready").json) == (200, {"status": "ready"})
    answer = client.post("/models/cloze", {"inputs": "[MASK]"}, X_Request_ID="abc-1")
    assert answer.headers["x-request-id"] == "abc-1"
    for name in ("total", "tokenization", "queue", "inference"):
        assert re.fullmatch(r"\d+\.\d", answer.headers[f"x-{name}-time"])
    assert float(answer.headers["x-inference-time"]) > 0.0
    made = client.post("/models/cloze", {"inputs": "[MASK]"}, X_Request_ID="a\tb")
    assert re.fullmatch(r"[0-9a-f]{32}", made.headers["x-request-id"])
    assert "server" not in answer.headers and "access-control-allow-origin" not in answer.headers


def test_metrics_count_requests_failures_and_batches(serve_models: Any) -> None:
    with serve_models("cloze") as client:
        client.post("/models/cloze", {"inputs": "the [MASK] sat"})
        client.post("/models/cloze", {"inputs": "no mask"})
        client.get("/nowhere")
        text = client.get("/metrics").content.decode()
    assert 'bertie_requests_total{route="/models/{name}",status="200"} 1.0' in text
    assert 'bertie_failures_total{kind="no_mask"} 1.0' in text
    assert 'bertie_failures_total{kind="no_such_route"} 1.0' in text
    assert 'bertie_queue_tokens{model="cloze"} 0.0' in text
    for name in ("batch_tokens", "queue_seconds", "inference_seconds"):
        assert float(re.search(rf'bertie_{name}_count{{model="cloze",task="masked_lm"}} (\S+)', text)[1]) >= 1  # type: ignore[index]


def test_the_list_of_routes_loads_nothing(client: Any) -> None:
    answer = client.get("/docs")
    page = answer.content.decode()
    assert answer.status == 200 and "/models/{name}" in page
    assert not re.search(r"<(script|link|img|iframe)|https?://", page)
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "/models/{name}" in client.get("/openapi.json").json["paths"]


class Gate:
    """A predict function that notes its items and waits until the test opens it, except for the first probe."""

    def __init__(self) -> None:
        self.opened, self.entered, self.items = threading.Event(), threading.Event(), list[Any]()

    def __call__(self, predict: Any, items: Any) -> Any:
        if items != ["a"]:
            self.items += items
            self.entered.set()
            assert self.opened.wait(20)
        return predict(items)


def send(client: Any, text: str) -> socket.socket:
    """Send a request and leave its answer unread."""
    body = json.dumps({"inputs": text}).encode()
    raw = socket.create_connection(("127.0.0.1", client.port), timeout=20)
    head = f"POST /models/films HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    raw.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
    return raw


def wait_for(is_so: Any) -> None:
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_full_queue_refuses_at_once_and_a_client_that_left_is_not_computed(serve_models: Any) -> None:
    gate = Gate()
    limits = Limits(queue=12, batch=6, window=0.0)
    with serve_models("films", limits=limits, predict=gate) as client:
        served = client.hub.get("films")
        first = send(client, "the cat sat")
        assert gate.entered.wait(20)
        second = send(client, "the dog ran")
        wait_for(lambda: served.tokens == 10)
        refused = client.post("/models/films", {"inputs": "the bird"})
        assert (refused.status, refused.kind, refused.json["error"]["limit"]) == (429, "busy", "queue")
        assert int(refused.headers["retry-after"]) >= 1
        second.close()
        wait_for(lambda: served.tokens == 5)
        gate.opened.set()
        with first:
            assert first.recv(4096).startswith(b"HTTP/1.1 200")
        assert client.post("/models/films", {"inputs": "the bird"}).status == 200
    assert gate.items == ["the cat sat", "the bird"]


def test_a_model_that_hangs_is_not_ready_and_its_requests_end(
    serve_models: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_RECENT", 0.0)
    gate = Gate()
    with serve_models("films", limits=Limits(window=0.0, deadline=1.0), predict=gate) as client:
        assert client.get("/ready").status == 200
        late = client.post("/models/films", {"inputs": "the cat"})
        assert (late.status, late.kind, late.json["error"]["limit"]) == (504, "deadline_exceeded", "deadline")
        assert (client.get("/ready").status, client.get("/live").status) == (503, 200)
        gate.opened.set()
        wait_for(lambda: client.get("/ready").status == 200)


def test_a_bug_of_the_model_is_one_failed_request(serve_models: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def predict(real: Any, items: Any) -> Any:
        if any("fish" in item for item in items):
            raise ZeroDivisionError("secret")
        return real(items)

    with serve_models("films", predict=predict) as client, ThreadPoolExecutor(8) as pool:
        texts = [f"a {'fish' if number == 13 else 'cat'} {number}" for number in range(30)]
        answers = list(pool.map(lambda text: client.post("/models/films", {"inputs": text}), texts))
        metrics = client.get("/metrics").content.decode()
    assert [number for number, answer in enumerate(answers) if answer.status != 200] == [13]
    assert (answers[13].status, answers[13].kind) == (500, "prediction_failed") and b"secret" not in answers[13].content
    assert 'bertie_prediction_errors_total{model="films",task="classification"} 1.0' in metrics
    assert "secret" in capsys.readouterr().err


def test_a_bug_of_a_route_shows_nothing(serve_models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_models("films") as client:
        monkeypatch.setattr(Served, "predict", lambda *args, **more: 1 / 0)
        answer = client.post("/models/films", {"inputs": "a"})
    assert (answer.status, answer.kind) == (500, "bug") and b"division" not in answer.content


def test_a_worker_that_dies_comes_back(serve_models: Any) -> None:
    def predict(real: Any, items: Any) -> Any:
        if "fish" in items:
            raise SystemExit("killed")
        return real(items)

    with serve_models("films", predict=predict) as client:
        assert client.post("/models/films", {"inputs": "fish"}).kind == "worker_died"
        wait_for(lambda: client.get("/ready").status == 200)
        assert client.post("/models/films", {"inputs": "cat"}).status == 200
        assert 'bertie_worker_restarts{model="films"} 1.0' in client.get("/metrics").content.decode()


def test_stopping_answers_what_waits(serve_models: Any) -> None:
    gate = Gate()
    with serve_models("films", limits=Limits(window=0.0, batch=5), predict=gate) as client:
        sent = [send(client, "the cat sat"), send(client, "the dog sat"), send(client, "the fish sat")]
        wait_for(lambda: client.hub.get("films").tokens == 15)
        threading.Timer(0.3, gate.opened.set).start()
    for raw in sent:
        with raw:
            assert raw.recv(4096).startswith(b"HTTP/1.1 200")


def test_another_task_is_loaded_once_and_refused_once(predictors: Any, serve_models: Any) -> None:
    with serve_models("cloze") as client:
        served = client.hub.get("cloze")
        assert served.as_task("masked_lm") is served
        assert served.as_task("embedding") is served.as_task("embedding")
        with pytest.raises(RequestError, match="can't do question_answering"):
            served.as_task("question_answering")
        assert client.post("/models/cloze", {"inputs": {"source_sentence": "a", "sentences": ["b"]}}).status == 200
    bare = Served("bare", Predictor(predictors["films"].bundle, device="cpu"), Limits())
    for _ in range(2):
        with pytest.raises(RequestError, match="can't do features"):
            assert bare.as_task("features").predictor
