"""Private helper of the protocols that rank texts: how relevant each text is to a query, from any model that can tell.

A regression model of pairs gives a number, a classification model the probability of its label for "relevant", and an
embedding model a cosine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from bertie.serving.hub import Hub, Served
from bertie.serving.limits import RequestError
from bertie.serving.protocols._models import cosines, suitable

_TASKS = ("regression", "classification", "embedding")
_RELEVANT = ("relevant", "positive", "yes", "true", "match", "1", "label_1")


async def ranker(hub: Hub, name: str | None) -> Served:
    """Return the model that ranks: by its name, or the first of regression, classification, embedding.

    Raises:
        RequestError: there is none.
    """
    if name is not None:
        model = hub.get(name)
        return model if model.task in _TASKS else await suitable(hub, name, "embedding")
    able = [model for model in hub.models.values() if model.task != "classification" or _relevant_label(model)]
    return await suitable(Hub(able, hub.limits), None, *_TASKS)


async def relevance(
    served: Served, query: str, texts: Sequence[str], *, raw: bool = False, **settings: Any
) -> list[float]:
    """Score each text by its relevance to a query, 0 to 1.

    Args:
        served: a `ranker`.
        query: the query.
        texts: at least one.
        raw: whether to return the logit, or the cosine.
        **settings: of the task for this request alone.

    Raises:
        RequestError: the request exceeds a limit, or the model has no such score.
    """
    if served.task == "embedding":
        values = await cosines(served, query, texts, **settings)
        return values if raw else [(1.0 + value) / 2.0 for value in values]
    pairs = [(query, text) for text in texts]
    if served.task == "regression":
        return await estimates(served, pairs, raw=raw, **settings)
    label = _relevant_label(served)
    if label is None:
        names = ", ".join(labels_of(served))
        message = f"no label of {served.name} means relevant ({names}); it needs one of {', '.join(_RELEVANT)}"
        raise RequestError(422, "wrong_task", message)
    return [scores[label] for scores in await class_scores(served, pairs, raw=raw, **settings)]


async def estimates(served: Served, items: Sequence[Any], *, raw: bool, **settings: Any) -> list[float]:
    """Return the numbers of a regression model: mapped to 0 to 1 by the sigmoid, or raw.

    Raises:
        RequestError: the request exceeds a limit, or an item can't be used.
    """
    if raw:
        logits: list[float] = await served.predict(items, logits=True, **settings)
        return logits
    task: Any = served.predictor.task
    values = [prediction.value for prediction in await served.predict(items, **settings)]
    return values if task.activation == "sigmoid" else [_sigmoid(value) for value in values]


async def class_scores(served: Served, items: Sequence[Any], *, raw: bool, **settings: Any) -> list[dict[str, float]]:
    """Return the probability of each label for each item, or its logit.

    Raises:
        RequestError: the request exceeds a limit, or an item can't be used.
    """
    if not raw:
        return [prediction.scores for prediction in await served.predict(items, **settings)]
    labels = labels_of(served)
    return [dict(zip(labels, row, strict=True)) for row in await served.predict(items, logits=True, **settings)]


def labels_of(served: Served) -> tuple[str, ...]:
    """Return the labels of a classification model."""
    task: Any = served.predictor.task
    labels: tuple[str, ...] = task.labels
    return labels


def _relevant_label(served: Served) -> str | None:
    """Return the label that means relevant: the only one, or the only one with such a name. None: unclear."""
    labels = labels_of(served)
    named = [label for label in labels if label.lower() in _RELEVANT]
    chosen = labels if len(labels) == 1 else named
    return chosen[0] if len(chosen) == 1 else None


def _sigmoid(value: float) -> float:
    return 1.0 / (1.0 + math.exp(-value)) if value >= 0 else math.exp(value) / (1.0 + math.exp(value))
