"""Compare two models on the same rows: the difference of their scores, its 95 % interval, and p. Pure functions.

Predictions that are right or wrong are compared by McNemar's exact test and the interval of Bonett and Price (2012),
which agrees with it. Other scores are compared by the paired bootstrap: rows are drawn with replacement, the same rows
for both models. The means over several seeds of each model are compared by Welch's t-test. scipy is imported only by
the functions that need it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import missing_extra

LEVEL = 0.95
_Z = 1.959963984540054  # quantile of the normal distribution for LEVEL

Scorer = Callable[[NDArray[np.int64]], dict[str, float]]
"""(indices of rows, which may repeat) -> scores of these rows."""


@dataclass(frozen=True)
class Difference:
    """One score of two models on the same rows."""

    first: float
    second: float
    low: float
    """Lower end of the interval around `difference`."""
    high: float
    p: float
    """Probability of a difference at least as large if the models are equally good."""
    test: str
    """The statistical test that gave p."""

    @property
    def difference(self) -> float:
        """The first model's score minus the second's."""
        return self.first - self.second

    @property
    def is_significant(self) -> bool:
        """Whether the difference is significant: p below 0.05, and 0 outside the interval."""
        return self.p < 1.0 - LEVEL and not self.low <= 0.0 <= self.high


def require() -> Any:
    """Return scipy.stats.

    Raises:
        SettingsError: scipy isn't installed.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise missing_extra("scipy", "eval", "to compare two models") from error
    return stats


def mcnemar(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare predictions that are right (1) or wrong (0).

    Args:
        first: credits of the first model, one per row.
        second: credits of the second model.
    """
    a, b = np.asarray(first) > 0.5, np.asarray(second) > 0.5
    count, only_first, only_second = len(a), int((a & ~b).sum()), int((~a & b).sum())
    differing = only_first + only_second
    p = float(require().binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    # Bonett and Price: Wald's interval, with one row added to each of the two counts.
    shares = (only_first + 1) / (count + 2), (only_second + 1) / (count + 2)
    middle = shares[0] - shares[1]
    reach = _Z * math.sqrt(max(0.0, sum(shares) - middle**2) / (count + 2))
    low, high = max(-1.0, middle - reach), min(1.0, middle + reach)
    return Difference(float(a.mean()), float(b.mean()), low, high, p, "McNemar's exact test")


def bootstrap(
    first: Sequence[Scorer],
    second: Sequence[Scorer],
    num_rows: int,
    *,
    seed: int,
    resamples: int,
    step: Callable[[], None] = lambda: None,
) -> dict[str, Difference]:
    """Compare scores of any kind. If a model has several runs, its score is the mean over the runs.

    The interval reaches from the 2.5th to the 97.5th percentile of the differences in the samples. p is twice the share
    of samples in which the difference has the opposite sign or is 0.

    Args:
        first: a scorer for each run of the first model.
        second: a scorer for each run of the second model.
        num_rows: number of rows.
        seed: decides the samples.
        resamples: number of samples.
        step: called after each sample.
    """
    whole = np.arange(num_rows)
    at_all = _means(first, whole), _means(second, whole)
    names = [name for name in at_all[0] if name in at_all[1]]
    draw = np.random.default_rng(seed)
    samples = np.zeros((resamples, len(names)))
    for row in samples:
        indices = draw.integers(0, num_rows, num_rows)
        ours, theirs = _means(first, indices), _means(second, indices)
        row[:] = [ours.get(name, math.nan) - theirs.get(name, math.nan) for name in names]
        step()
    test = f"paired bootstrap of {resamples:,} samples"
    differences = {}
    for name, column in zip(names, samples.T, strict=True):
        known = column[np.isfinite(column)]  # a sample may lack the rows of a score, such as unanswerable questions
        pair = at_all[0][name], at_all[1][name]
        if not len(known) or not all(map(math.isfinite, pair)):
            differences[name] = Difference(*pair, math.nan, math.nan, 1.0, test)
            continue
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        tail = min(int((known <= 0).sum()), int((known >= 0).sum()))
        differences[name] = Difference(
            *pair, float(low), float(high), min(1.0, 2 * (tail + 1) / (len(known) + 1)), test
        )
    return differences


def _means(scorers: Sequence[Scorer], indices: NDArray[np.int64]) -> dict[str, float]:
    scores = [scorer(indices) for scorer in scorers]
    return {
        name: sum(one[name] for one in scores) / len(scores) for name in scores[0] if all(name in one for one in scores)
    }


def welch(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare the scores of several runs of each model, measured on the same rows.

    Args:
        first: scores of the first model, one per run, at least two.
        second: scores of the second model.
    """
    means = float(np.mean(first)), float(np.mean(second))
    if np.ptp(first) == 0 and np.ptp(second) == 0:  # the test would divide by 0
        gap = means[0] - means[1]
        return Difference(*means, gap, gap, 1.0 if gap == 0 else 0.0, "Welch's t-test over the runs")
    result = require().ttest_ind(first, second, equal_var=False)
    ends = result.confidence_interval(LEVEL)
    return Difference(*means, float(ends.low), float(ends.high), float(result.pvalue), "Welch's t-test over the runs")
