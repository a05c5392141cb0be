"""Servers of tiny models on free ports of this machine, and a small client."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.inference.predictor import Predictor, load
from bertie.serving.guard import Rules
from bertie.serving.hub import Hub, Served
from bertie.serving.limits import Limits
from bertie.serving.metrics import Metrics
from bertie.serving.run import listen, server_of
from bertie.tasks.classification import Classification
from bertie.tasks.embedding import Embedding
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import TaskModel

TASKS = {
    "films": Classification(labels=("bad", "good"), max_length=32),
    "nli": Classification(labels=("contradiction", "neutral", "entailment"), max_length=32),
    "cloze": MaskedLM(max_length=32),
    "names": Tagging(labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"), max_length=32),
    "answers": QuestionAnswering(max_length=48, stride=16, max_query=16),
    "vectors": Embedding(max_length=32),
}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def kind(self) -> str:
        return str(self.json["error"]["type"])


@dataclass
class Client:
    """Ask a server, one connection for each request."""

    port: int
    hub: Hub

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        content = body if isinstance(body, bytes | type(None)) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if body is not None else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            connection.request(method, path, content, {name: value for name, value in sent.items() if value})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.ask("POST", path, body, **headers)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, **headers)


@pytest.fixture(scope="session")
def model_folders(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    room = tmp_path_factory.mktemp("served")
    for name, task in TASKS.items():
        model = build_model(task, deviation=0.3)
        write(Bundle(model, task, tiny_tokenizer, model.encoder.config), room / name)
    return {name: room / name for name in TASKS}


@pytest.fixture(scope="session")
def predictors(model_folders: dict[str, Path]) -> dict[str, Predictor[Any]]:
    return {name: load(folder, device="cpu") for name, folder in model_folders.items()}


class Stub:
    """A predictor whose `predict` is `predict(real, items)`."""

    def __init__(self, predictor: Predictor[Any], predict: Any) -> None:
        self._predictor, self._predict = predictor, predict

    def predict(self, items: Any) -> Any:
        return self._predict(self._predictor.predict, items)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)


@contextmanager
def running(hub: Hub, rules: Rules) -> Iterator[Client]:
    """Run a server in a thread until the context ends."""
    listening = listen("127.0.0.1", 0)
    server = server_of(hub, rules, Metrics())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield Client(listening.getsockname()[1], hub)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def serve_models(predictors: dict[str, Predictor[Any]]) -> Callable[..., Any]:
    """Return what runs a server of some of the models."""

    @contextmanager
    def run(
        *names: str, limits: Limits | None = None, rules: Rules | None = None, predict: Any = None
    ) -> Iterator[Client]:
        limits = limits or Limits(window=0.0)
        models = [predictors[name] if predict is None else Stub(predictors[name], predict) for name in names]
        hub = Hub([Served(name, model, limits) for name, model in zip(names, models, strict=True)], limits)
        with running(hub, rules or Rules(body=limits.body)) as client:
            yield client

    return run


@pytest.fixture(scope="session")
def client(serve_models: Callable[..., Any]) -> Iterator[Client]:
    """Return a client of a server of all models without keys."""
    with serve_models(*TASKS) as running_client:
        yield running_client
