"""Scores of classifiers as pure functions over gold and guessed labels; numpy only.

What `finetune` prints by default needs no further package; the statistics of published results live elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray


def accuracy(gold: Sequence[str], guesses: Sequence[str]) -> float:
    """Share of right guesses, 0 to 1."""
    return sum(a == b for a, b in zip(gold, guesses, strict=True)) / max(1, len(gold))


def confusion(gold: Sequence[str], guesses: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """Count (C, C): row = gold label, column = guess, both in the order of `labels`.

    Raises:
        ValueError: a gold label or guess outside `labels`.
    """
    place = {label: number for number, label in enumerate(labels)}
    unknown = {label for label in (*gold, *guesses) if label not in place}
    if unknown:
        raise ValueError(f"labels {sorted(unknown)} are not among {list(labels)}")
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts, ([place[label] for label in gold], [place[label] for label in guesses]), 1)
    return counts


def per_class(gold: Sequence[str], guesses: Sequence[str], labels: Sequence[str]) -> dict[str, dict[str, float]]:
    """Work out precision, recall, F1 and support of each label; an empty denominator gives 0."""
    counts = confusion(gold, guesses, labels)
    right, said, there = counts.diagonal(), counts.sum(0), counts.sum(1)
    return {
        label: {
            "precision": float(right[n] / said[n]) if said[n] else 0.0,
            "recall": float(right[n] / there[n]) if there[n] else 0.0,
            "f1": float(2 * right[n] / (said[n] + there[n])) if said[n] + there[n] else 0.0,
            "support": int(there[n]),
        }
        for n, label in enumerate(labels)
    }


def macro_f1(gold: Sequence[str], guesses: Sequence[str]) -> float:
    """Mean F1 over the labels that occur in gold or guesses."""
    labels = sorted({*gold, *guesses})
    table = per_class(gold, guesses, labels)
    return sum(row["f1"] for row in table.values()) / max(1, len(labels))


def tag_rescorer(
    gold: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]
) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """Return what gives macro F1 and accuracy of the tags of the sentences at some places, counted here once."""
    labels = sorted({tag for rows in (gold, guesses) for row in rows for tag in row})
    # (I, C, 3): of every sentence and tag how often it is right, said and there.
    counts = np.zeros((len(gold), len(labels), 3), dtype=np.int64)
    for number, pair in enumerate(zip(gold, guesses, strict=True)):
        table = confusion(*pair, labels) if pair[0] else np.zeros((len(labels), len(labels)), dtype=np.int64)
        counts[number] = np.stack([table.diagonal(), table.sum(0), table.sum(1)], axis=1)

    def score(places: NDArray[np.int64]) -> dict[str, float]:
        right, said, there = counts[places].sum(0).T
        occurs = said + there > 0
        shares = 2 * right[occurs] / (said + there)[occurs]
        mean = float(shares.mean()) if shares.size else 0.0
        return {"f1": mean, "accuracy": float(right.sum() / max(1, there.sum()))}

    return score


def matthews(gold: Sequence[str], guesses: Sequence[str]) -> float:
    """Matthews' correlation of two labelings, -1 to 1, for any number of classes; 0 where either names one class only.

    (right x total - sum over classes of gold x guessed) / root of both products of (total^2 - sum of squares).
    """
    counts = confusion(gold, guesses, sorted({*gold, *guesses})).astype(np.float64)
    total, said, there = counts.sum(), counts.sum(0), counts.sum(1)
    above = counts.trace() * total - said @ there
    below = (total**2 - said @ said) * (total**2 - there @ there)
    return float(above / np.sqrt(below)) if below > 0 else 0.0


def multi_label(gold: NDArray[np.bool_], guesses: NDArray[np.bool_]) -> dict[str, float]:
    """Score (I, C) decisions: micro F1 over all of them, macro F1 over classes, and items that are right throughout."""
    both, said, there = (gold & guesses).sum(0), guesses.sum(0), gold.sum(0)
    by_class = [2 * right / (a + b) if a + b else 0.0 for right, a, b in zip(both, said, there, strict=True)]
    return {
        "micro_f1": float(2 * both.sum() / max(1, said.sum() + there.sum())),
        "macro_f1": float(np.mean(by_class)),
        "accuracy": float((gold == guesses).all(1).mean()),
    }


def best_threshold(gold: NDArray[np.bool_], shares: NDArray[np.float64]) -> float:
    """Find the probability from which on a label should be given, for the best micro F1 over (I, C) decisions.

    The threshold lies half-way between two probabilities that occur; 0.5 when nothing is gold.
    """
    order = np.argsort(-shares.ravel(), kind="stable")
    ranked, right = shares.ravel()[order], gold.ravel()[order].cumsum()
    if not right.size or not right[-1]:
        return 0.5
    scores = 2 * right / (np.arange(1, right.size + 1) + right[-1])
    scores[:-1][ranked[:-1] == ranked[1:]] = -1.0  # a cut can't part equal probabilities
    last = int(scores.argmax())
    below = ranked[last + 1] if last + 1 < ranked.size else 0.0
    return float((ranked[last] + below) / 2)
