"""Scores of classifiers: pure functions of gold labels and predictions.

They need only numpy, because `finetune` prints them by default. Statistics that compare models are in `paired.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray


def accuracy(gold: Sequence[str], guesses: Sequence[str]) -> float:
    """Return the share of right predictions, 0 to 1."""
    return sum(a == b for a, b in zip(gold, guesses, strict=True)) / max(1, len(gold))


def confusion(gold: Sequence[str], guesses: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """Return the (C, C) confusion matrix: row = gold label, column = prediction, both in the order of `labels`.

    Raises:
        ValueError: a gold label or prediction is not in `labels`.
    """
    index = {label: number for number, label in enumerate(labels)}
    unknown = {label for label in (*gold, *guesses) if label not in index}
    if unknown:
        raise ValueError(f"labels {sorted(unknown)} are not among {list(labels)}")
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts, ([index[label] for label in gold], [index[label] for label in guesses]), 1)
    return counts


def per_class(gold: Sequence[str], guesses: Sequence[str], labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return precision, recall, F1 and support of each label. A ratio is 0 if its denominator is 0."""
    counts = confusion(gold, guesses, labels)
    right, predicted, support = counts.diagonal(), counts.sum(0), counts.sum(1)
    return {
        label: {
            "precision": float(right[n] / predicted[n]) if predicted[n] else 0.0,
            "recall": float(right[n] / support[n]) if support[n] else 0.0,
            "f1": float(2 * right[n] / (predicted[n] + support[n])) if predicted[n] + support[n] else 0.0,
            "support": int(support[n]),
        }
        for n, label in enumerate(labels)
    }


def macro_f1(gold: Sequence[str], guesses: Sequence[str]) -> float:
    """Return the mean F1 over the labels that occur in `gold` or `guesses`."""
    labels = sorted({*gold, *guesses})
    table = per_class(gold, guesses, labels)
    return sum(row["f1"] for row in table.values()) / max(1, len(labels))


def tag_rescorer(
    gold: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]
) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """Count the tags of each sentence once, and return a function that scores a selection of sentences.

    The function takes indices of sentences and returns macro F1 and accuracy of their tags.
    """
    labels = sorted({tag for rows in (gold, guesses) for row in rows for tag in row})
    # (I, C, 3): how often each tag in each sentence is right, is predicted, and is gold.
    counts = np.zeros((len(gold), len(labels), 3), dtype=np.int64)
    for number, pair in enumerate(zip(gold, guesses, strict=True)):
        table = confusion(*pair, labels) if pair[0] else np.zeros((len(labels), len(labels)), dtype=np.int64)
        counts[number] = np.stack([table.diagonal(), table.sum(0), table.sum(1)], axis=1)

    def score(indices: NDArray[np.int64]) -> dict[str, float]:
        right, predicted, support = counts[indices].sum(0).T
        occurs = predicted + support > 0
        f1 = 2 * right[occurs] / (predicted + support)[occurs]
        mean = float(f1.mean()) if f1.size else 0.0
        return {"f1": mean, "accuracy": float(right.sum() / max(1, support.sum()))}

    return score


def matthews(gold: Sequence[str], guesses: Sequence[str]) -> float:
    """Return Matthews' correlation, -1 to 1, for any number of classes; 0 if either side has only one class.

    It is (right x total - sum over classes of gold x predicted) / sqrt(product over both sides of (total^2 - sum over
    classes of squared counts)).
    """
    counts = confusion(gold, guesses, sorted({*gold, *guesses})).astype(np.float64)
    total, predicted, support = counts.sum(), counts.sum(0), counts.sum(1)
    above = counts.trace() * total - predicted @ support
    below = (total**2 - predicted @ predicted) * (total**2 - support @ support)
    return float(above / np.sqrt(below)) if below > 0 else 0.0


def multi_label(gold: NDArray[np.bool_], guesses: NDArray[np.bool_]) -> dict[str, float]:
    """Score (I, C) decisions: micro F1 over all, macro F1 over classes, and the share of items with no wrong one."""
    both, predicted, support = (gold & guesses).sum(0), guesses.sum(0), gold.sum(0)
    by_class = [2 * right / (a + b) if a + b else 0.0 for right, a, b in zip(both, predicted, support, strict=True)]
    return {
        "micro_f1": float(2 * both.sum() / max(1, predicted.sum() + support.sum())),
        "macro_f1": float(np.mean(by_class)),
        "accuracy": float((gold == guesses).all(1).mean()),
    }


def best_threshold(gold: NDArray[np.bool_], shares: NDArray[np.float64], *, missed: int = 0) -> float:
    """Return the probability from which on a label should be predicted, for the best micro F1 over (I, C) decisions.

    The threshold is halfway between two probabilities that occur; 0.5 if no decision is gold. `missed` counts gold
    decisions that have no probability, so that no threshold finds them.
    """
    order = np.argsort(-shares.ravel(), kind="stable")
    ranked, right = shares.ravel()[order], gold.ravel()[order].cumsum()
    if not right.size or not right[-1]:
        return 0.5
    scores = 2 * right / (np.arange(1, right.size + 1) + right[-1] + missed)
    scores[:-1][ranked[:-1] == ranked[1:]] = -1.0  # a threshold can't separate equal probabilities
    last = int(scores.argmax())
    below = ranked[last + 1] if last + 1 < ranked.size else 0.0
    return float((ranked[last] + below) / 2)
