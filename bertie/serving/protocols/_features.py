"""Private helper of `huggingface`: the tasks sentence-similarity and feature-extraction."""

from __future__ import annotations

from typing import Any

import numpy as np

from bertie.metrics.retrieval import unit
from bertie.serving.hub import Served
from bertie.serving.protocols._hf_payloads import ComparisonPayload, FeaturePayload
from bertie.serving.protocols._models import by_task, check_answer, cosines

_DIGITS = 7  # decimals of a vector's numbers, as many as fp32 has
_MOST_NUMBERS = 1_000_000  # of vectors in one answer


async def compare(served: Served, payload: ComparisonPayload) -> Any:
    """Return the cosine of a sentence with each of the others.

    Raises:
        RequestError: the model has no encoder, or the request exceeds a limit.
    """
    model = await by_task(served, "embedding")
    return await cosines(model, payload.inputs.source_sentence, payload.inputs.sentences)


async def extract(served: Served, payload: FeaturePayload) -> Any:
    """Return a vector for each text by an embedding model, or the hidden vectors of its tokens by another.

    Raises:
        RequestError: the model has no encoder, or the request exceeds a limit.
    """
    alone, texts = payload.inputs
    cut, size = payload.setting("truncate"), payload.setting("dimensions")
    truncation = None if cut is None else "truncate" if cut else "error"
    if served.task == "embedding":
        vectors = [one.vector for one in await served.predict(texts, truncation=truncation)]
    else:
        features = await by_task(served, "features")
        vectors = [one.hidden for one in await features.predict(texts, truncation=truncation or "truncate")]
    vectors = [vector[..., :size] for vector in vectors]
    check_answer("numbers", sum(vector.size for vector in vectors), _MOST_NUMBERS)
    if payload.setting("normalize"):
        vectors = [unit(one) for one in vectors]
    lists = [vector.astype(np.float64).round(_DIGITS).tolist() for vector in vectors]
    return lists[0] if alone else lists
