"""Scores of predicted numbers as pure functions; numpy only, as what `finetune` prints needs no further package."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pearson(gold: ArrayLike, guesses: ArrayLike) -> float:
    """Linear correlation, -1 to 1; 0 where either side never varies."""
    a, b = np.asarray(gold, np.float64), np.asarray(guesses, np.float64)
    a, b = a - a.mean(), b - b.mean()
    below = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / below) if below > 0 else 0.0


def spearman(gold: ArrayLike, guesses: ArrayLike) -> float:
    """Correlation of ranks, equal values sharing their mean rank."""
    return pearson(ranks(gold), ranks(guesses))


def ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Rank values from 1 on; equal ones share the mean of their ranks."""
    _, place, counts = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    means: NDArray[np.float64] = (ends - (counts - 1) / 2)[place.reshape(-1)]
    return means


def mean_squared_error(gold: ArrayLike, guesses: ArrayLike) -> float:
    """Mean of the squared differences."""
    return float(np.mean((np.asarray(gold, np.float64) - np.asarray(guesses, np.float64)) ** 2))
