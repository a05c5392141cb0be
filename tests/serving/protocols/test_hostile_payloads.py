"""Payloads that attack a server: each is refused with a message, and none gives a 500."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from bertie.serving.limits import RequestError
from bertie.serving.protocols._payload import answer

PATHS = {
    "/v1/embeddings": b'{"model": "vectors", "input": %s}',
    "/embed": b'{"inputs": %s}',
    "/embed_all": b'{"inputs": %s}',
    "/predict": b'{"inputs": %s}',
    "/rerank": b'{"query": "a", "texts": %s}',
    "/similarity": b'{"inputs": {"source_sentence": "a", "sentences": %s}}',
    "/tokenize": b'{"inputs": %s}',
    "/decode": b'{"ids": %s}',
    "/v1/rerank": b'{"query": "a", "documents": %s}',
    "/v2/rerank": b'{"query": "a", "documents": %s}',
    "/v2/models/topics/infer": b'{"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [%s]}]}',
}
VALUES = {
    "NaN": b"NaN",
    "infinity": b"[1e999]",
    "long number": b"[" + b"9" * 5000 + b"]",
    "surrogate": rb'["\ud800"]',
    "raw NUL": b'["\x00"]',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "no UTF-8": b'["\xff"]',
    "cut": b'["a"',
    "empty list": b"[]",
    "null": b"null",
    "true": b"[true]",
    "fraction": b"[0.5]",
    "negative": b"[-1]",
    "nested": b"[[[1]]]",
    "object": b'{"a": 1}',
    "empty object": b"[{}]",
    "twice": b'[{"text": "a", "text": "b"}]',
    "many wrong": b"[" + b"null," * 100_000 + b"null]",
    "many keys": b"{" + b",".join(b'"k%d":1' % number for number in range(100_000)) + b"}",
}


@pytest.mark.parametrize("path", PATHS)
def test_hostile_values_are_refused(client: TestClient, message_of: Callable[..., str], path: str) -> None:
    for name, value in VALUES.items():
        content = PATHS[path].replace(b"%s", value)
        response = client.post(path, content=content, headers={"content-type": "application/json"})
        assert 400 <= response.status_code < 500, (name, response.text[:200])
        assert 5 < len(message_of(response.json())) < 700, name


@pytest.mark.parametrize("path", PATHS)
def test_bodies_that_are_no_objects(refused: Callable[..., str], path: str) -> None:
    for content in (b"", b"{", b"\xff\xfe{}"):
        assert refused(path, content=content, status=400).startswith("body: ")
    for content in (b"[]", b'"a"', b"3", b"null"):
        assert refused(path, content=content) == "the body must be a JSON object"
    many = b"{" + b",".join(b'"k%d":1' % number for number in range(100_000)) + b"}"

    def seconds() -> float:
        begun = time.process_time()
        assert "unknown key 'k0'" in refused(path, content=many)
        return time.process_time() - begun

    # Quadratic work takes minutes. A busy neighbour can spoil one attempt, so the best of several counts.
    assert any(seconds() < 2 for _ in range(5))


def test_texts_may_hold_any_character(client: TestClient) -> None:
    text = "a\x00b\u202e\ufeff\ufffd\U0010ffff" + "e\u0301" * 100
    for path, payload in (
        ("/embed", {"inputs": text}),
        ("/tokenize", {"inputs": text}),
        ("/predict", {"inputs": text}),
    ):
        assert client.post(path, json=payload).status_code == 200


def test_long_names_are_shortened(client: TestClient, refused: Callable[..., str]) -> None:
    name = "x" * 50_000
    assert len(refused("/embed", {"inputs": "a", name: 1})) < 400
    assert len(refused("/embed", {"inputs": "a", "normalize": name})) < 400


def test_numbers_that_json_lacks_are_an_error_of_the_model() -> None:
    with pytest.raises(RequestError, match="NaN or an infinity") as caught:
        answer([float(np.float32("nan"))])
    assert caught.value.status == 424


def test_the_description_of_the_api_names_every_payload(client: TestClient) -> None:
    described: dict[str, Any] = client.get("/openapi.json").json()
    for path in PATHS:
        operation = described["paths"][path.replace("topics", "{name}")]["post"]
        (content,) = operation["requestBody"]["content"].values()
        name = content["schema"]["$ref"].rpartition("/")[2]
        assert described["components"]["schemas"][name]["additionalProperties"] is False
