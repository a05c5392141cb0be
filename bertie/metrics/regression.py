"""Scores of predicted numbers: pure functions. They need only numpy, because `finetune` prints them by default."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pearson(gold: ArrayLike, guesses: ArrayLike) -> float:
    """Return the linear correlation, -1 to 1; 0 if either side is constant."""
    a, b = np.asarray(gold, np.float64), np.asarray(guesses, np.float64)
    a, b = a - a.mean(), b - b.mean()
    below = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / below) if below > 0 else 0.0


def spearman(gold: ArrayLike, guesses: ArrayLike) -> float:
    """Return the correlation of ranks. Equal values have their mean rank."""
    return pearson(ranks(gold), ranks(guesses))


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Return the ranks of values, from 1. Equal values have their mean rank.

    >>> ranks([20, 10, 20]).tolist()
    [2.5, 1.0, 2.5]
    """
    _, index, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: NDArray[np.float64] = (ends - (counts - 1) / 2)[index.reshape(-1)]
    return means


def mean_squared_error(gold: ArrayLike, guesses: ArrayLike) -> float:
    """Return the mean of the squared differences."""
    return float(np.mean((np.asarray(gold, np.float64) - np.asarray(guesses, np.float64)) ** 2))
