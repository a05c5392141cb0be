"""The page about runs of one command with several seeds: their scores, the spread, and all curves in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bertie.commands._seeds import Run
    from bertie.metrics.spread import Spread


def write_report(
    out: Path,
    runs: Sequence[Run],
    values: Mapping[str, Any],
    spreads: Mapping[str, Spread],
    *,
    main: str,
    command: str,
) -> None:
    """Write OUT/report.html.

    Args:
        out: the folder of all runs.
        runs: in the order of the seeds.
        values: what the command prints.
        spreads: mean, deviation and interval of every score.
        main: the score that chooses the best run; empty where nothing was measured.
        command: finetune or pretrain.
    """
    from bertie.reports.figures import is_share
    from bertie.reports.run import Comparison, RunReport, write
    from bertie.training.journal import read

    shares = [name for name in spreads if is_share(name)]
    drawn = shares if main in shares else [main] if main else []
    rows = [(_titled(name), [run.scores[name] for run in runs]) for name in drawn]
    write(
        out / "report.html",
        RunReport(
            title=f"{'Fine-tuning' if command == 'finetune' else 'Pre-training'} {out.name}, {len(runs)} seeds",
            kind="seeds",
            summary={name: spread.mean for name, spread in spreads.items()},
            about={name: _around(name, spread) for name, spread in spreads.items()},
            runs={f"seed {run.seed}": read(run.folder / "metrics.jsonl") for run in runs},
            tables=_tables(runs, spreads),
            comparisons=[Comparison("Every seed", rows, unit="%" if main in shares else "")] if rows else [],
            settings=(out / "config.toml").read_text(encoding="utf-8"),
            command=f"bertie run {out / 'config.toml'}",
            notes=_notes(values, len(runs), main),
        ),
    )


def precise(name: str, value: float | None) -> str:
    """Write a score with the digits that tell seeds apart."""
    from bertie.reports.figures import is_share, number

    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:.2f}%" if is_share(name) else number(round(value, 4))


def _titled(name: str) -> str:
    from bertie.reports.figures import name_of

    return name_of(name)


def _around(name: str, spread: Spread) -> str:
    if spread.deviation is None:
        return "one seed"
    ends = f"{precise(name, spread.low)} to {precise(name, spread.high)}"
    return f"mean of {spread.count} seeds, deviation {precise(name, spread.deviation)}; 95 %: {ends}"


def _tables(runs: Sequence[Run], spreads: Mapping[str, Spread]) -> list[Any]:
    """Lay out the runs, and below them what they are together."""
    from bertie.reports.figures import duration
    from bertie.reports.run import Rows

    names = list(spreads)
    each = [
        [
            str(run.seed),
            *(precise(name, run.scores[name]) for name in names),
            duration(run.report.values["seconds"]) if "seconds" in run.report.values else "–",
            str(run.folder / "model"),
        ]
        for run in runs
    ]
    summary = [
        [
            _titled(name),
            str(spread.count),
            precise(name, spread.mean),
            precise(name, spread.deviation),
            "–" if spread.low is None else f"{precise(name, spread.low)} to {precise(name, spread.high)}",
        ]
        for name, spread in spreads.items()
    ]
    return [
        Rows(
            "Mean and spread",
            ("score", "seeds", "mean", "standard deviation", "95 % interval of the mean"),
            summary,
            remark="The deviation is that of a sample (n - 1). The interval is Student's t over the seeds: it is about "
            "other seeds on the same data, not about other data.",
            numbers=(1, 2, 3, 4),
        ),
        Rows(
            "Runs",
            ("seed", *map(_titled, names), "time", "model"),
            each,
            numbers=range(len(names) + 2),
        ),
    ]


def _notes(values: Mapping[str, Any], count: int, main: str) -> list[str]:
    """Say which model to take, and what to beware of."""
    told = []
    if main and count > 1:
        told.append(f"The best seed by {main.replace('_', ' ')} is {values['best']}.")
        told.append(f"The one nearest to the mean is {values['typical']}.")
        told.append("The best of several was chosen by these scores: on other data it may be no better than the rest.")
    if count == 2:
        told.append("Two seeds make a wide interval; three to five are usual.")
    return [*told, *(f"{line[0].upper()}{line[1:]}." for line in values.get("remarks", ()))]
