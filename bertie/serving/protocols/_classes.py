"""Private helper of `huggingface`: the tasks text-classification and zero-shot-classification."""

from __future__ import annotations

from typing import Any

import numpy as np

from bertie.items.text import Text
from bertie.serving.hub import Served
from bertie.serving.limits import RequestError
from bertie.serving.protocols._hf_payloads import ClassificationParameters, ClassificationPayload, ZeroShotPayload
from bertie.serving.protocols._models import require
from bertie.serving.protocols._payload import wrong_part

_HYPOTHESIS = "This example is {}."  # Hugging Face's own


async def classify(served: Served, payload: ClassificationPayload) -> Any:
    """Return the labels of each text or pair, most probable first; always a list for each text.

    Raises:
        RequestError: the model has no classes, or the request exceeds a limit.
    """
    require(served, "classification", "regression")
    items = [one if isinstance(one, str) else Text(one.text, one.text_pair) for one in payload.inputs]
    parameters = payload.parameters or ClassificationParameters()
    function = parameters.function_to_apply
    if served.task == "regression":
        return [[{"label": "LABEL_0", "score": one.value}] for one in await served.predict(items)]
    if function is None:
        scores = [one.scores for one in await served.predict(items)]
    else:
        task: Any = served.predictor.task
        logits = np.array(await served.predict(items, logits=True)).reshape(len(items), -1)
        changed = {"none": lambda x: x, "sigmoid": _sigmoid, "softmax": _softmax}[function](logits)
        scores = [dict(zip(task.labels, row.tolist(), strict=True)) for row in changed]
    return [_sorted(one)[: parameters.top_k] for one in scores]


async def zero_shot(served: Served, payload: ZeroShotPayload) -> Any:
    """Return how well each label fits a text: whether the text entails a sentence about the label.

    Raises:
        RequestError: the model has no label for entailment, or the request exceeds a limit.
    """
    require(served, "classification")
    alone, texts = payload.inputs
    labels = payload.parameters.candidate_labels
    template = payload.parameters.hypothesis_template or _HYPOTHESIS
    if len(set(labels)) < len(labels):
        raise wrong_part("parameters.candidate_labels", "must have each label only once")
    if template.count("{}") != 1:
        raise wrong_part("parameters.hypothesis_template", "must hold {} once, in the place of the label")
    if len(texts) * len(labels) > served.limits.inputs:
        message = f"{len(texts):,} texts with {len(labels):,} labels are more than {served.limits.inputs:,} pairs"
        size = len(texts) * len(labels)
        raise RequestError(413, "too_many_inputs", f"{message}; split them", limit="inputs", value=size)
    task: Any = served.predictor.task
    columns = {label.casefold()[:6]: number for number, label in enumerate(task.labels)}
    if "entail" not in columns:
        raise RequestError(422, "wrong_task", f"{served.name} has no label entailment, which zero-shot needs")
    items = [(text, template.replace("{}", label)) for text in texts for label in labels]
    logits = np.array(await served.predict(items, logits=True)).reshape(len(texts), len(labels), len(task.labels))
    entailed = logits[..., columns["entail"]]
    if payload.parameters.multi_label or len(labels) == 1:
        against = columns.get("contra", min(set(columns.values()) - {columns["entail"]}, default=columns["entail"]))
        scores = _sigmoid(entailed - logits[..., against])
    else:
        scores = _softmax(entailed)
    found = [_sorted(dict(zip(labels, row.tolist(), strict=True))) for row in scores]
    return found[0] if alone else found


def _sorted(scores: dict[str, float]) -> list[dict[str, Any]]:
    ordered = sorted(scores.items(), key=lambda pair: -pair[1])
    return [{"label": label, "score": score} for label, score in ordered]


def _sigmoid(values: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -700.0, 700.0)))


def _softmax(values: Any) -> Any:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
