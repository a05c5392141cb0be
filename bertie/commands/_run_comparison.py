"""Compare groups of runs: what differs in their settings, their scores, and tests of the difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.commands._against import difference_row, p_text, predictions_of, verdict
from bertie.commands._seeds import main_score
from bertie.commands._stored_runs import Group, StoredRun
from bertie.commands._use import UseSettings
from bertie.errors import BertieError, SettingsError

if TYPE_CHECKING:
    from bertie.inference.compare import Side
    from bertie.metrics.paired import Difference
    from bertie.metrics.spread import Spread

_SHORT_DIGEST = 12
_EVERYWHERE = ("dev_limit", "dev_tokens")
"""Settings that choose the items to score on, in addition to `dev`."""


@dataclass(frozen=True)
class Tested:
    """The tests of one group against the first one."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    """One row for each score and test."""
    verdict: str = ""
    """The result in words; "" without a test."""
    reason: str = ""
    """Why there is no test on the rows; "" if there is one."""


def check_comparable(runs: Sequence[StoredRun]) -> None:
    """Check that the scores of runs can be compared: they have one command, one task and the same data to score on.

    Raises:
        SettingsError: they haven't; the message names two runs and the difference.
    """
    first = runs[0]
    for run in runs[1:]:
        both = f"{first.folder} and {run.folder} can't be compared"
        if run.command != first.command:
            raise SettingsError(f"{both}: the first is a run of {first.command}, the second of {run.command}")
        tasks = first.settings.get("task"), run.settings.get("task")
        if tasks[0] != tasks[1]:
            raise SettingsError(f"{both}: the first learns {tasks[0]}, the second {tasks[1]}")
        if difference := _data_difference(first, run):
            raise SettingsError(f"{both}: {difference}")


def _data_difference(first: StoredRun, second: StoredRun) -> str:
    """Return how the data to score on differ, or the training data if neither run has any; "" if they don't."""
    names = [dev_of(run) for run in (first, second)]
    if names == [None, None]:
        if first.data == second.data:
            return ""
        return (
            "they have no dev data, and their training data differ, so neither scores nor losses are of the same text"
        )
    if None in names:
        return f"{'the first' if names[0] is None else 'the second'} has no dev data, so it has no scores"
    if first.dev_data and second.dev_data:
        if first.dev_data == second.dev_data:
            return ""
        if names[0] != names[1]:
            return f"their dev data differ ({names[0]} and {names[1]})"
        if str(names[0]).endswith("%"):
            return f"they hold out other items ({names[0]} of the table each); give both runs one --split-seed"
        return f"{names[0]} has changed between the two runs, or --dev-limit differs"
    options = [("dev", names), *((name, [run.settings.get(name) for run in (first, second)]) for name in _EVERYWHERE)]
    for name, values in options:
        if values[0] != values[1]:
            return f"their dev data differ ({name} is {values[0]} and {values[1]})"
    if str(names[0]).endswith("%") and (first.data != second.data or _split(first) != _split(second)):
        return f"they hold out other items ({names[0]} of the table each); give both runs one --split-seed"
    return ""


def dev_of(run: StoredRun) -> str | None:
    """Return a run's dev data: a path, or a share such as 20%; None without any."""
    dev = run.settings.get("dev")
    # A share is stored like a path, in the folder in which the command was called.
    return dev if not isinstance(dev, str) or not dev.endswith("%") or Path(dev).exists() else Path(dev).name


def _split(run: StoredRun) -> Any:
    own = run.settings.get("split_seed")
    return run.settings.get("seed") if own is None else own


