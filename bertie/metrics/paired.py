"""Whether two models differ on the same rows, as pure functions: the difference, its 95 % interval, and p.

Answers that are right or wrong go through McNemar's exact test and the interval of Bonett and Price (2012), which
agrees with it. Any other score goes through the paired bootstrap: rows are drawn with replacement, the same ones for
both models. Over several seeds of each model Welch's t-test compares the means. scipy is imported where it is needed.
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
_Z = 1.959963984540054  # of the normal distribution, for LEVEL

Scorer = Callable[[NDArray[np.int64]], dict[str, float]]
"""Scores the rows at some places, which may come several times."""


@dataclass(frozen=True)
class Difference:
    """One score of two models on the same rows."""

    first: float
    second: float
    low: float
    """Lower end of the interval around `difference`."""
    high: float
    p: float
    """How often chance alone would part two equal models this far."""
    test: str
    """How that was worked out."""

    @property
    def difference(self) -> float:
        """The first model's score less the second's."""
        return self.first - self.second

    @property
    def told(self) -> bool:
        """Whether the two can be told apart: p below 0.05, and 0 outside of the interval."""
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
    """Compare answers that are right (1) or wrong (0).

    Args:
        first: credits of the first model, one a row.
        second: of the second.
    """
    a, b = np.asarray(first) > 0.5, np.asarray(second) > 0.5
    count, only_first, only_second = len(a), int((a & ~b).sum()), int((~a & b).sum())
    differing = only_first + only_second
    p = float(require().binomtest(only_first, differing, 0.5).pvalue) if differing else 1.0
    # Bonett and Price: Wald's interval after one row more was given to either side.
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
    """Compare scores of any kind; of several runs of a model the mean over the runs.

    The interval lies between the 2.5th and the 97.5th percentile of the differences in the samples. p is twice the
    share of samples in which the difference has the other sign or is 0.

    Args:
        first: scores rows by the runs of the first model.
        second: by those of the second.
        num_rows: rows there are.
        seed: of the samples.
        resamples: samples to draw.
        step: is called after each.
    """
    whole = np.arange(num_rows)
    at_all = _means(first, whole), _means(second, whole)
    names = [name for name in at_all[0] if name in at_all[1]]
    draw = np.random.default_rng(seed)
    found = np.zeros((resamples, len(names)))
    for row in found:
        places = draw.integers(0, num_rows, num_rows)
        ours, theirs = _means(first, places), _means(second, places)
        row[:] = [ours.get(name, math.nan) - theirs.get(name, math.nan) for name in names]
        step()
    test = f"paired bootstrap of {resamples:,} samples"
    differences = {}
    for name, column in zip(names, found.T, strict=True):
        known = column[np.isfinite(column)]  # a sample may lack what a score is about, such as unanswerable questions
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


def _means(scorers: Sequence[Scorer], places: NDArray[np.int64]) -> dict[str, float]:
    scores = [scorer(places) for scorer in scorers]
    return {
        name: sum(one[name] for one in scores) / len(scores) for name in scores[0] if all(name in one for one in scores)
    }


def welch(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare scores of several runs each, which were measured on the same rows.

    Args:
        first: one score a run, at least two.
        second: of the other model.
    """
    means = float(np.mean(first)), float(np.mean(second))
    if np.ptp(first) == 0 and np.ptp(second) == 0:  # no spread at all, which the test can't divide by
        apart = means[0] - means[1]
        return Difference(*means, apart, apart, 1.0 if apart == 0 else 0.0, "Welch's t-test over the runs")
    result = require().ttest_ind(first, second, equal_var=False)
    ends = result.confidence_interval(LEVEL)
    return Difference(*means, float(ends.low), float(ends.high), float(result.pvalue), "Welch's t-test over the runs")
