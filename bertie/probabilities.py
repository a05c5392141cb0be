"""Probabilities of logits, and the largest of them, in numpy: what decoding needs without torch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return the softmax over the last axis, which is not empty."""
    weights: NDArray[Any] = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return weights


def log_softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return the logarithms of the softmax over the last axis."""
    shifted: NDArray[Any] = logits - logits.max(-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(-1, keepdims=True))
    return shifted


def sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    """Return 1 / (1 + e^-x) of each number, without an overflow."""
    small = np.exp(-np.abs(logits))  # 0 to 1
    chances: NDArray[Any] = np.where(logits >= 0, 1.0, small) / (1.0 + small)
    return chances.astype(logits.dtype, copy=False)


def largest(values: NDArray[Any], count: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the largest values of each row and their columns, largest first; of equal ones the earlier first.

    Args:
        values: (R, V).
        count: number of values, at most V.

    Returns:
        Values and columns, (R, count) each.
    """
    if count < values.shape[1]:
        columns = np.sort(
            np.argpartition(values, values.shape[1] - count, axis=1)[:, values.shape[1] - count :], axis=1
        )
    else:
        columns = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    found = np.take_along_axis(values, columns, 1)
    order = np.argsort(-found, axis=1, kind="stable")
    return np.take_along_axis(found, order, 1), np.take_along_axis(columns, order, 1)
