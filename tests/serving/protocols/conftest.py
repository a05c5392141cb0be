"""A server with tiny models of several tasks, and clients for it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from bertie.formats.format import new
from bertie.formats.huggingface import write
from bertie.inference.predictor import Predictor, load
from bertie.models.bert import BertConfig
from bertie.serving.app import build
from bertie.serving.guard import Rules
from bertie.serving.hub import Hub, Served
from bertie.serving.limits import Limits
from bertie.serving.metrics import Metrics
from bertie.serving.run import listen, server_of
from bertie.tasks.classification import Classification
from bertie.tasks.embedding import Embedding
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.regression import Regression
from bertie.tokenizer.tokenizer import Tokenizer

PROTOCOLS = ("cohere", "kserve", "openai", "tei")
LIMITS = Limits(inputs=8, characters=2000, batch=256, window=0.0)
TASKS = {
    "vectors": Embedding(max_length=32),
    "raw-vectors": Embedding(max_length=32, normalize=False, pooling="cls"),
    "topics": Classification(labels=("red", "green", "blue"), max_length=32),
    "pairs": Regression(activation="sigmoid", max_length=32),
    "duplicates": Classification(labels=("no", "yes"), max_length=32),
    "words": MaskedLM(max_length=32),
}


@pytest.fixture(scope="session")
def predictors(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Predictor[Any]]:
    """Return a predictor for each name of `TASKS`."""
    folder = tmp_path_factory.mktemp("served")

    def made(name: str, seed: int) -> Predictor[Any]:
        config = BertConfig(
            tiny_tokenizer.vocab_size,
            hidden_size=32,
            num_layers=2,
            num_heads=2,
            intermediate_size=64,
            max_positions=64,
            initializer_range=0.2,
        )
        write(new(config, TASKS[name], tiny_tokenizer, seed), folder / name)
        return load(folder / name)

    return {name: made(name, seed) for seed, name in enumerate(TASKS)}


@pytest.fixture(scope="session")
def client_of(predictors: dict[str, Predictor[Any]]) -> Callable[..., AbstractContextManager[TestClient]]:
    """Return what opens a client of a server with the models of some names."""

    def make(*names: str) -> AbstractContextManager[TestClient]:
        hub = Hub([Served(name, predictors[name], LIMITS) for name in names], LIMITS)
        return TestClient(build(hub, Rules(), protocols=PROTOCOLS), base_url="http://localhost")

    return make


@pytest.fixture(scope="session")
def client(client_of: Callable[..., AbstractContextManager[TestClient]]) -> Iterator[TestClient]:
    """Return a client of a server with all models."""
    with client_of(*TASKS) as client:
        yield client


@pytest.fixture(scope="session")
def address(predictors: dict[str, Predictor[Any]]) -> Iterator[str]:
    """Return the URL of a running server with all models."""
    listening = listen("127.0.0.1", 0)
    hub = Hub([Served(name, predictors[name], LIMITS) for name in TASKS], LIMITS)
    server = server_of(hub, Rules(), Metrics())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        thread.join(0.02)
        assert thread.is_alive(), "the server did not start"
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def refused(client: TestClient) -> Callable[..., str]:
    """Return what posts a payload that must be refused, and returns the message."""

    def post(path: str, payload: Any = None, *, content: bytes | None = None, status: int = 422) -> str:
        headers = {"content-type": "application/json"}
        sent = {"json": payload} if content is None else {"content": content, "headers": headers}
        response = client.post(path, **sent)
        assert response.status_code == status, response.text
        return said(response.json())

    return post


def said(body: dict[str, Any]) -> str:
    """Return the message of a refusal in the form of any protocol."""
    error = body["error"] if "error" in body else body["message"]
    message: str = error["message"] if isinstance(error, dict) else error
    return message


@pytest.fixture(scope="session")
def message_of() -> Callable[[dict[str, Any]], str]:
    """Return `said`, which tests can't import from here."""
    return said
