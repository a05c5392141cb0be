"""Entities of tagged words by the rules of the CoNLL shared tasks, with their precision, recall and F1.

A tag is O, or a position and a type, such as B-PER. For any sequence of B, I and O, even one that no scheme allows,
entities are those of the tasks' official script: one begins at every B, and at every I after O or after another type.
The other positions of BIOES, BMES and BILOU are read as these schemes define them. Here the script differs: it is
written for other schemes, and joins two neighbouring S of one type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OUTSIDE = "O"
"""The tag of a word outside of all entities."""
_BEGINS, _CONTINUES, _ENDS = frozenset("BSU"), frozenset("IMEL"), frozenset("SUEL")


class Entity(NamedTuple):
    """A run of words of one type."""

    label: str
    """The type."""
    start: int
    """Index of the first word."""
    end: int
    """Index after the last word."""


def entities(tags: Sequence[str]) -> list[Entity]:
    """Return the entities in the tags of a sentence, in order. A tag with an unknown position counts as O.

    >>> entities(["B-PER", "I-PER", "O", "B-LOC"])
    [Entity(label='PER', start=0, end=2), Entity(label='LOC', start=3, end=4)]
    """
    complete: list[Entity] = []
    label, start = None, 0  # of the entity that is open
    for index, tag in enumerate(tags):
        position, _, tag_label = tag.partition("-")
        continues = position in _CONTINUES and tag_label == label
        if label is not None and not continues:
            complete.append(Entity(label, start, index))
            label = None
        if label is None and (position in _BEGINS or position in _CONTINUES):
            label, start = tag_label, index
        if label is not None and position in _ENDS:
            complete.append(Entity(label, start, index + 1))
            label = None
    if label is not None:
        complete.append(Entity(label, start, len(tags)))
    return complete


def entity_scores(gold: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]) -> dict[str, float]:
    """Return F1, precision and recall of all entities together, and the share of right tags.

    An entity is right if its type and both ends are. A ratio is 0 if its denominator is 0.
    """
    return _scored(*_totals(gold, guesses))


def entity_rescorer(
    gold: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]
) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """Count the entities of each sentence once, and return a function that scores a selection of sentences.

    The function takes indices of sentences and returns their `entity_scores`.
    """
    counts = np.array([_totals([true], [guessed]) for true, guessed in zip(gold, guesses, strict=True)], dtype=np.int64)
    return lambda indices: _scored(*(int(total) for total in counts[indices].sum(0)))


def _totals(gold: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]) -> tuple[int, int, int, int, int]:
    """Count the right, the predicted and the gold entities, the right tags, and all tags."""
    right, predicted, support = _counts(map(entities, gold), map(entities, guesses))
    equal = sum(a == b for pair in zip(gold, guesses, strict=True) for a, b in zip(*pair, strict=True))
    return right.total(), predicted.total(), support.total(), equal, sum(map(len, gold))


def _scored(right: int, predicted: int, support: int, equal: int, tags: int) -> dict[str, float]:
    return {**_rates(right, predicted, support), "accuracy": equal / max(1, tags)}


def entity_scores_by_type(
    gold: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Return the scores of each type that occurs in `gold` or `guesses`; `support` counts its gold entities."""
    return span_scores_by_label([*map(entities, gold)], [*map(entities, guesses)])


def span_scores(gold: Sequence[Sequence[Entity]], guesses: Sequence[Sequence[Entity]]) -> dict[str, float]:
    """Return F1, precision and recall of all spans together, which may overlap.

    A span is right if its label and both ends are. A ratio is 0 if its denominator is 0.
    """
    return _rates(*(counts.total() for counts in _counts(gold, guesses)))


def span_rescorer(
    gold: Sequence[Sequence[Entity]], guesses: Sequence[Sequence[Entity]]
) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """Count the spans of each text once, and return a function from indices of texts to their `span_scores`."""
    counts = np.array(
        [[one.total() for one in _counts([true], [guess])] for true, guess in zip(gold, guesses, strict=True)], np.int64
    )
    return lambda indices: _rates(*(int(total) for total in counts[indices].sum(0)))


def span_scores_by_label(
    gold: Sequence[Sequence[Entity]], guesses: Sequence[Sequence[Entity]]
) -> dict[str, dict[str, float]]:
    """Return the scores of each label that occurs in `gold` or `guesses`; `support` counts its gold spans."""
    right, predicted, support = _counts(gold, guesses)
    table = {}
    for label in sorted(predicted | support):
        rates = _rates(right[label], predicted[label], support[label])
        # in the order of `per_class`
        table[label] = {name: rates[name] for name in ("precision", "recall", "f1")} | {"support": int(support[label])}
    return table


def _counts(
    gold: Iterable[Sequence[Entity]], guesses: Iterable[Sequence[Entity]]
) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Count the right, the predicted and the gold entities of each type."""
    right: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    support: Counter[str] = Counter()
    for true, guessed in zip(gold, guesses, strict=True):
        support.update(entity.label for entity in true)
        predicted.update(entity.label for entity in guessed)
        right.update(entity.label for entity in set(true) & set(guessed))
    return right, predicted, support


def _rates(right: int, predicted: int, support: int) -> dict[str, float]:
    return {
        "f1": 2 * right / (predicted + support) if predicted + support else 0.0,
        "precision": right / predicted if predicted else 0.0,
        "recall": right / support if support else 0.0,
    }
