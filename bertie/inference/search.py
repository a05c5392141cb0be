"""Semantic search: find the texts most similar in meaning to a query, by the cosine of their vectors.

The search is exact: every text is compared with every query. It works in blocks, so that memory holds little more than
the vectors. An index file stores the vectors for later searches, and records their model and their file.

Shapes: N texts, Q queries, H hidden.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie import progress
from bertie.errors import SettingsError
from bertie.files.atomic import sha256_file
from bertie.inference.predictor import Predictor
from bertie.inference.search_index import FORM
from bertie.metrics.retrieval import unit
from bertie.tasks.embedding import Embedding

_BLOCK_TEXTS, _BLOCK_QUERIES = 16384, 64


@dataclass(frozen=True)
class Hit:
    """A text found by a search."""

    score: float
    """Cosine of its vector with the query's."""
    number: int
    """Index among the texts, from 0."""


def embed(predictor: Predictor[Any], texts: Sequence[str], *, bar: progress.Bar | None = None) -> NDArray[np.float32]:
    """Return the vectors of texts, scaled to length 1.

    Args:
        predictor: with the task `Embedding`.
        texts: any number.
        bar: advanced by the number of texts done.

    Returns:
        (N, H) vectors.
    """
    vectors = np.empty((len(texts), predictor.bundle.config.hidden_size), np.float32)
    for number, prediction in enumerate(predictor.stream(texts, bar=bar)):
        vectors[number] = unit(prediction.vector)
    return vectors


def nearest(vectors: NDArray[np.float32], queries: NDArray[np.float32], top_k: int) -> list[list[Hit]]:
    """Return the texts with the largest dot products for each query, best first. On ties the earlier text comes first.

    Args:
        vectors: (N, H) of the texts.
        queries: (Q, H).
        top_k: maximum number of hits for each query.

    Raises:
        SettingsError: top_k is below 1.
    """
    if top_k < 1:
        raise SettingsError(f"top_k must be at least 1; got {top_k}")
    hits: list[list[Hit]] = []
    for first in range(0, len(queries), _BLOCK_QUERIES):
        group = queries[first : first + _BLOCK_QUERIES]
        best: list[tuple[NDArray[Any], NDArray[Any]]] = [
            (np.empty(0, np.float32), np.empty(0, np.int64)) for _ in group
        ]
        for start in range(0, len(vectors), _BLOCK_TEXTS):
            scores = group @ vectors[start : start + _BLOCK_TEXTS].T  # (queries, texts) of the block
            numbers = np.arange(start, start + scores.shape[1])
            best = [_best(*pair, row, numbers, top_k) for pair, row in zip(best, scores, strict=True)]
        hits += [
            [Hit(float(score), int(number)) for score, number in zip(scores, numbers, strict=True)]
            for scores, numbers in best
        ]
    return hits


def _best(
    old_scores: NDArray[Any], old_numbers: NDArray[Any], scores: NDArray[Any], numbers: NDArray[Any], top_k: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Merge the scores of a block into the best scores so far, best first."""
    scores, numbers = np.concatenate([old_scores, scores]), np.concatenate([old_numbers, numbers])
    kept = np.arange(len(scores))
    if len(scores) > top_k:
        kept = np.flatnonzero(scores >= np.partition(scores, -top_k)[-top_k])
    kept = kept[np.argsort(-scores[kept], kind="stable")][:top_k]
    return scores[kept], numbers[kept]


def fingerprint(predictor: Predictor) -> str:
    """Return a hash of weights, tokenizer, task, settings and precision: all that decides a text's vector."""
    digest = hashlib.sha256(f"{predictor.task!r} {predictor.precision} {predictor.tokenizer.fingerprint}".encode())
    model: Any = predictor.bundle.model
    digest.update(getattr(model, "digest", "").encode())  # of an exported graph
    for name, value in sorted(model.state_dict().items()) if hasattr(model, "state_dict") else ():
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()


def origin_of(predictor: Predictor, file: Path, columns: Mapping[str, str] | None) -> dict[str, str]:
    """Return the origin of an index's vectors: hashes of model and file, and the columns of the file.

    Raises:
        SettingsError: the model's task is not embedding.
    """
    task = predictor.task
    if not isinstance(task, Embedding):
        raise SettingsError(f"search needs a model with the task embedding; this model is loaded for {task.name}")
    return {
        "form": FORM,
        "model": fingerprint(predictor),
        "file": sha256_file(file),
        "columns": json.dumps(dict(sorted((columns or {}).items()))),
    }
