"""The API of text-embeddings-inference."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from bertie.inference.predictor import Predictor
from bertie.metrics.retrieval import unit
from bertie.tokenizer.tokenizer import Tokenizer

TEXTS = ["a red cat sat .", "北京的猫", "the fish"]
LONG = "cat " * 99
Predictors = dict[str, Predictor[Any]]


def post(client: TestClient, path: str, **payload: Any) -> Any:
    response = client.post(path, json=payload)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("model", ["vectors", "raw-vectors"])
def test_embed_gives_the_vectors_of_predict(client: TestClient, predictors: Predictors, model: str) -> None:
    expected = np.stack([one.vector for one in predictors[model].predict(TEXTS)])
    found = post(client, f"/embed?model={model}", inputs=TEXTS)
    np.testing.assert_allclose(found, unit(expected), atol=1e-6)
    assert np.array(post(client, f"/embed?model={model}", inputs=TEXTS[0])).shape == (1, 32)


def test_embed_leaves_vectors_unscaled_if_asked(client: TestClient, predictors: Predictors) -> None:
    expected = predictors["raw-vectors"].predict("a cat").vector
    found = post(client, "/embed?model=raw-vectors", inputs="a cat", normalize=False)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)
    assert abs(np.linalg.norm(expected) - 1) > 0.1


def test_the_model_is_named_in_the_query_or_the_header(client: TestClient) -> None:
    by_query = client.post("/embed?model=raw-vectors", json={"inputs": "a"}).json()
    by_header = client.post("/embed", json={"inputs": "a"}, headers={"model": "raw-vectors"}).json()
    assert by_query == by_header != client.post("/embed", json={"inputs": "a"}).json()


def test_token_ids_stand_for_their_text(client: TestClient, tiny_tokenizer: Tokenizer) -> None:
    ids = tiny_tokenizer.encode_batch(["a red cat"])[0]
    framed = [tiny_tokenizer.start, *ids, tiny_tokenizer.separator]
    expected = post(client, "/embed", inputs="a red cat")
    assert post(client, "/embed", inputs=ids) == post(client, "/embed", inputs=[framed]) == expected


def test_long_texts_are_refused_if_asked(client: TestClient, refused: Callable[..., str]) -> None:
    assert post(client, "/embed", inputs=LONG) == post(client, "/embed", inputs=LONG, truncate=True)
    assert "101 tokens" in refused("/embed", {"inputs": LONG, "truncate": False})


def test_embed_all_gives_the_vector_of_each_token(client: TestClient, predictors: Predictors) -> None:
    rows = post(client, "/embed_all?model=raw-vectors", inputs=["a red cat", "the"])
    assert [np.array(row).shape for row in rows] == [(5, 32), (3, 32)]
    # The model's pooling is the vector of [CLS].
    np.testing.assert_allclose(rows[0][0], predictors["raw-vectors"].predict("a red cat").vector, atol=1e-5)
    assert len(post(client, "/embed_all", inputs="a red cat", truncate=True)[0]) == 5


def test_embed_all_limits_the_size_of_its_answer(refused: Callable[..., str]) -> None:
    message = refused("/embed_all", {"inputs": [LONG] * 8, "truncate": True}, status=413)
    assert message.startswith("inputs: 512 tokens give too many vectors")
    assert "101 tokens" in refused("/embed_all", {"inputs": LONG})


def test_predict_gives_all_labels_best_first(client: TestClient, predictors: Predictors) -> None:
    expected = [one.scores for one in predictors["topics"].predict(["a cat", ("a", "the fish")])]
    rows = post(client, "/predict", inputs=[["a cat"], ["a", "the fish"]])
    for row, scores in zip(rows, expected, strict=True):
        assert {one["label"]: one["score"] for one in row} == pytest.approx(scores, abs=1e-6)
        assert [one["score"] for one in row] == sorted((one["score"] for one in row), reverse=True)
    assert post(client, "/predict", inputs=["a", "the fish"]) == [
        {"label": one["label"], "score": pytest.approx(one["score"], abs=1e-6)} for one in rows[1]
    ]
    assert post(client, "/predict", inputs="a cat") == post(client, "/predict", inputs=["a cat"])


def test_raw_scores_are_the_logits(client: TestClient) -> None:
    classes = {one["label"]: one["score"] for one in post(client, "/predict", inputs="a cat")}
    logits = {one["label"]: one["score"] for one in post(client, "/predict", inputs="a cat", raw_scores=True)}
    total = sum(np.exp(list(logits.values())))
    assert {label: np.exp(value) / total for label, value in logits.items()} == pytest.approx(classes, abs=1e-6)


def test_rerank_sorts_texts(client: TestClient, predictors: Predictors) -> None:
    expected = [one.value for one in predictors["pairs"].predict([("a fish", text) for text in TEXTS])]
    ranks = post(client, "/rerank", query="a fish", texts=TEXTS, return_text=True)
    assert {one["index"]: one["score"] for one in ranks} == pytest.approx(dict(enumerate(expected)), abs=1e-6)
    assert [one["text"] for one in ranks] == [TEXTS[one["index"]] for one in ranks]
    assert [one["score"] for one in ranks] == sorted(expected, reverse=True) == pytest.approx(sorted(expected)[::-1])
    raw = post(client, "/rerank", query="a fish", texts=TEXTS, raw_scores=True)
    assert [1 / (1 + np.exp(-one["score"])) for one in raw] == pytest.approx([one["score"] for one in ranks], abs=1e-6)
    assert "text" not in raw[0]


def test_cosines_rank_if_no_model_reads_pairs(client_of: Callable[..., TestClient], predictors: Predictors) -> None:
    cosines = [one.similarity for one in predictors["vectors"].predict([("a fish", text) for text in TEXTS])]
    with client_of("topics", "vectors") as client:
        ranks = post(client, "/rerank", query="a fish", texts=TEXTS)
    assert {one["index"]: 2 * one["score"] - 1 for one in ranks} == pytest.approx(dict(enumerate(cosines)), abs=1e-6)


def test_similarity_is_the_cosine_of_predict(client: TestClient, predictors: Predictors) -> None:
    expected = [one.similarity for one in predictors["vectors"].predict([("a fish", text) for text in TEXTS])]
    inputs = {"source_sentence": "a fish", "sentences": TEXTS}
    assert post(client, "/similarity", inputs=inputs, parameters={"truncate": True}) == pytest.approx(
        expected, abs=1e-6
    )


def test_tokens_name_their_bytes(client: TestClient, tiny_tokenizer: Tokenizer) -> None:
    text = "北京 Cats"
    (row,) = post(client, "/tokenize", inputs=text)
    assert [one["text"] for one in row] == ["[CLS]", "北", "京", "Cat", "s", "[SEP]"]
    assert [(one["special"], one["start"], one["stop"]) for one in row[:2]] == [(True, None, None), (False, 0, 3)]
    assert all(text.encode()[one["start"] : one["stop"]].decode() == one["text"] for one in row[1:-1])
    ids = [one["id"] for one in row]
    assert ids[1:-1] == tiny_tokenizer.encode_batch([text])[0]
    assert post(client, "/tokenize", inputs=[text], add_special_tokens=False) == [row[1:-1]]
    assert post(client, "/decode", ids=ids) == ["北 京 cats"]
    assert post(client, "/decode", ids=[ids, ids[1:2]], skip_special_tokens=False) == ["[CLS] 北 京 cats [SEP]", "北"]


def test_info_describes_a_model(client: TestClient) -> None:
    embedding, classes, pairs, words = (
        client.get("/info", params={"model": name}).json() for name in ("vectors", "topics", "pairs", "words")
    )
    assert client.get("/info").json() == embedding
    assert embedding["model_id"] == "vectors" and embedding["model_type"] == {"embedding": {"pooling": "mean"}}
    assert (embedding["max_input_length"], embedding["max_client_batch_size"]) == (32, 8)
    assert classes["model_type"]["classifier"]["id2label"] == {"0": "red", "1": "green", "2": "blue"}
    assert pairs["model_type"] == {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
    assert words["model_type"] == {"masked_lm": {}}
    assert client.get("/info?model=none").status_code == 404
    assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    ("path", "payload", "message"),
    [
        ("/embed", {}, "inputs: is missing"),
        ("/embed", {"inputs": []}, "inputs: must be a string, a list of token ids"),
        ("/embed", {"inputs": ["a", 3]}, "inputs: number 1 must be a string or a list of token ids; got 3"),
        ("/embed", {"inputs": [-1]}, "inputs: number 0 must be a string"),
        ("/embed", {"inputs": [True]}, "inputs: number 0 must be a string"),
        ("/embed", {"inputs": [10**200]}, "inputs[0]: the model has the token ids 0 to"),
        ("/embed", {"inputs": [1, 1]}, "inputs[0]: no text has exactly these ids"),
        ("/embed", {"inputs": "a", "normalize": "yes"}, "normalize: must be a valid boolean; got 'yes'"),
        ("/embed", {"inputs": "a", "normalize": False}, "normalize: vectors always scales its vectors"),
        ("/embed", {"inputs": "a", "prompt_name": "query"}, "prompt_name: must be None"),
        ("/embed", {"inputs": "a", "dimensions": 8}, "dimensions: vectors has vectors of 32 numbers"),
        ("/embed", {"inputs": "a", "truncation_direction": "Left"}, "truncation_direction: must be 'Right'"),
        ("/embed", {"inputs": "a", "truncate": 1}, "truncate: must be a valid boolean"),
        ("/embed?model=topics-", {"inputs": "a"}, "no model 'topics-'; did you mean 'topics'?"),
        ("/predict?model=words", {"inputs": "a"}, "words is a model for masked_lm and can't do classification"),
        ("/predict", {"inputs": ["a", "b", "c"]}, "inputs: must be a string, a pair"),
        ("/predict", {"inputs": [["a"], ["b", "c", "d"]]}, "inputs: number 1 must be a string, a pair"),
        ("/predict", {"inputs": [["a"], "b"]}, "inputs: number 1 must be a string, a pair"),
        ("/predict", {"inputs": [["a", None]]}, "inputs: number 1 must be a string; got None"),
        ("/predict", {"inputs": []}, "inputs: must be a string, a pair"),
        ("/rerank", {"query": "a", "texts": []}, "texts: must be a list of strings, at least one"),
        ("/rerank", {"query": "a", "texts": "b"}, "texts: must be a list of strings"),
        ("/similarity", {"inputs": {"sentences": ["a"]}}, "inputs.source_sentence: is missing"),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": ["b"], "x": 1}}, "inputs: unknown key 'x'"),
        ("/tokenize", {"inputs": [["a"]]}, "inputs: number 0 must be a string"),
        ("/decode", {"ids": []}, "ids: must be a list of token ids"),
        ("/decode", {"ids": [[]]}, "ids: number 0 must be a list of token ids"),
        ("/decode", {"ids": [[99999]]}, "ids: the model has the token ids 0 to"),
        ("/decode", {"ids": ["a"]}, "ids: number 0 must be a list of token ids"),
    ],
)
def test_wrong_payloads_name_the_key(
    refused: Callable[..., str], path: str, payload: dict[str, Any], message: str
) -> None:
    assert refused(path, payload, status=404 if "topics-" in path else 422).startswith(message)


def test_the_tokenizer_has_limits_too(refused: Callable[..., str]) -> None:
    assert refused("/tokenize", {"inputs": ["a"] * 9}, status=413).startswith("inputs: 9 inputs are more than 8")
    assert refused("/tokenize", {"inputs": "a" * 2001}, status=413).startswith("inputs: 2,001 characters")
    assert refused("/decode", {"ids": [5] * 2001}, status=413).startswith("ids: 2,001 characters")


def test_a_server_without_a_suitable_model_says_what_it_has(client_of: Callable[..., TestClient]) -> None:
    with client_of("words") as client:
        response = client.post("/predict", json={"inputs": "a"})
    assert response.status_code == 422
    assert "this server has words (masked_lm)" in response.json()["error"]
