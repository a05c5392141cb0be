"""Scores of classifiers as pure functions over gold and guessed labels; numpy only.

What `finetune` prints by default needs no further package; the statistics of published results live elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

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
            "support": float(there[n]),
        }
        for n, label in enumerate(labels)
    }


def macro_f1(gold: Sequence[str], guesses: Sequence[str]) -> float:
    """Mean F1 over the labels that occur in gold or guesses."""
    labels = sorted({*gold, *guesses})
    table = per_class(gold, guesses, labels)
    return sum(row["f1"] for row in table.values()) / max(1, len(labels))
