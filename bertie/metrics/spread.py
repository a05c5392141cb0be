"""The scores of several runs in one figure: mean, standard deviation, and an interval around the mean.

The interval is Student's t-interval, which assumes that scores over seeds have a normal distribution. The file is pure
Python, so that a table of three seeds needs no other package.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.95
"""Probability that such an interval contains the mean over all seeds."""


@dataclass(frozen=True)
class Spread:
    """The scores of several runs in one figure."""

    count: int
    """Number of runs."""
    mean: float
    """Mean score; NaN if the score of a run isn't finite."""
    deviation: float | None = None
    """Standard deviation of a sample (n - 1); None for a single run."""
    low: float | None = None
    """Lower end of the interval around the mean; None for a single run."""
    high: float | None = None
    """Upper end."""


def spread_of(scores: Sequence[float]) -> Spread:
    """Return mean, standard deviation and the 95 % t-interval of the mean.

    Args:
        scores: one per run, at least one.
    """
    if not all(map(math.isfinite, scores)):
        return Spread(len(scores), math.nan)
    middle = mean(scores)
    if len(scores) < 2:
        return Spread(len(scores), middle)
    around = deviation(scores)
    reach = t_quantile(len(scores) - 1) * around / math.sqrt(len(scores))
    return Spread(len(scores), middle, around, middle - reach, middle + reach)


def mean(scores: Sequence[float]) -> float:
    """Return the mean of a sample."""
    return math.fsum(scores) / len(scores)


def deviation(scores: Sequence[float]) -> float:
    """Return the standard deviation of a sample, with n - 1 in the denominator; 0 for a single score."""
    if len(scores) < 2:
        return 0.0
    middle = mean(scores)
    return math.hypot(*(value - middle for value in scores)) / math.sqrt(len(scores) - 1)


def t_quantile(freedom: int, *, level: float = LEVEL) -> float:
    """Return the t for which `level` of Student's t distribution is between -t and t.

    For integer degrees of freedom n, that probability is a finite sum of powers of the cosine of atan(t / sqrt(n))
    (Abramowitz and Stegun, 26.7.3 and 26.7.4). It grows with the angle, so bisection finds the angle.

    Args:
        freedom: degrees of freedom, at least 1.
        level: probability, between 0 and 1.
    """
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _share_within(middle, freedom) < level else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _share_within(angle: float, freedom: int) -> float:
    odd = freedom % 2
    cosine, sine = math.cos(angle), math.sin(angle)
    if odd and freedom == 1:
        return 2 * angle / math.pi
    term = total = cosine if odd else 1.0
    for power in range(2 + odd, freedom - 1, 2):
        term *= (power - 1) / power * cosine * cosine
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
