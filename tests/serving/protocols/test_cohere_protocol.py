"""Cohere's rerank API."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from bertie.inference.predictor import Predictor

QUERY, DOCUMENTS = "a red fish", ["the cat", "a red fish", "old house by the river", "not good"]


@pytest.mark.parametrize("version", ["1", "2"])
def test_documents_come_sorted_by_relevance(
    client: TestClient, predictors: dict[str, Predictor[Any]], version: str
) -> None:
    payload = {"model": "pairs", "query": QUERY, "documents": [*DOCUMENTS[:3], {"text": DOCUMENTS[3]}]}
    answer = client.post(f"/v{version}/rerank", json=payload).json()
    expected = [one.value for one in predictors["pairs"].predict([(QUERY, text) for text in DOCUMENTS])]
    scores = {one["index"]: one["relevance_score"] for one in answer["results"]}
    assert [scores[index] for index in range(4)] == pytest.approx(expected, abs=1e-6)
    assert list(scores.values()) == sorted(expected, reverse=True) == pytest.approx(sorted(expected, reverse=True))
    assert all(0 <= score <= 1 for score in expected)
    assert answer["meta"]["api_version"]["version"] == version


def test_the_first_documents_with_their_text(client: TestClient) -> None:
    payload = {"query": QUERY, "documents": DOCUMENTS, "model": "vectors", "top_n": 2, "return_documents": True}
    payload["rank_fields"] = ["text"]
    results = client.post("/v2/rerank", json=payload).json()["results"]
    assert len(results) == 2
    assert results[0] == {
        "index": 1,
        "relevance_score": pytest.approx(1.0),
        "document": {"text": QUERY},
    }
    assert len(client.post("/v2/rerank", json={**payload, "top_n": 10**200}).json()["results"]) == 4


def test_class_and_cosine_also_rank(client: TestClient, predictors: dict[str, Predictor[Any]]) -> None:
    pairs = [(QUERY, text) for text in DOCUMENTS]
    expected = {
        "duplicates": [one.scores["yes"] for one in predictors["duplicates"].predict(pairs)],
        "raw-vectors": [(1 + one.similarity) / 2 for one in predictors["raw-vectors"].predict(pairs)],
    }
    for model, values in expected.items():
        payload = {"model": model, "query": QUERY, "documents": DOCUMENTS}
        results = client.post("/v2/rerank", json=payload).json()["results"]
        assert {one["index"]: one["relevance_score"] for one in results} == pytest.approx(
            dict(enumerate(values)), abs=1e-6
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents": []}, "documents: must be a list of strings, at least one"),
        ({"documents": "a"}, "documents: must be a list of strings"),
        ({"documents": ["a", {"title": "b"}]}, "documents: number 1 must be a string or"),
        ({"documents": ["a", {"text": 1}]}, "documents: number 1 must be a string or"),
        ({"query": ["a"]}, "query: must be a valid string"),
        ({"top_n": 0}, "top_n: must be greater than or equal to 1"),
        ({"top_n": "3"}, "top_n: must be a valid integer"),
        ({"return_documents": 1}, "return_documents: must be a valid boolean"),
        ({"rank_fields": ["title"]}, "rank_fields[0]: must be 'text'; got 'title'"),
        ({"max_tokens_per_doc": 10}, "the body: unknown key 'max_tokens_per_doc'"),
        ({"model": "topics"}, "no label of topics means relevant (red, green, blue)"),
    ],
)
def test_wrong_payloads_name_the_key(refused: Callable[..., str], change: dict[str, Any], message: str) -> None:
    assert refused("/v2/rerank", {"query": "a", "documents": ["b"], **change}).startswith(message)
