"""`huggingface_hub.InferenceClient` gets what `Predictor.predict` returns, for seven tasks, unmodified."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from huggingface_hub import InferenceClient

from bertie.inference.predictor import load
from bertie.items.question import Question

TEXT = "the cat sat in paris"


def hugging(client: Any, name: str) -> InferenceClient:
    return InferenceClient(model=f"{client.url}/models/{name}")


def test_fill_mask(client: Any, predictors: Any) -> None:
    found = hugging(client, "cloze").fill_mask("the [MASK] sat", top_k=3)
    expected = predictors["cloze"].adjusted(top_k=3).predict("the [MASK] sat")
    assert [one.token_str for one in found] == [one.token for one in expected]
    assert [one.token for one in found] == [one.token_id for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-5)
    assert found[0].sequence == f"the {found[0].token_str} sat" or found[0].token_str.startswith("##")


def test_fill_mask_with_targets_gives_the_probabilities_of_the_whole_vocabulary(client: Any, predictors: Any) -> None:
    found = hugging(client, "cloze").fill_mask("the [MASK] sat", targets=["cat", "dog", "catfish"])
    every = {
        one.token: one
        for one in predictors["cloze"].adjusted(top_k=10**6).predict("the [MASK] sat")
        if one.token in ("cat", "dog")
    }
    single = {one.token_str: one for one in found if one.token >= 0}
    assert single.keys() == every.keys() == {"cat", "dog"}
    for word, one in single.items():
        assert (one.token, one.score) == (every[word].token_id, pytest.approx(every[word].score, rel=1e-4))
    assert [one.token_str for one in found if one.token < 0] == ["catfish"]
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)


def test_text_classification(client: Any, predictors: Any) -> None:
    found = hugging(client, "films").text_classification(TEXT)
    expected = predictors["films"].predict(TEXT).scores
    assert {one.label: one.score for one in found} == pytest.approx(expected, abs=1e-5)
    assert found[0].score >= found[1].score
    assert len(hugging(client, "films").text_classification(TEXT, top_k=1)) == 1
    raw = hugging(client, "films").text_classification(TEXT, function_to_apply="none")
    powers = {one.label: np.exp(one.score) for one in raw}
    assert {label: power / sum(powers.values()) for label, power in powers.items()} == pytest.approx(expected, abs=1e-5)


def test_text_classification_of_pairs(client: Any, predictors: Any) -> None:
    answer = client.post("/models/films", {"inputs": [{"text": "a cat", "text_pair": "a dog"}, {"text": "a cat"}]})
    expected = predictors["films"].predict([("a cat", "a dog"), "a cat"])
    assert answer.status == 200
    for found, one in zip(answer.json, expected, strict=True):
        assert {row["label"]: row["score"] for row in found} == pytest.approx(one.scores, abs=1e-5)


def test_token_classification(client: Any, predictors: Any) -> None:
    expected = predictors["names"].predict(TEXT)
    found = hugging(client, "names").token_classification(TEXT, aggregation_strategy="simple")
    assert [(one.entity_group, one.start, one.end, one.word) for one in found] == [
        (span.label, span.start, span.end, span.text) for span in expected.spans
    ]
    words = hugging(client, "names").token_classification(TEXT, aggregation_strategy="none", ignore_labels=[])
    assert [one.entity for one in words] == list(expected.tags)
    assert [one.word for one in words] == TEXT.split()
    tagged = hugging(client, "names").token_classification(TEXT, aggregation_strategy="none")
    assert [one.entity for one in tagged] == [tag for tag in expected.tags if tag != "O"]


def test_question_answering(client: Any, predictors: Any) -> None:
    question, context = "who sat ?", "the cat sat in the city . the dog ran very good and ate a fish in the house"
    found: Any = hugging(client, "answers").question_answering(question, context)
    expected = predictors["answers"].predict(Question(question, context))
    assert (found.answer, found.start, found.end) == (expected.text, expected.start, expected.end)
    assert found.score == pytest.approx(expected.score, abs=1e-5)
    several: Any = hugging(client, "answers").question_answering(question, context, top_k=3, max_answer_len=2)
    assert len(several) == 3
    for one in several:
        assert context[one.start : one.end] == one.answer


def test_sentence_similarity(client: Any, predictors: Any) -> None:
    others = ["a dog", "the cat sat", TEXT]
    found = hugging(client, "vectors").sentence_similarity(TEXT, others)
    expected = [predictors["vectors"].predict((TEXT, other)).similarity for other in others]
    assert found == pytest.approx(expected, abs=1e-5)
    assert found[2] == pytest.approx(1.0, abs=1e-5)


def test_sentence_similarity_by_a_model_of_another_task(client: Any) -> None:
    found = hugging(client, "cloze").sentence_similarity(TEXT, [TEXT, "a dog"])
    assert found[0] == pytest.approx(1.0, abs=1e-5) and found[1] < 1.0


def test_feature_extraction(client: Any, predictors: Any) -> None:
    one = hugging(client, "vectors").feature_extraction(TEXT)
    assert one == pytest.approx(predictors["vectors"].predict(TEXT).vector, abs=1e-5)
    both = hugging(client, "vectors").feature_extraction([TEXT, "a dog"], normalize=True, truncate=True)
    assert both.shape == (2, 32) and np.linalg.norm(both, axis=1) == pytest.approx([1.0, 1.0], abs=1e-5)
    assert hugging(client, "vectors").feature_extraction(TEXT, dimensions=8).shape == (8,)


def test_feature_extraction_by_the_tokens_of_a_masked_lm(client: Any, model_folders: Any) -> None:
    named = InferenceClient(model=f"{client.url}/models/cloze/pipeline/feature-extraction")
    expected = load(model_folders["cloze"], task="features", device="cpu").predict(TEXT).hidden
    assert named.feature_extraction(TEXT) == pytest.approx(expected, abs=1e-5)


def test_zero_shot_classification(client: Any, predictors: Any) -> None:
    labels = ["city", "fish", "dog"]
    nli = hugging(client, "nli")
    found = nli.zero_shot_classification(TEXT, labels, hypothesis_template="this is {} .")
    assert {one.label for one in found} == set(labels) and sum(one.score for one in found) == pytest.approx(1.0)
    assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
    several = nli.zero_shot_classification(TEXT, labels, multi_label=True, hypothesis_template="this is {} .")
    for one in several:
        scores = predictors["nli"].predict((TEXT, f"this is {one.label} .")).scores
        share = scores["entailment"] / (scores["entailment"] + scores["contradiction"])
        assert one.score == pytest.approx(share, abs=1e-5)
    assert {one.label for one in several} == set(labels)
