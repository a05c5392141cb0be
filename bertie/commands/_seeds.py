"""One command with several seeds: a run folder for each, and of all of them mean, deviation and interval.

OUT/seed-1, OUT/seed-2 and so on are ordinary run folders, each of which can be resumed, used and repeated by itself.
OUT/config.toml repeats all of them. Once all are finished, OUT/seeds.json holds the figures that the command prints,
and OUT/report.html shows them with the curves of all runs in one picture.
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

if TYPE_CHECKING:
    from bertie.metrics.spread import Spread

Kind = TypeVar("Kind", bound=Report)
P = ParamSpec("P")
Settled = Callable[[Mapping[str, Any], Mapping[str, Any], Path], Mapping[str, Any]]

_LARGEST = 2**63 - 1  # what a settings file can hold
_LOWER_IS_BETTER = ("loss", "error", "perplexity")
_MAIN = ("dev_mask_loss", "dev_loss", "train_loss", "mean_reciprocal_rank", "spearman", "accuracy", "f1")
"""Tried in this order where the task doesn't name its score."""


@dataclass(frozen=True)
class Run:
    """One of the runs, finished."""

    seed: int
    folder: Path
    report: Report
    scores: dict[str, float]
    """What it was measured by: on dev, or where there is none, on what it learned from."""


def with_seeds(settled: Settled = lambda given, first, out: {}) -> Callable[[Callable[P, Kind]], Callable[P, Kind]]:
    """Let a training command that has `seed`, `seeds`, `out` and `resume` run once for each of several seeds.

    Args:
        settled: says which parameters the run of the first seed chose for itself, for the others to have the same.
    """

    def wrapped(command: Callable[P, Kind]) -> Callable[P, Kind]:  # it sees `seeds` as None
        @functools.wraps(command)
        def call(*args: P.args, **kwargs: P.kwargs) -> Kind:
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
    """Run a training command once for each seed, and say what the runs reached together.

    With `resume` runs that are finished are left as they are, one that was interrupted goes on, and the rest begin.

    Args:
        command: finetune or pretrain.
        parameters: of the call, with `seeds`.
        kind: the report that the command returns.
        settled: says which parameters the first run chose, given those of the call, the settings of that run
            and its folder.

    Raises:
        SettingsError: seeds that are none, or a folder that is in use.
        Interrupted: a signal came; what was done stays.
    """
    from bertie.training.runfolder import settings_of

    given = dict(parameters)
    seeds, out = checked(given.pop("seeds")), Path(given["out"])
    del given["seed"]
    if str(given.get("dev") or "").endswith("%") and given.get("split_seed") is None:
        given["split_seed"] = 0  # runs that are compared are measured on the same items
    is_new = not out.exists()
    _claim(out, resume=given["resume"])
    runs: list[Run] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        given |= _kept_tables(given, out)
        settings = {name: value for name, value in given.items() if name not in ("resume", "accept_changes")}
        config.write(out / "config.toml", command=command.__name__, parameters={**settings, "seeds": seeds})
        for number, seed in enumerate(seeds, 1):
            progress.note(f"seed {seed}, {number} of {len(seeds)}")
            folder = folder_of(out, seed)
            report = _one(command, {**given, "seed": seed, "out": folder}, seeds)
            runs.append(Run(seed, folder, report, _scores(report, folder)))
            given |= settled(given, settings_of(folder) or {}, folder) if number == 1 else {}
    except BaseException:
        if is_new and not any(folder_of(out, seed).exists() for seed in seeds):
            shutil.rmtree(out, ignore_errors=True)  # nothing was begun, so nothing is left to go on with
        raise
    return _together(runs, out, command.__name__, kind, given.get("task"))


def folder_of(out: Path, seed: int) -> Path:
    """Return the run folder of a seed."""
    return out / f"seed-{seed}"


def model_folders(path: str | Path) -> list[Path]:
    """Return the model folders of a folder that `--seeds` made, by seed; none for any other folder.

    Raises:
        SettingsError: its runs are not finished.
    """
    folder = Path(path)
    if not (folder / "config.toml").is_file() or (folder / "run.json").exists():
        return []
    seeds = config.read(folder).get("seeds")
    if not isinstance(seeds, list):
        return []
    found = [folder_of(folder, seed) / "model" for seed in seeds]
    if missing := [str(model.parent) for model in found if not model.is_dir()]:
        raise SettingsError(
            f"{missing[0]} is not finished; go on with: bertie run {folder} --resume, or name one model of {folder}"
        )
    return found


def checked(seeds: Sequence[int]) -> tuple[int, ...]:
    """Refuse what can't be a list of seeds."""
    if not seeds:
        raise SettingsError("seeds is empty; give some, such as --seeds 1,2,3")
    for seed in seeds:
        if not 0 <= seed <= _LARGEST:
            raise SettingsError(f"seeds has {seed}; a seed is a whole number from 0 to {_LARGEST}")
        if seeds.count(seed) > 1:
            raise SettingsError(f"seeds has {seed} twice; a second run would only repeat the first")
    return tuple(seeds)