def settings_that_differ(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return a row for each setting in which the groups differ: its name in config.toml, and its value in each."""
    from bertie.training.record import DATA, FREE

    ignored = FREE | {"dev", "seed", "seeds", *DATA}
    names = dict.fromkeys(name for group in groups for run in group.runs for name in run.settings)
    rows = []
    for name in names:
        values = [_values(group, name) for group in groups]
        if name not in ignored and len(set(values)) > 1:
            rows.append({"setting": name, **{group.name: value for group, value in zip(groups, values, strict=True)}})
    if len({group.runs[0].data for group in groups}) > 1:
        key = next((key for key in DATA if key in groups[0].runs[0].settings), "data")
        data = {
            group.name: f"{group.runs[0].settings.get(key)} ({group.runs[0].data[:_SHORT_DIGEST]})" for group in groups
        }
        rows.append({"setting": key, **data})
    if not rows and len(groups) > 1:
        seeds = {group.name: ", ".join(str(run.settings.get("seed")) for run in group.runs) for group in groups}
        rows = [{"setting": "seed", **seeds}] if len(set(seeds.values())) > 1 else []
    return rows


def _values(group: Group, name: str) -> str:
    """Return the values of a setting in a group, as text; several if the runs of the group differ in it."""
    values = [run.settings.get(name) for run in group.runs]
    return " or ".join(dict.fromkeys("not set" if value is None else str(value) for value in values))


def run_rows(groups: Sequence[Group], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each run: its seed, its state and its scores."""
    return [
        {
            "run": str(run.folder),
            "group": group.name,
            "seed": run.settings.get("seed"),
            "state": "finished" if run.finished else "unfinished",
            "step": run.step,
            "seconds": run.seconds,
            **{name: run.scores.get(name) for name in names},
        }
        for group in groups
        for run in group.runs
    ]


def score_names(runs: Sequence[StoredRun], task: str | None) -> tuple[list[str], str]:
    """Return the scores that the runs have, the most important one first, and its name; "" without scores."""
    have = dict.fromkeys(name for run in runs for name in run.scores)
    main = main_score(dict.fromkeys(have, 0.0), task)
    return [main, *(name for name in have if name != main)] if main else [], main


def spreads(groups: Sequence[Group], names: Sequence[str]) -> dict[str, dict[str, Spread]]:
    """Return mean and spread of each score over the finished runs of each group, by group and score."""
    from bertie.metrics.spread import spread_of

    found: dict[str, dict[str, Spread]] = {}
    for group in groups:
        own = [name for name in names if group.finished and all(name in run.scores for run in group.finished)]
        found[group.name] = {name: spread_of([run.scores[name] for run in group.finished]) for name in own}
    return found


def tested(groups: Sequence[Group], main: str, *, seed: int, use: UseSettings, rows: bool) -> list[Tested]:
    """Test each group against the first: on the dev rows if they can be predicted, else over the seeds.

    Args:
        groups: at least one.
        main: the score that decides without rows.
        seed: of the masks and of the bootstrap samples.
        use: how models are loaded and run.
        rows: whether to predict the dev rows.

    Returns:
        One result for each group after the first.
    """
    if len(groups) < 2:
        return []
    sides: list[Side] = []
    items: Sequence[Any] = ()
    reason = "it was left out" if not rows else ""
    if rows:
        try:
            items = _dev_items([run for group in groups for run in group.finished])
            sides = _sides(groups, items, seed=seed, use=use)
        except BertieError as error:
            reason = str(error)
    results = []
    for number, group in enumerate(groups[1:], 1):
        if sides:
            results.append(_on_rows(sides[0], sides[number], items, seed=seed))
        else:
            results.append(_over_seeds(groups[0], group, main, reason))
    return results


def _on_rows(first: Side, second: Side, items: Sequence[Any], *, seed: int) -> Tested:
    """Test two groups on the same rows and, if both have several models, over their seeds."""
    from bertie.inference.compare import RESAMPLES, compare

    with progress.bar(f"Comparing {second.name}", total=RESAMPLES, unit="samples of the rows") as bar:
        result = compare(first, second, items, seed=seed, step=lambda: bar.advance(1))
    every = [*result.differences.items(), *([] if result.over_runs is None else [(result.main, result.over_runs)])]
    return Tested(
        [_test_row(first.name, second.name, name, each) for name, each in every],
        verdict(result, first.name, second.name, len(items)),
    )


def _test_row(first: str, second: str, score: str, each: Difference) -> dict[str, Any]:
    """Return a test as figures: the groups, their means, and the difference of the first from the second."""
    values = difference_row(score, each)
    means = {"mean": values.pop("model"), "other_mean": values.pop("against")}
    return {"group": first, "other": second, "score": values.pop("score"), **means, **values}


def _over_seeds(first: Group, second: Group, main: str, reason: str) -> Tested:
    """Test the means of two groups by Welch's t-test; without two finished runs of each, say why there is no test."""
    from bertie.metrics.paired import welch

    pairs = [[run.scores[main] for run in group.finished if main in run.scores] for group in (first, second)]
    if not main or min(map(len, pairs)) < 2 or not all(map(math.isfinite, [*pairs[0], *pairs[1]])):
        return Tested(reason=reason or "it needs two finished runs, each with two or more seeds")
    try:
        result = welch(*pairs)
    except SettingsError as error:  # scipy isn't installed
        return Tested(reason=str(error))
    name = main.replace("_", " ")
    numbers = f"{len(pairs[0])} and {len(pairs[1])} seeds"
    ends = f"95 % interval {result.low:+.4g} to {result.high:+.4g}, p {p_text(result.p)}, over {numbers}"
    amount = f"{first.name} minus {second.name} is {result.difference:+.4g} of {name} ({ends})"
    words = amount if result.is_significant else f"no significant difference over the seeds: {amount}"
    row = _test_row(first.name, second.name, main, result)
    return Tested([row], words, reason)


def _sides(groups: Sequence[Group], items: Sequence[Any], *, seed: int, use: UseSettings) -> list[Side]:
    """Predict the rows with the models of every group.

    Raises:
        SettingsError: a group has no finished model, the models differ in their labels, or scipy isn't installed.
    """
    from bertie.inference.compare import Side, check_alike
    from bertie.metrics.paired import require

    require()  # before minutes of predictions
    sides: list[Side] = []
    for group in groups:
        models = [run.folder / "model" for run in group.finished]
        if missing := [model for model in models if not model.is_dir()]:
            raise SettingsError(f"{missing[0]} is gone")
        predictions = []
        for model in models:
            predictor = use.load(model, task=None)
            if sides:
                check_alike(sides[0].task, predictor.task, (sides[0].name, str(model)))
            task = predictor.task
            predictions.append(predictions_of(predictor, items, str(model), seed=seed, batch_tokens=use.batch_tokens))
        if not predictions:
            raise SettingsError(f"{group.name} has no finished run")
        sides.append(Side(group.name, task, predictions))
    return sides


def _dev_items(runs: Sequence[StoredRun]) -> Sequence[Any]:
    """Read the items that all runs were evaluated on.

    Raises:
        BertieError: they can't be read, or have changed since.
    """
    from bertie.commands._tables import fingerprint, read_tables
    from bertie.tasks._lookup import task_class

    if not runs:
        raise SettingsError("no run is finished")
    run, named = runs[0], dev_of(runs[0])
    if run.command != "finetune":
        raise SettingsError("it needs runs of finetune")
    if named is None:
        raise SettingsError("the runs have no dev data")
    settings = run.settings
    columns = {name.partition(".")[2]: value for name, value in settings.items() if name.startswith("columns.")}
    with progress.without_notes():
        tables = read_tables(
            task_class(settings["task"]),
            _present(settings["train"], run.folder),
            Path(named) if named.endswith("%") else _present(named, run.folder),
            out=run.folder,
            columns=columns or None,
            limits=(settings.get("train_limit"), settings.get("dev_limit")),
            seed=settings.get("split_seed", settings.get("seed", 0)),
        )
    if run.dev_data and fingerprint(tables.dev) != run.dev_data:
        raise SettingsError(f"{named} has changed since {run.folder} was evaluated on it")
    return tables.dev


def _present(file: str, folder: Path) -> Path:
    """Return a table's path; if it is gone, that of its copy in the run's folder, if there is one."""
    copy = folder / Path(file).name
    return copy if copy.is_file() and not Path(file).exists() else Path(file)
