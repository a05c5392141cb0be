"""Payloads of any form get an answer or a refusal from every protocol, and never a 500."""

import json
from typing import Any

from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INPUTS = {
    "/v1/embeddings": "input",
    "/embed": "inputs",
    "/embed_all": "inputs",
    "/predict": "inputs",
    "/rerank": "texts",
    "/similarity": "inputs",
    "/tokenize": "inputs",
    "/decode": "ids",
    "/v2/rerank": "documents",
    "/v2/models/topics/infer": "inputs",
    "/v2/models/words/infer": "inputs",
}
KEYS = (
    *("model", "input", "inputs", "query", "texts", "documents", "ids", "dimensions", "encoding_format", "user"),
    *("truncate", "normalize", "raw_scores", "return_text", "top_n", "return_documents", "parameters", "outputs"),
    *("name", "shape", "datatype", "data", "text", "source_sentence", "sentences", "add_special_tokens"),
)
texts = st.sampled_from(["a [MASK] cat", "vectors", "words", "topics", "", "\0", "\ud800", "cat " * 60]) | st.text(
    max_size=9
)
leaves = st.none() | st.booleans() | st.integers(-2, 99) | st.integers() | st.floats() | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=10,
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["text", "pair"]) | values,
        "datatype": st.just("BYTES") | values,
        "shape": st.lists(st.integers(0, 3), max_size=2) | values,
        "data": st.lists(texts, max_size=3) | values,
    }
)
inputs = (
    texts
    | st.lists(texts, max_size=4)
    | st.lists(st.integers(0, 120), max_size=5)
    | st.lists(st.lists(texts | st.integers(0, 120), max_size=3), max_size=3)
    | st.lists(tensors, max_size=2)
    | st.fixed_dictionaries({"source_sentence": texts, "sentences": st.lists(texts, max_size=3)})
    | values
)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(INPUTS)), inputs, st.dictionaries(st.sampled_from(KEYS), values, max_size=2), st.booleans()
)
def test_no_payload_is_a_bug(
    client: TestClient, message_of: Any, path: str, given_inputs: Any, more: dict[str, Any], whole: bool
) -> None:
    usual = {"query": "a cat", "model": "vectors"} if path in ("/v1/embeddings", "/v2/rerank") else {}
    usual = {"query": "a cat"} if path == "/rerank" else usual
    payload = {**usual, INPUTS[path]: given_inputs, **more} if whole else more
    headers = {"content-type": "application/json"}
    answer = client.post(path, content=json.dumps(payload).encode(), headers=headers)
    assert answer.status_code in (200, 400, 404, 413, 422), (path, payload, answer.text)
    if answer.status_code != 200:
        assert message_of(answer.json())
