"""Private helper of `huggingface`: the tasks by Hugging Face's names, and which of them a payload is for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bertie.serving.hub import Served
from bertie.serving.limits import RequestError
from bertie.serving.protocols import _hf_payloads as payloads
from bertie.serving.protocols._classes import classify, zero_shot
from bertie.serving.protocols._features import compare, extract
from bertie.serving.protocols._fill_mask import fill_mask
from bertie.serving.protocols._payload import Payload
from bertie.serving.protocols._spans import find_answer, tag

_OWN = {
    "masked_lm": "fill-mask",
    "pretraining": "fill-mask",
    "classification": "text-classification",
    "regression": "text-classification",
    "tagging": "token-classification",
    "span_classification": "token-classification",
    "question_answering": "question-answering",
    "embedding": "feature-extraction",
    "features": "feature-extraction",
}


@dataclass(frozen=True)
class Pipeline:
    """A task of Hugging Face."""

    payload: type[Payload]
    """The class of its payloads."""
    answer: Callable[[Served, Any], Awaitable[Any]]
    """Maps a model and a payload to the answer."""


PIPELINES = {
    "fill-mask": Pipeline(payloads.FillMaskPayload, fill_mask),
    "text-classification": Pipeline(payloads.ClassificationPayload, classify),
    "token-classification": Pipeline(payloads.TokenPayload, tag),
    "question-answering": Pipeline(payloads.QuestionPayload, find_answer),
    "sentence-similarity": Pipeline(payloads.ComparisonPayload, compare),
    "feature-extraction": Pipeline(payloads.FeaturePayload, extract),
    "zero-shot-classification": Pipeline(payloads.ZeroShotPayload, zero_shot),
}
"""The pipelines, by the names of Hugging Face."""


def pipeline_of(served: Served, values: Mapping[str, Any]) -> Pipeline:
    """Return the pipeline that a request without one's name is for.

    Args:
        served: the model.
        values: the body; its form tells similarity and zero-shot classification apart from the model's own task.

    Raises:
        RequestError: the model's task has no pipeline.
    """
    inputs, parameters = values.get("inputs"), values.get("parameters")
    if isinstance(inputs, dict) and "source_sentence" in inputs:
        return PIPELINES["sentence-similarity"]
    if isinstance(parameters, dict) and "candidate_labels" in parameters:
        return PIPELINES["zero-shot-classification"]
    if served.task not in _OWN:
        have = ", ".join(sorted(_OWN))
        message = f"{served.name} is a model for {served.task}, which has no pipeline; these have one: {have}"
        raise RequestError(422, "wrong_task", message)
    return PIPELINES[_OWN[served.task]]
