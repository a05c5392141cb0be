"""Entities of tagged words by the rules of the CoNLL shared tasks, with their precision, recall and F1.

A tag is O, or a position and a type: B-PER. For any sequence of B, I and O, also one that no scheme allows, entities
begin and end where the tasks' official script says: at every B, and at an I that follows O or another type. The further
positions of BIOES, BMES and BILOU mean what they say; the script, made for other schemes, joins two S of a type.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BEGINS, _GOES_ON, _ENDS = frozenset("BSU"), frozenset("IMEL"), frozenset("SUEL")


class Entity(NamedTuple):
    """A run of words of one type."""

    label: str
    """Its type."""
    start: int
    """First word."""
    end: int
    """The word after its last."""


def entities(tags: Sequence[str]) -> list[Entity]:
    """Read the entities off the tags of a sentence, in their order; a tag of no known position is outside of all."""
    found: list[Entity] = []
    label, start = None, 0  # of the entity that is open
    for place, tag in enumerate(tags):
        position, _, kind = tag.partition("-")
        goes_on = position in _GOES_ON and kind == label
        if label is not None and not goes_on:
            found.append(Entity(label, start, place))
            label = None
        if label is None and (position in _BEGINS or position in _GOES_ON):
            label, start = kind, place
        if label is not None and position in _ENDS:
            found.append(Entity(label, start, place + 1))
            label = None
    if label is not None:
        found.append(Entity(label, start, len(tags)))
    return found


def entity_scores(gold: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]) -> dict[str, float]:
    """Score the tags of sentences: F1, precision and recall of all entities together, and the share of right tags.

    An entity is right when its type and both its ends are; an empty denominator gives 0.
    """
    return _scored(*_totals(gold, guesses))


def entity_rescorer(
    gold: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]
) -> Callable[[NDArray[np.int64]], dict[str, float]]:
    """Return what `entity_scores` says of the sentences at some places, which are counted here once."""
    counts = np.array([_totals([true], [guessed]) for true, guessed in zip(gold, guesses, strict=True)], dtype=np.int64)
    return lambda places: _scored(*(int(total) for total in counts[places].sum(0)))


def _totals(gold: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]) -> tuple[int, int, int, int, int]:
    """Count the right, the guessed and the gold entities, the right tags, and all tags."""
    right, said, there = _counts(gold, guesses)
    equal = sum(a == b for pair in zip(gold, guesses, strict=True) for a, b in zip(*pair, strict=True))
    return right.total(), said.total(), there.total(), equal, sum(map(len, gold))


def _scored(right: int, said: int, there: int, equal: int, tags: int) -> dict[str, float]:
    return {**_rates(right, said, there), "accuracy": equal / max(1, tags)}


def entity_scores_by_type(
    gold: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Score the entities of each type that occurs in gold or guesses, with its `support`, the gold ones."""
    right, said, there = _counts(gold, guesses)
    table = {}
    for label in sorted(said | there):
        rates = _rates(right[label], said[label], there[label])
        # The order in which tables of classes have them.
        table[label] = {name: rates[name] for name in ("precision", "recall", "f1")} | {"support": int(there[label])}
    return table


def _counts(
    gold: Sequence[Sequence[str]], guesses: Sequence[Sequence[str]]
) -> tuple[Counter[str], Counter[str], Counter[str]]:
    """Count the right, the guessed and the gold entities of each type."""
    right: Counter[str] = Counter()
    said: Counter[str] = Counter()
    there: Counter[str] = Counter()
    for true_tags, guessed_tags in zip(gold, guesses, strict=True):
        true, guessed = entities(true_tags), entities(guessed_tags)
        there.update(entity.label for entity in true)
        said.update(entity.label for entity in guessed)
        right.update(entity.label for entity in set(true) & set(guessed))
    return right, said, there


def _rates(right: int, said: int, there: int) -> dict[str, float]:
    return {
        "f1": 2 * right / (said + there) if said + there else 0.0,
        "precision": right / said if said else 0.0,
        "recall": right / there if there else 0.0,
    }
