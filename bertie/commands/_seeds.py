"""Run a training command with several seeds, and report mean, standard deviation and confidence interval.

OUT/seed-1, OUT/seed-2 and so on are ordinary run folders; each can be resumed, used and repeated alone. OUT/config.toml
repeats all of them. When all are finished, OUT/seeds.json holds the figures that the command prints, and
OUT/report.html shows them, with the curves of all runs in one picture.
"""

from __future__ import annotations

import filecmp
import functools
import inspect
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, get_type_hints

from bertie import config, progress
from bertie.commands.command import Report
from bertie.errors import BertieError, Interrupted, SettingsError
from bertie.trackers.tracker import check

if TYPE_CHECKING:
    from bertie.metrics.spread import Spread

Kind = TypeVar("Kind", bound=Report)
P = ParamSpec("P")
Settled = Callable[[Mapping[str, Any], Mapping[str, Any], Path], Mapping[str, Any]]

_MAX_SEED = 2**63 - 1  # the largest integer of TOML
_LOWER_IS_BETTER = ("loss", "error", "perplexity")
_MAIN_SCORES = ("dev_mask_loss", "dev_loss", "train_loss", "mean_reciprocal_rank", "spearman", "accuracy", "f1")
"""Main scores, in order of preference, if the task doesn't name one."""


@dataclass(frozen=True)
class Run:
    """A finished run of one seed."""

    seed: int
    folder: Path
    report: Report
    scores: dict[str, float]
    """Scores on dev, or else figures of training."""


def with_seeds(settled: Settled = lambda given, first, out: {}) -> Callable[[Callable[P, Kind]], Callable[P, Kind]]:
    """Decorate a training command with `seed`, `seeds`, `out` and `resume` to run once for each of its `seeds`.

    Args:
        settled: returns the parameters that the first run chose, for all other runs.
    """

    def wrapped(command: Callable[P, Kind]) -> Callable[P, Kind]:  # the command itself always gets `seeds` None
        @functools.wraps(command)
        def call(*args: P.args, **kwargs: P.kwargs) -> Kind:
            check(kwargs.get("track"))
            if kwargs.get("seeds") is None:
                return command(*args, **kwargs)
            bound = inspect.signature(command).bind(*args, **kwargs)
            bound.apply_defaults()
            kind: type[Kind] = get_type_hints(command)["return"]
            return each_seed(command, bound.arguments, kind, settled)

        return call

    return wrapped


def each_seed(
    command: Callable[..., Report], parameters: Mapping[str, Any], kind: type[Kind], settled: Settled
) -> Kind:
    """Run a training command once for each seed, and return a report about all runs.

    With `resume`, finished runs are kept, an interrupted run continues, and the remaining runs start.

    Args:
        command: finetune or pretrain.
        parameters: the call's parameters, with `seeds`.
        kind: the type of the command's report.
        settled: returns the parameters that the first run chose, from the call's parameters, the first run's settings
            and its folder.

    Raises:
        SettingsError: invalid seeds, or a folder in use.
        Interrupted: a signal came; finished runs and checkpoints are kept.
    """
    from bertie.training.runfolder import settings_of

    common = dict(parameters)
    seeds, out = checked_seeds(common.pop("seeds")), Path(common["out"])
    del common["seed"]
    if str(common.get("dev") or "").endswith("%") and common.get("split_seed") is None:
        common["split_seed"] = 0  # all runs are evaluated on the same items
    is_new = not out.exists()
    _claim(out, resume=common["resume"])
    runs: list[Run] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        common |= _kept_tables(common, out)
        settings = {name: value for name, value in common.items() if name not in ("resume", "accept_changes")}
        config.write(out / "config.toml", command=command.__name__, parameters={**settings, "seeds": seeds})
        for number, seed in enumerate(seeds, 1):
            progress.note(f"seed {seed}, {number} of {len(seeds)}")
            folder = folder_of(out, seed)
            report = _run_seed(command, {**common, "seed": seed, "out": folder}, seeds)
            runs.append(Run(seed, folder, report, scores_of(report.values, folder)))
            common |= settled(common, settings_of(folder) or {}, folder) if number == 1 else {}
    except BaseException:
        if is_new and not any(folder_of(out, seed).exists() for seed in seeds):
            shutil.rmtree(out, ignore_errors=True)  # no run started, so there is no run to resume
        raise
    return _combined(runs, out, command.__name__, kind, common.get("task"))


