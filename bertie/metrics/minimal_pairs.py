"""Minimal pairs: how often a model gives the higher score to the right one of two sentences. Pure functions.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Group = TypeVar("Group", bound=Hashable)


def preferred(good: ArrayLike, bad: ArrayLike) -> NDArray[np.bool_]:
    """Return for each pair whether the good sentence has the higher score: (P,). A tie or a NaN is wrong.

    Args:
        good: (P,) scores of the acceptable sentences.
        bad: (P,) scores of the unacceptable sentences.
    """
    right: NDArray[np.bool_] = np.asarray(good, np.float64) > np.asarray(bad, np.float64)
    return right


def by_group(right: ArrayLike, groups: Sequence[Group]) -> dict[Group, tuple[float, int]]:
    """Return accuracy and number of pairs of each group, in the order of their first pairs.

    Args:
        right: (P,) as returned by `preferred`.
        groups: the group of each pair.
    """
    counts: dict[Group, list[int]] = {}
    for one, group in zip(np.asarray(right, np.bool_).tolist(), groups, strict=True):
        count = counts.setdefault(group, [0, 0])
        count[0] += one
        count[1] += 1
    return {group: (num_right / total, total) for group, (num_right, total) in counts.items()}
