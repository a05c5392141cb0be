"""OpenAI's API, by the unchanged `openai` package."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from bertie.inference.predictor import Predictor

sdk = pytest.importorskip("openai")
TEXTS = ["a red cat sat .", "the fish", "北京的猫 very good", ""]


@pytest.fixture
def openai_client(address: str) -> Iterator[Any]:
    with sdk.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("encoding", [sdk.NOT_GIVEN, "float", "base64"])
def test_sdk_gets_the_vectors_of_predict(
    openai_client: Any, predictors: dict[str, Predictor[Any]], encoding: Any
) -> None:
    answer = openai_client.embeddings.create(model="raw-vectors", input=TEXTS, encoding_format=encoding, user="me")
    expected = np.stack([one.vector for one in predictors["raw-vectors"].predict(TEXTS)])
    rows = [one.embedding for one in answer.data]
    if encoding == "base64":
        rows = [np.frombuffer(base64.b64decode(row), "<f4") for row in rows]
    np.testing.assert_allclose(np.array(rows, np.float32), expected, atol=1e-6)
    assert [one.index for one in answer.data] == [0, 1, 2, 3]
    assert answer.model == "raw-vectors"


def test_both_encodings_are_the_same_bits(client: TestClient) -> None:
    payload = {"model": "vectors", "input": "a red cat"}
    numbers = client.post("/v1/embeddings", json=payload).json()["data"][0]["embedding"]
    packed = client.post("/v1/embeddings", json={**payload, "encoding_format": "base64"}).json()
    assert base64.b64decode(packed["data"][0]["embedding"]) == np.array(numbers, "<f4").tobytes()


def test_usage_counts_the_tokens_that_the_model_reads(openai_client: Any) -> None:
    answer = openai_client.embeddings.create(model="vectors", input=["a red cat", "the"])
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == (3 + 2) + (1 + 2)
    assert openai_client.embeddings.create(model="vectors", input="cat " * 99).usage.total_tokens == 32


def test_models_are_listed(openai_client: Any) -> None:
    listed = openai_client.models.list()
    assert [one.id for one in listed.data][:2] == ["vectors", "raw-vectors"]
    assert openai_client.models.retrieve("words").owned_by == "bertie"
    with pytest.raises(sdk.NotFoundError, match="no model 'none'"):
        openai_client.models.retrieve("none")


def test_another_model_embeds_by_its_encoder(openai_client: Any) -> None:
    assert len(openai_client.embeddings.create(model="words", input="a cat").data[0].embedding) == 32


def test_equal_dimensions_are_accepted(client: TestClient) -> None:
    payload = {"model": "vectors", "input": "a", "dimensions": 32}
    assert client.post("/v1/embeddings", json=payload).status_code == 200


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimensions": 16}, "dimensions: vectors has vectors of 32 numbers, not 16"),
        ({"dimensions": 10**299}, "dimensions:"),
        ({"dimensions": 32.5}, "dimensions: must be a valid integer"),
        ({"dimensions": True}, "dimensions: must be a valid integer"),
        ({"input": [5, 6]}, "input: token ids mean other pieces"),
        ({"input": [[5, 6]]}, "input: token ids mean other pieces"),
        ({"input": []}, "input: must be a list of strings, at least one"),
        ({"input": ["a", None]}, "input: number 1 must be a string; got None"),
        ({"input": {"text": "a"}}, "input: must be a string or a list of strings"),
        ({"input": True}, "input: must be a string or a list of strings; got True"),
        ({"encoding_format": "int8"}, "encoding_format: must be 'float' or 'base64'; got 'int8'"),
        ({"model": 3}, "model: must be a valid string; got 3"),
        ({"input_type": "query"}, "the body: unknown key 'input_type'; did you mean 'input'?"),
    ],
)
def test_wrong_payloads_name_the_key(refused: Callable[..., str], change: dict[str, Any], message: str) -> None:
    assert refused("/v1/embeddings", {"model": "vectors", "input": "a", **change}).startswith(message)


def test_missing_keys_and_unknown_models(refused: Callable[..., str]) -> None:
    assert refused("/v1/embeddings", {"model": "vectors"}) == "input: is missing"
    assert "no model 'vector'" in refused("/v1/embeddings", {"model": "vector", "input": "a"}, status=404)
