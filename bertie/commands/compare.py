"""Compare runs: their curves, the settings that differ, their scores over seeds, and tests of the difference."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.commands._run_comparison import (
    Tested,
    check_comparable,
    run_rows,
    score_names,
    settings_that_differ,
    spreads,
    tested,
)
from bertie.commands._stored_runs import Group, grouped, read_runs
from bertie.commands._use import UseSettings
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from bertie.metrics.spread import Spread

_NUM_SHOWN = 4
"""Scores of a run on the terminal; the page and --json have all."""


@dataclass(frozen=True, kw_only=True)
class RunComparison(Report):
    """The comparison of runs."""

    def as_table(self) -> dict[str, Any]:
        """Return the values for the tables, with the most important scores alone."""
        values = super().as_table()
        known = {"run", "group", "seed", "state", "step", "seconds"}
        scores = [name for name in dict.fromkeys(key for row in values["runs"] for key in row) if name not in known]
        hidden = set(scores[_NUM_SHOWN:])
        values["runs"] = [{name: value for name, value in row.items() if name not in hidden} for row in values["runs"]]
        values["verdicts"] = [{"verdict": line} for line in values["verdicts"]]
        return {name: value for name, value in values.items() if value != []}


def compare(
    runs: Positional[tuple[Path, ...]],
    *,
    out: Path | None = None,
    test: bool = True,
    seed: int = 0,
    device: str = "auto",
    threads: int | None = None,
) -> RunComparison:
    """Compare runs: their curves, the settings that differ, their scores over seeds, and tests of the difference.

    Runs that differ by their seeds alone are one group, with mean and spread. All other groups are tested against the
    first one: on the dev rows if the runs are finished and their dev table is still there, else over the seeds.
    Unfinished runs are compared by what they have logged.

    Args:
        runs: two or more folders of runs of one command, task and dev table; also folders that --seeds made.
        out: HTML file to write, with the curves of all runs in the same charts.
        test: predict the dev table with the finished models and test the difference.
        seed: seed of the samples that the test draws.
        device: device for the predictions: auto, cpu, cuda.
        threads: CPU threads for the predictions; all cores when not given.

    Returns:
        The settings that differ, the scores of every run, mean and spread of every group, and the tests.

    Raises:
        SettingsError: a folder is no run, or the runs have different tasks or data.
        DataError: a run's record is damaged.
    """
    if out is not None and out.is_dir():
        raise SettingsError(f"--out {out} is a folder; give the name of the HTML file to write")
    found = read_runs(runs)
    check_comparable(found)
    groups = grouped(found)
    names, main = score_names(found, found[0].settings.get("task"))
    spread = spreads(groups, names)
    differing = settings_that_differ(groups)
    results = tested(groups, main, seed=seed, use=UseSettings(device=device, threads=threads), rows=test)
    remarks = _remarks(groups, results)
    for line in remarks:
        progress.note(line)
    values: dict[str, Any] = {
        "command": found[0].command,
        **({"task": task} if (task := found[0].settings.get("task")) else {}),
        "runs": run_rows(groups, names),
        "settings_that_differ": differing,
        "scores": _score_rows(spread),
        "tests": [row for result in results for row in result.rows],
        "verdicts": [result.verdict for result in results if result.verdict],
        "remarks": remarks,
    }
    if out is not None:
        from bertie.commands._comparison_report import write_report

        command = shlex.join(["bertie", "compare", *map(str, runs), "--out", str(out)])
        write_report(out, groups, spread, values, main=main, command=command)
        values["report"] = str(out)
    counts = f"{len(found)} runs with {len(groups)} different settings" if len(groups) > 1 else f"{len(found)} seeds"
    return RunComparison(title=f"{counts}, {found[0].command}", values=values)


def _score_rows(spread: Mapping[str, Mapping[str, "Spread"]]) -> list[dict[str, Any]]:
    return [
        {
            "group": group,
            "score": name,
            "runs": each.count,
            "mean": each.mean,
            "deviation": each.deviation,
            "interval_from": each.low,
            "interval_to": each.high,
        }
        for group, scores in spread.items()
        for name, each in scores.items()
    ]


def _remarks(groups: Sequence[Group], results: Sequence[Tested]) -> list[str]:
    """Return what a reader has to know: which runs are unfinished, and why a test is missing."""
    unfinished = [str(run.folder) for group in groups for run in group.runs if not run.finished]
    lines = []
    if unfinished:
        listed = f"{', '.join(unfinished[:3])}{f' and {len(unfinished) - 3} more' if len(unfinished) > 3 else ''}"
        lines.append(f"not finished, so in no mean and no test: {listed}")
    reasons = dict.fromkeys(result.reason for result in results if result.reason)
    return [*lines, *(f"no test on the dev rows: {reason}" for reason in reasons)]
