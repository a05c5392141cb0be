"""Payloads of any form get an answer or a refusal that names what is wrong, and never a 500."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MODELS = ("films", "nli", "cloze", "names", "answers", "vectors")
PIPELINES = ("", "fill-mask", "text-classification", "token-classification", "question-answering")
PIPELINES += ("sentence-similarity", "feature-extraction", "zero-shot-classification", "poems")
KEYS = (
    *("inputs", "parameters", "options", "text", "text_pair", "question", "context", "source_sentence", "sentences"),
    *("top_k", "targets", "candidate_labels", "multi_label", "hypothesis_template", "aggregation_strategy", "stride"),
    *("ignore_labels", "function_to_apply", "max_answer_len", "max_seq_len", "doc_stride", "normalize", "truncate"),
    *("dimensions", "handle_impossible_answer", "encoding_format", "more"),
)
texts = st.sampled_from(["the [MASK] sat", "a cat", "", " ", "[MASK]", "\0", "none", "simple", "{}", "\ud800"])
texts |= st.text(max_size=10)
leaves = st.none() | st.booleans() | st.integers(-3, 70) | st.integers() | st.floats() | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)
inputs = (
    texts
    | st.lists(texts, max_size=3)
    | st.fixed_dictionaries({"question": texts, "context": texts})
    | st.fixed_dictionaries({"source_sentence": texts, "sentences": st.lists(texts, max_size=3)})
    | st.fixed_dictionaries({"text": texts, "text_pair": texts})
    | values
)
parameters = st.dictionaries(st.sampled_from(KEYS), leaves | st.lists(texts, max_size=3), max_size=3)
payloads = values | st.fixed_dictionaries({"inputs": inputs}, optional={"parameters": parameters | values})


@settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(MODELS), st.sampled_from(PIPELINES), payloads)
def test_no_payload_is_a_bug(client: Any, model: str, pipeline: str, payload: Any) -> None:
    path = f"/models/{model}" + (f"/pipeline/{pipeline}" if pipeline else "")
    answer = client.post(path, json.dumps(payload).encode())
    assert answer.status in (200, 400, 404, 413, 422), (path, payload, answer.content)
    if answer.status != 200:
        assert answer.json["error"]["message"]
