"""Scores of our own against scikit-learn's and scipy's, on random and degenerate inputs."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.metrics.classification import accuracy, best_threshold, macro_f1, matthews, multi_label, per_class
from bertie.metrics.regression import mean_squared_error, pearson, ranks, spearman

sklearn: Any = pytest.importorskip("sklearn.metrics")
stats: Any = pytest.importorskip("scipy.stats")
LABELS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=40)
NUMBERS = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=3, max_size=40)


@given(LABELS)
def test_classification(pairs: list[tuple[str, str]]) -> None:
    gold, guesses = [a for a, _ in pairs], [b for _, b in pairs]
    assert accuracy(gold, guesses) == pytest.approx(sklearn.accuracy_score(gold, guesses))
    assert macro_f1(gold, guesses) == pytest.approx(sklearn.f1_score(gold, guesses, average="macro", zero_division=0))
    labels = sorted({*gold, *guesses})
    if len(labels) > 1:  # of a single label there is a warning, and 0
        assert matthews(gold, guesses) == pytest.approx(sklearn.matthews_corrcoef(gold, guesses), abs=1e-12)
    expected = sklearn.precision_recall_fscore_support(gold, guesses, labels=labels, zero_division=0)
    for place, label in enumerate(labels):
        found = per_class(gold, guesses, labels)[label]
        assert [found[name] for name in ("precision", "recall", "f1", "support")] == pytest.approx(
            [float(part[place]) for part in expected]
        )


@given(NUMBERS)
def test_regression(pairs: list[tuple[int, int]]) -> None:
    gold, guesses = [a for a, _ in pairs], [b for _, b in pairs]
    assert ranks(gold).tolist() == stats.rankdata(gold).tolist()
    assert mean_squared_error(gold, guesses) == pytest.approx(sklearn.mean_squared_error(gold, guesses))
    if len(set(gold)) > 1 and len(set(guesses)) > 1:
        assert pearson(gold, guesses) == pytest.approx(float(stats.pearsonr(gold, guesses)[0]), abs=1e-12)
        assert spearman(gold, guesses) == pytest.approx(float(stats.spearmanr(gold, guesses)[0]), abs=1e-12)
    else:
        assert pearson(gold, guesses) == 0.0


@given(st.integers(0, 2**32 - 1))
def test_several_labels_and_their_threshold(seed: int) -> None:
    random = np.random.default_rng(seed)
    gold, shares = random.random((12, 3)) < 0.4, random.integers(0, 8, (12, 3)) / 8
    guesses = shares >= 0.5
    found = multi_label(gold, guesses)
    assert found["micro_f1"] == pytest.approx(sklearn.f1_score(gold, guesses, average="micro", zero_division=0))
    assert found["macro_f1"] == pytest.approx(sklearn.f1_score(gold, guesses, average="macro", zero_division=0))
    assert found["accuracy"] == pytest.approx(sklearn.accuracy_score(gold, guesses))
    best = multi_label(gold, shares >= best_threshold(gold, shares))["micro_f1"]
    assert best >= max(multi_label(gold, shares >= cut)["micro_f1"] for cut in np.arange(1, 9) / 8) - 1e-12
