"""Compare two models, or several runs of each, on the same labelled rows: the difference, its certainty, and the rows.

A task may have a method `rescorer(predictions, items)`. It returns a function from row indices to the scores of these
rows, which is faster than calling `score` for each sample of rows.
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
"""Maximum number of rows kept for each side, to look at."""


@dataclass(frozen=True)
class Side:
    """The predictions of one of the two models, by one or several runs."""

    name: str
    task: Task
    predictions: Sequence[Sequence[Any]]
    """For each run, one prediction for each row."""


@dataclass(frozen=True)
class Row:
    """A row on which one model is better than the other."""

    number: int
    """Index among the items, from 0."""
    gold: str
    first: str
    """The first model's prediction as text; with several runs, the most frequent one."""
    second: str
    gain: float
    """The first model's credit minus the second's."""


@dataclass(frozen=True)
class Comparison:
    """The result of a comparison."""

    main: str
    """The score that decides which model is better."""
    differences: dict[str, Difference]
    """Difference of each score, over the rows."""
    over_runs: Difference | None = None
    """Difference of the main score over the runs; None unless both sides have several."""
    first_alone: list[Row] = field(default_factory=list)
    """Rows on which the first model is better, the largest gain first."""
    second_alone: list[Row] = field(default_factory=list)
    num_first: int = 0
    """Number of all rows on which the first model is better."""
    num_second: int = 0

    @property
    def is_significant(self) -> bool:
        """Whether the main score differs significantly over the rows and, with several runs, over the runs too."""
        return self.differences[self.main].is_significant and (self.over_runs is None or self.over_runs.is_significant)


def check_alike(first: Task, second: Task, names: tuple[str, str]) -> None:
    """Check that two models have the same task and the same labels.

    Raises:
        SettingsError: they haven't.
    """
    if type(first) is not type(second):
        raise SettingsError(
            f"the task of {names[0]} is {first.name}, that of {names[1]} {second.name}: only models of one task can be "
            "compared"
        )
    for key in ("labels", "multi_label"):
        ours, theirs = getattr(first, key, None), getattr(second, key, None)
        if isinstance(ours, tuple) and isinstance(theirs, tuple):
            ours, theirs = tuple(sorted(ours)), tuple(sorted(theirs))
        if ours != theirs:
            raise SettingsError(
                f"{names[0]} has {key} {_listed(ours)}, {names[1]} has {_listed(theirs)}: only models with the same "
                "labels can be compared"
            )


def compare(
    first: Side, second: Side, items: Sequence[Any], *, seed: int = 0, step: Callable[[], None] = lambda: None
) -> Comparison:
    """Compare the predictions of two sides for labelled rows.

    Args:
        first: the side of interest.
        second: the side it is compared with.
        items: the rows.
        seed: of the bootstrap samples.
        step: called after each of the `RESAMPLES` samples.

    Raises:
        DataError: the task has no score of labelled rows.
    """
    ours, theirs = ([_scorer(side.task, run, items) for run in side.predictions] for side in (first, second))
    differences = bootstrap(ours, theirs, len(items), seed=seed, resamples=RESAMPLES, step=step)
    if not differences:
        raise DataError(f"{first.task.name} has no score of labelled rows, so models can't be compared by it")
    criterion = first.task.criterion
    main = criterion if criterion in differences else next(iter(differences))
    judged = [[_judged(side.task, run, items) for run in side.predictions] for side in (first, second)]
    are_judged = all(run for side in judged for run in side)
    over_runs = None
    if len(ours) == len(theirs) == 1:
        marks = [[one.credit for one in side[0]] for side in judged]
        if are_judged and _is_accuracy(marks[0], marks[1], differences[main]):
            differences = {**differences, main: mcnemar(marks[0], marks[1])}
    elif min(len(ours), len(theirs)) > 1:
        every = np.arange(len(items))
        over_runs = welch([scorer(every)[main] for scorer in ours], [scorer(every)[main] for scorer in theirs])
    better, worse = _rows(judged[0], judged[1]) if are_judged else ([], [])
    return Comparison(main, differences, over_runs, better[:MOST_ROWS], worse[:MOST_ROWS], len(better), len(worse))


def _scorer(task: Task, predictions: Sequence[Any], items: Sequence[Any]) -> Scorer:
    """Return a function that scores the rows at given indices."""
    if make := getattr(task, "rescorer", None):
        rescorer: Scorer | None = make(predictions, items)
        if rescorer is not None:
            return rescorer
    return lambda indices: task.score([predictions[index] for index in indices], [items[index] for index in indices])


def _judged(task: Task, predictions: Sequence[Any], items: Sequence[Any]) -> list[Judgement]:
    """Return the judgement of each row; an empty list if the task doesn't judge every row."""
    judgements = [task.judge(*both) for both in zip(predictions, items, strict=True)]
    return [one for one in judgements if one is not None] if all(one is not None for one in judgements) else []


def _is_accuracy(first: Sequence[float], second: Sequence[float], main: Difference) -> bool:
    """Tell whether the main score is the accuracy: every credit is 0 or 1, and the score is their mean."""
    means = sum(first) / len(first), sum(second) / len(second)
    same = abs(means[0] - main.first) < 1e-9 and abs(means[1] - main.second) < 1e-9
    return same and {*first, *second} <= {0.0, 1.0}


def _rows(first: Sequence[Sequence[Judgement]], second: Sequence[Sequence[Judgement]]) -> tuple[list[Row], list[Row]]:
    """Return the rows on which the first side is better, and those on which the second is."""
    rows = []
    for number in range(len(first[0])):
        ours, theirs = [run[number] for run in first], [run[number] for run in second]
        gain = sum(one.credit for one in ours) / len(ours) - sum(one.credit for one in theirs) / len(theirs)
        if gain:
            rows.append(Row(number, ours[0].gold, _most_frequent(ours), _most_frequent(theirs), gain))
    rows.sort(key=lambda row: -abs(row.gain))  # stable: equal gains stay in the order of the file
    return [row for row in rows if row.gain > 0], [row for row in rows if row.gain < 0]


def _most_frequent(judged: Sequence[Judgement]) -> str:
    return Counter(one.guess for one in judged).most_common(1)[0][0]


def _listed(value: Any) -> str:
    if not isinstance(value, tuple):
        return str(value)
    shown = ", ".join(map(str, value[:8]))
    return f"{shown} and {len(value) - 8} more" if len(value) > 8 else shown or "none"