def _claim(out: Path, *, resume: bool) -> None:
    """Refuse a folder that holds something else than runs of several seeds."""
    if not out.exists():
        return
    if not out.is_dir() or (not resume and any(out.iterdir())):
        raise SettingsError(f"--out {out} exists already; go on with it by --resume, or choose another --out")
    if (out / "run.json").exists():
        raise SettingsError(f"{out} is a run of one seed; choose another --out for several")
    if (out / "config.toml").exists() and "seeds" not in config.read(out):
        raise SettingsError(f"{out} holds a config.toml of something else; choose another --out")


def _kept_tables(given: Mapping[str, Any], out: Path) -> dict[str, Path]:
    """Copy tables that Python holds into the folder, so that all runs and their repetition read the same file."""
    from bertie.data.frames import is_written

    moved: dict[str, Path] = {}
    for name in ("train", "dev", "probe"):
        path = given.get(name)
        if path is None or not is_written(path):
            continue
        moved[name] = out / f"{name}.jsonl"
        if not moved[name].exists():
            shutil.copyfile(path, moved[name])
        elif not filecmp.cmp(path, moved[name], shallow=False):
            raise SettingsError(f"{name} is another table than {moved[name]}, which {out} began with")
    return moved


def _one(command: Callable[..., Report], given: dict[str, Any], seeds: Sequence[int]) -> Report:
    """Run one seed; errors say which, and an interruption how to go on with all."""
    seed, out = given["seed"], Path(given["out"]).parent
    try:
        return command(**given)
    except (Interrupted, KeyboardInterrupt) as error:
        said = str(error) or "interrupted"
        raise Interrupted(
            f"seed {seed}: {said}; or with all of them by the same command and --resume (bertie run {out} --resume)"
        ) from error
    except BertieError as error:
        raise type(error)(f"seed {seed}: {error}" if len(seeds) > 1 else str(error)) from error


def _scores(report: Report, folder: Path) -> dict[str, float]:
    """Return what a run was measured by."""
    from bertie.training.journal import read

    values = report.values
    if scores := values.get("scores"):
        return dict(scores)
    for kind in ("dev_", "train_"):
        figures = {
            name: float(value)
            for name, value in values.items()
            if name.startswith(kind) and isinstance(value, float) and not name.endswith("per_second")
        }
        if figures:
            return figures
    last: dict[str, Any] = next(
        (row for row in reversed(read(folder / "metrics.jsonl")) if row.get("kind") == "train"), {}
    )
    return {"train_loss": last["loss"]} if isinstance(last.get("loss"), float) else {}


def _main(scores: Mapping[str, float], task: str | None) -> str:
    """Name the score that says how good a run is."""
    from bertie.tasks.task import task_class

    criterion = getattr(task_class(task), "criterion", "") if task else ""
    names = [criterion if isinstance(criterion, str) else "", *_MAIN, *scores]
    return next((name for name in names if name in scores), "")


def _rank(runs: Sequence[Run], main: str) -> tuple[Run, Run]:
    """Return the best run, and the one that is nearest to the mean; of equals the first."""
    from bertie.metrics.spread import mean

    measured = [run for run in runs if run.scores.get(main) == run.scores.get(main)] or runs
    if not main:
        return runs[0], runs[0]
    sign = -1.0 if main.endswith(_LOWER_IS_BETTER) else 1.0
    middle = mean([run.scores[main] for run in measured])
    best = max(measured, key=lambda run: sign * run.scores[main])
    return best, min(measured, key=lambda run: abs(run.scores[main] - middle))


def _together(runs: Sequence[Run], out: Path, command: str, kind: type[Kind], task: str | None) -> Kind:
    """Put the runs side by side, write seeds.json and the report, and return what the command prints."""
    from bertie.commands._seeds_report import write_report
    from bertie.files.atomic import write_text
    from bertie.metrics.spread import spread_of

    names = [name for name in runs[0].scores if all(name in run.scores for run in runs)]
    spreads = {name: spread_of([run.scores[name] for run in runs]) for name in names}
    main = _main({name: runs[0].scores[name] for name in names}, task)
    best, typical = _rank(runs, main)
    values: dict[str, Any] = {
        "folder": str(out),
        "seeds": [run.seed for run in runs],
        "best": str(best.folder / "model"),
        "typical": str(typical.folder / "model"),
        "runs": [{"seed": run.seed, **{name: run.scores[name] for name in names}, **_cost(run.report)} for run in runs],
        **averages(spreads, len(runs)),
    }
    if said := [f"seed {run.seed}: {line}" for run in runs for line in run.report.values.get("remarks", ())]:
        values["remarks"] = said
    write_report(out, runs, values, spreads, main=main, command=command)
    values["report"] = str(out / "report.html")
    whole = kind(
        title=f"{'Fine-tuned' if command == 'finetune' else 'Pre-trained'} with {len(runs)} seeds in {out}",
        values=values,
        next_command=best.report.next_command,
    )
    write_text(out / "seeds.json", whole.as_json() + "\n")
    return whole


def averages(spreads: Mapping[str, Spread], num_seeds: int) -> dict[str, Any]:
    """Arrange what several seeds reached together: what the interval is, means by name, and a table of all parts."""
    return {
        "interval": f"95 % of the mean, Student's t over {num_seeds} seeds" if num_seeds > 1 else "none of one seed",
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
