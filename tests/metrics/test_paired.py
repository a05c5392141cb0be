"""Two models on the same rows: the tests against scipy and by hand, how often they find what is not there, and ends."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest

from bertie.errors import SettingsError
from bertie.metrics.paired import Difference, bootstrap, mcnemar, require, welch

stats: Any = pytest.importorskip("scipy.stats")


def credits_of(both: int, first: int, second: int, neither: int) -> tuple[list[float], list[float]]:
    a = [1.0] * (both + first) + [0.0] * (second + neither)
    b = [1.0] * both + [0.0] * first + [1.0] * second + [0.0] * neither
    return a, b


def test_mcnemar_by_hand() -> None:
    found = mcnemar(*credits_of(70, 12, 3, 15))
    assert found.difference == pytest.approx(0.09) and (found.first, found.second) == (0.82, 0.73)
    # Twice the chance of at most 3 heads in 15 throws.
    assert found.p == pytest.approx(2 * (1 + 15 + 105 + 455) / 2**15)
    middle = 9 / 102
    reach = 1.959964 * ((17 / 102 - middle**2) / 102) ** 0.5
    assert (found.low, found.high) == pytest.approx((middle - reach, middle + reach), rel=1e-5)
    assert found.is_significant and found.low <= found.difference <= found.high


@pytest.mark.parametrize("counts", [(50, 0, 0, 50), (0, 0, 0, 5), (5, 0, 0, 0), (0, 1, 1, 0), (40, 3, 0, 7)])
def test_nothing_is_told_where_little_differs(counts: tuple[int, int, int, int]) -> None:
    found = mcnemar(*credits_of(*counts))
    assert not found.is_significant
    assert -1 <= found.low <= found.difference <= found.high <= 1


@pytest.mark.parametrize("first", range(0, 40, 3))
@pytest.mark.parametrize("second", [0, 1, 4, 10])
def test_the_interval_agrees_with_p(first: int, second: int) -> None:
    """Both sides of the 5 % line, but for a narrow strip around it."""
    found = mcnemar(*credits_of(300, first, second, 100))
    if found.p < 0.03 or found.p > 0.10:
        assert (found.p < 0.05) == (not found.low <= 0.0 <= found.high)


def mean_of(values: list[float]) -> Any:
    array = np.array(values)
    return lambda places: {"mean": float(array[places].mean()), "worst": float(array[places].min())}


def test_the_bootstrap_of_means_is_nearly_the_t_test() -> None:
    draw = np.random.default_rng(0)
    shared = draw.normal(size=400)
    first, second = shared + 0.1 + draw.normal(scale=0.5, size=400), shared + draw.normal(scale=0.5, size=400)
    steps: list[int] = []
    ours, theirs = [mean_of(first.tolist())], [mean_of(second.tolist())]
    found = bootstrap(ours, theirs, 400, seed=0, resamples=2000, step=lambda: steps.append(1))
    paired = stats.ttest_rel(first, second)
    ends = paired.confidence_interval(0.95)
    assert (found["mean"].low, found["mean"].high) == pytest.approx((ends.low, ends.high), abs=0.01)
    assert found["mean"].p == pytest.approx(paired.pvalue, abs=0.02) and len(steps) == 2000
    assert found.keys() == {"mean", "worst"}
    again = bootstrap(ours, theirs, 400, seed=0, resamples=2000)
    assert again == found != bootstrap(ours, theirs, 400, seed=1, resamples=2000)


def test_equal_models_are_rarely_told_apart() -> None:
    draw = np.random.default_rng(3)
    told = 0
    for number in range(60):
        a, b = (draw.random(120) < 0.7).astype(float), (draw.random(120) < 0.7).astype(float)
        found = bootstrap([mean_of(a.tolist())], [mean_of(b.tolist())], 120, seed=number, resamples=200)
        told += found["mean"].is_significant
    assert told <= 8  # 3 are expected


def test_several_runs_count_by_their_mean() -> None:
    runs = [[0.0, 1.0, 1.0, 1.0], [1.0, 1.0, 0.0, 1.0]]
    found = bootstrap([mean_of(run) for run in runs], [mean_of([0.0, 1.0, 0.0, 0.0])], 4, seed=0, resamples=50)
    assert (found["mean"].first, found["mean"].second) == (0.75, 0.25)


def test_a_score_that_a_sample_lacks() -> None:
    def sometimes(places: Any) -> dict[str, float]:
        return {"all": float(places.mean()), **({"some": 1.0} if 0 in places else {})}

    found = bootstrap([sometimes], [sometimes], 3, seed=0, resamples=100)
    assert found["some"].p == 1.0 and not found["some"].is_significant
    broken = bootstrap([lambda places: {"x": float("nan")}], [lambda places: {"x": 1.0}], 3, seed=0, resamples=10)
    assert not broken["x"].is_significant and broken["x"].p == 1.0


def test_welch_is_scipys() -> None:
    first, second = [0.81, 0.83, 0.82], [0.78, 0.79, 0.80, 0.77]
    found, known = welch(first, second), stats.ttest_ind(first, second, equal_var=False)
    assert found.p == pytest.approx(known.pvalue) and found.is_significant
    assert found.low <= found.difference <= found.high
    assert welch([0.5, 0.5], [0.5, 0.5]).p == 1.0 and not welch([0.5, 0.5], [0.5, 0.5]).is_significant
    assert welch([0.6, 0.6], [0.5, 0.5]).is_significant


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *words: Any, **rest: Any) -> Any:
        if name.partition(".")[0] == "scipy":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *words, **rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match=r"scipy is needed to compare two models; .*bertie\[eval\]"):
        require()


def test_told_needs_both() -> None:
    assert not Difference(0.6, 0.5, -0.01, 0.2, 0.04, "").is_significant
    assert not Difference(0.6, 0.5, 0.01, 0.2, 0.06, "").is_significant
    assert Difference(0.5, 0.6, -0.2, -0.01, 0.04, "").is_significant