def folder_of(out: Path, seed: int) -> Path:
    """Return the run folder of a seed."""
    return out / f"seed-{seed}"


def model_folders(path: str | Path) -> list[Path]:
    """Return the model folders of a folder that `--seeds` made, in order of the seeds; empty for any other folder.

    Raises:
        SettingsError: a run is not finished.
    """
    folder = Path(path)
    if not (folder / "config.toml").is_file() or (folder / "run.json").exists():
        return []
    seeds = config.read(folder).get("seeds")
    if not isinstance(seeds, list):
        return []
    models = [folder_of(folder, seed) / "model" for seed in seeds]
    if missing := [str(model.parent) for model in models if not model.is_dir()]:
        raise SettingsError(
            f"{missing[0]} is not finished; finish it with: bertie run {folder} --resume, or name one model of {folder}"
        )
    return models


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Return the seeds as a tuple, and refuse invalid ones."""
    if not seeds:
        raise SettingsError("seeds is empty; give some, such as --seeds 1,2,3")
    for seed in seeds:
        if not 0 <= seed <= _MAX_SEED:
            raise SettingsError(f"seeds has {seed}; a seed is a whole number from 0 to {_MAX_SEED}")
        if seeds.count(seed) > 1:
            raise SettingsError(f"seeds has {seed} twice; a second run would only repeat the first")
    return tuple(seeds)


def _claim(out: Path, *, resume: bool) -> None:
    """Refuse a folder that holds anything but runs of several seeds."""
    if not out.exists():
        return
    if not out.is_dir() or (not resume and any(out.iterdir())):
        raise SettingsError(f"--out {out} exists already; continue it with --resume, or choose another --out")
    if (out / "run.json").exists():
        raise SettingsError(f"{out} is a run of one seed; choose another --out for several")
    if (out / "config.toml").exists() and "seeds" not in config.read(out):
        raise SettingsError(f"{out} has a config.toml that isn't of several seeds; choose another --out")


def _kept_tables(given: Mapping[str, Any], out: Path) -> dict[str, Path]:
    """Copy tables passed from Python into the folder, so that all runs and repetitions read the same file."""
    from bertie.readers.frames import is_written

    copies: dict[str, Path] = {}
    for name in ("train", "dev", "probe"):
        path = given.get(name)
        if path is None or not is_written(path):
            continue
        copies[name] = out / f"{name}.jsonl"
        if not copies[name].exists():
            shutil.copyfile(path, copies[name])
        elif not filecmp.cmp(path, copies[name], shallow=False):
            raise SettingsError(f"{name} differs from {copies[name]}, with which {out} was started")
    return copies


def _run_seed(command: Callable[..., Report], given: dict[str, Any], seeds: Sequence[int]) -> Report:
    """Run one seed; errors name it, and the error for an interruption says how to resume all seeds."""
    seed, out = given["seed"], Path(given["out"]).parent
    try:
        return command(**given)
    except (Interrupted, KeyboardInterrupt) as error:
        message = str(error) or "interrupted"
        raise Interrupted(
            f"seed {seed}: {message}; resume all seeds with the same command and --resume (bertie run {out} --resume)"
        ) from error
    except BertieError as error:
        raise type(error)(f"seed {seed}: {error}" if len(seeds) > 1 else str(error)) from error


def scores_of(values: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """Return the scores of a run: those on dev, or else its training figures.

    Args:
        values: the figures of the run.
        folder: its folder, whose last logged loss is the score of a run without other figures.
    """
    from bertie.training.journal import read

    if scores := values.get("scores"):
        return dict(scores)
    for prefix in ("dev_", "train_"):
        figures = {
            name: float(value)
            for name, value in values.items()
            if name.startswith(prefix) and isinstance(value, float) and not name.endswith("per_second")
        }
        if figures:
            return figures
    last: dict[str, Any] = next(
        (row for row in reversed(read(folder / "metrics.jsonl")) if row.get("kind") == "train"), {}
    )
    return {"train_loss": last["loss"]} if isinstance(last.get("loss"), float) else {}


def main_score(scores: Mapping[str, float], task: str | None) -> str:
    """Return the name of the score that ranks the runs; "" without scores."""
    from bertie.tasks._lookup import task_class

    criterion = getattr(task_class(task), "criterion", "") if task else ""
    names = [criterion if isinstance(criterion, str) else "", *_MAIN_SCORES, *scores]
    return next((name for name in names if name in scores), "")


def _rank(runs: Sequence[Run], main: str) -> tuple[Run, Run]:
    """Return the best run and the one nearest to the mean; of equal runs the first."""
    from bertie.metrics.spread import mean

    measured = [run for run in runs if run.scores.get(main) == run.scores.get(main)] or runs
    if not main:
        return runs[0], runs[0]
    sign = -1.0 if main.endswith(_LOWER_IS_BETTER) else 1.0
    middle = mean([run.scores[main] for run in measured])
    best = max(measured, key=lambda run: sign * run.scores[main])
    return best, min(measured, key=lambda run: abs(run.scores[main] - middle))


def _combined(runs: Sequence[Run], out: Path, command: str, kind: type[Kind], task: str | None) -> Kind:
    """Compare the runs, write seeds.json and the report page, and return the command's report."""
    from bertie.commands._seeds_report import write_report
    from bertie.files.atomic import write_text
    from bertie.metrics.spread import spread_of

    names = [name for name in runs[0].scores if all(name in run.scores for run in runs)]
    spreads = {name: spread_of([run.scores[name] for run in runs]) for name in names}
    main = main_score({name: runs[0].scores[name] for name in names}, task)
    best, typical = _rank(runs, main)
    values: dict[str, Any] = {
        "folder": str(out),
        "seeds": [run.seed for run in runs],
        "best": str(best.folder / "model"),
        "typical": str(typical.folder / "model"),
        "runs": [{"seed": run.seed, **{name: run.scores[name] for name in names}, **_cost(run.report)} for run in runs],
        **seed_statistics(spreads, len(runs)),
    }
    if remarks := [f"seed {run.seed}: {line}" for run in runs for line in run.report.values.get("remarks", ())]:
        values["remarks"] = remarks
    write_report(out, runs, values, spreads, main=main, command=command)
    values["report"] = str(out / "report.html")
    report = kind(
        title=f"{'Fine-tuned' if command == 'finetune' else 'Pre-trained'} with {len(runs)} seeds in {out}",
        values=values,
        next_command=best.report.next_command,
    )
    write_text(out / "seeds.json", report.as_json() + "\n")
    return report


def seed_statistics(spreads: Mapping[str, Spread], num_seeds: int) -> dict[str, Any]:
    """Return the figures of several seeds: the kind of interval, means by name, and a table of all statistics."""
    return {
        "interval": f"95 % of the mean, Student's t over {num_seeds} seeds" if num_seeds > 1 else "none for one seed",
        "scores": {name: round(spread.mean, 4) for name, spread in spreads.items()},
        "over_seeds": [
            {
                "score": name,
                **{key: None if part is None else round(part, 6) for key, part in _parts(spread).items()},
            }
            for name, spread in spreads.items()
        ],
    }


def _parts(spread: Spread) -> dict[str, float | None]:
    ends = {"interval_from": spread.low, "interval_to": spread.high}
    return {"mean": spread.mean, "deviation": spread.deviation, **ends}


def _cost(report: Report) -> dict[str, Any]:
    return {name: report.values[name] for name in ("steps", "seconds") if name in report.values}
