"""Compare two models, or several runs of each, on the same labelled rows: by how much, how surely, and on which rows.

A task may have a method `rescorer(predictions, items)` that returns a function from places to what `score` says of the
rows there, faster than scoring them anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bertie.errors import DataError, SettingsError
from bertie.metrics.paired import Difference, Scorer, bootstrap, mcnemar, welch
from bertie.tasks.task import Judgement, Task

RESAMPLES = 1000
MOST_ROWS = 20
"""Rows of either kind that are kept to look at."""


@dataclass(frozen=True)
class Side:
    """What one of the two said, by one run or several."""

    name: str
    task: Task
    predictions: Sequence[Sequence[Any]]
    """Of each run one a row."""


@dataclass(frozen=True)
class Row:
    """A row on which the two differ."""

    number: int
    """Its place among the items, from 0."""
    gold: str
    first: str
    """The first model's answer in words; of several runs the one most often given."""
    second: str
    gain: float
    """The first model's credit less the second's."""


@dataclass(frozen=True)
class Comparison:
    """What was found."""

    main: str
    """The score that says which model is better."""
    differences: dict[str, Difference]
    """Of every score, over the rows."""
    over_runs: Difference | None = None
    """Of the main score over the runs, where both sides have several."""
    first_alone: list[Row] = field(default_factory=list)
    """Rows that the first model answers better, the clearest first."""
    second_alone: list[Row] = field(default_factory=list)
    num_first: int = 0
    """Rows that the first model answers better, in all."""
    num_second: int = 0

    @property
    def told(self) -> bool:
        """Whether the two can be told apart on these rows and, where there are several runs, over the runs too."""
        return self.differences[self.main].told and (self.over_runs is None or self.over_runs.told)


def check_alike(first: Task, second: Task, names: tuple[str, str]) -> None:
    """Refuse models that can't be compared.

    Raises:
        SettingsError: other tasks, or other labels.
    """
    if type(first) is not type(second):
        raise SettingsError(
            f"{names[0]} does {first.name} and {names[1]} does {second.name}: only models of one task can be compared"
        )
    for key in ("labels", "multi_label"):
        ours, theirs = getattr(first, key, None), getattr(second, key, None)
        if isinstance(ours, tuple) and isinstance(theirs, tuple):
            ours, theirs = tuple(sorted(ours)), tuple(sorted(theirs))
        if ours != theirs:
            raise SettingsError(
                f"{names[0]} has {key} {_listed(ours)} and {names[1]} {_listed(theirs)}: only models of the same "
                "labels can be compared"
            )


def compare(
    first: Side, second: Side, items: Sequence[Any], *, seed: int = 0, step: Callable[[], None] = lambda: None
) -> Comparison:
    """Compare what two sides said of labelled rows.

    Args:
        first: the one that is asked about.
        second: the one it is held against.
        items: the rows.
        seed: of the samples of rows.
        step: is called after each of `RESAMPLES` samples.

    Raises:
        DataError: rows that aren't scored one by one.
    """
    ours, theirs = ([_scorer(side.task, run, items) for run in side.predictions] for side in (first, second))
    differences = bootstrap(ours, theirs, len(items), seed=seed, resamples=RESAMPLES, step=step)
    if not differences:
        raise DataError(f"{first.task.name} has no score of labelled rows, so there is nothing to compare")
    criterion = first.task.criterion
    main = criterion if criterion in differences else next(iter(differences))
    judged = [[_judged(side.task, run, items) for run in side.predictions] for side in (first, second)]
    are_judged = all(run for side in judged for run in side)
    over_runs = None
    if len(ours) == len(theirs) == 1:
        worth = [[one.credit for one in side[0]] for side in judged]
        if are_judged and _is_right_or_wrong(worth[0], worth[1], differences[main]):
            differences = {**differences, main: mcnemar(worth[0], worth[1])}
    elif min(len(ours), len(theirs)) > 1:
        places = np.arange(len(items))
        over_runs = welch([scorer(places)[main] for scorer in ours], [scorer(places)[main] for scorer in theirs])
    better, worse = _rows(judged[0], judged[1]) if are_judged else ([], [])
    return Comparison(main, differences, over_runs, better[:MOST_ROWS], worse[:MOST_ROWS], len(better), len(worse))


def _scorer(task: Task, predictions: Sequence[Any], items: Sequence[Any]) -> Scorer:
    """Return what scores the rows at some places."""
    if faster := getattr(task, "rescorer", None):
        found: Scorer | None = faster(predictions, items)
        if found is not None:
            return found
    return lambda places: task.score([predictions[place] for place in places], [items[place] for place in places])


def _judged(task: Task, predictions: Sequence[Any], items: Sequence[Any]) -> list[Judgement]:
    """Judge every row; nothing for a task that judges none."""
    found = [task.judge(*both) for both in zip(predictions, items, strict=True)]
    return [one for one in found if one is not None] if all(one is not None for one in found) else []


def _is_right_or_wrong(first: Sequence[float], second: Sequence[float], main: Difference) -> bool:
    """Tell whether the main score is the share of right answers."""
    means = sum(first) / len(first), sum(second) / len(second)
    same = abs(means[0] - main.first) < 1e-9 and abs(means[1] - main.second) < 1e-9
    return same and {*first, *second} <= {0.0, 1.0}


def _rows(first: Sequence[Sequence[Judgement]], second: Sequence[Sequence[Judgement]]) -> tuple[list[Row], list[Row]]:
    """Return the rows that the first side answers better, and those of the second."""
    found = []
    for number in range(len(first[0])):
        ours, theirs = [run[number] for run in first], [run[number] for run in second]
        gain = sum(one.credit for one in ours) / len(ours) - sum(one.credit for one in theirs) / len(theirs)
        if gain:
            found.append(Row(number, ours[0].gold, _most_said(ours), _most_said(theirs), gain))
    found.sort(key=lambda row: -abs(row.gain))  # stable: equal ones stay in the file's order
    return [row for row in found if row.gain > 0], [row for row in found if row.gain < 0]


def _most_said(judged: Sequence[Judgement]) -> str:
    return Counter(one.guess for one in judged).most_common(1)[0][0]


def _listed(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    shown = ", ".join(map(str, value[:8]))
    return f"{shown} and {len(value) - 8} more" if len(value) > 8 else shown or "none"
