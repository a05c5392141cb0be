"""Write the report of a command with several seeds: scores, their spread, and the curves of all runs in one picture."""

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
        runs: the runs, in the order of the seeds.
        values: the figures that the command prints.
        spreads: mean, deviation and interval of each score.
        main: the score that ranks the runs; empty without scores.
        command: finetune or pretrain.
    """
    from bertie.reports.figures import is_share
    from bertie.reports.run import Comparison, RunReport, write
    from bertie.training.journal import read

    share_scores = [name for name in spreads if is_share(name)]
    shown_scores = share_scores if main in share_scores else [main] if main else []
    rows = [(_title(name), [run.scores[name] for run in runs]) for name in shown_scores]
    write(
        out / "report.html",
        RunReport(
            title=f"{'Fine-tuning' if command == 'finetune' else 'Pre-training'} {out.name}, {len(runs)} seeds",
            kind="seeds",
            summary={name: spread.mean for name, spread in spreads.items()},
            about={name: spread_text(name, spread) for name, spread in spreads.items()},
            runs={f"seed {run.seed}": read(run.folder / "metrics.jsonl") for run in runs},
            tables=_tables(runs, spreads),
            comparisons=[Comparison("Every seed", rows, unit="%" if main in share_scores else "")] if rows else [],
            settings=(out / "config.toml").read_text(encoding="utf-8"),
            command=f"bertie run {out / 'config.toml'}",
            notes=_notes(values, len(runs), main),
        ),
    )


def precise(name: str, value: float | None) -> str:
    """Return a score as text, with enough digits to distinguish seeds."""
    from bertie.reports.figures import is_share, number

    if value is None or not math.isfinite(value):
        return "–"
    return f"{100 * value:.2f}%" if is_share(name) else number(round(value, 4))


def _title(name: str) -> str:
    from bertie.reports.figures import name_of

    return name_of(name)


def spread_text(name: str, spread: Spread) -> str:
    """Return the spread of a score over seeds in words."""
    if spread.deviation is None:
        return "one seed"
    ends = f"{precise(name, spread.low)} to {precise(name, spread.high)}"
    return f"mean of {spread.count} seeds, deviation {precise(name, spread.deviation)}; 95 %: {ends}"


def _tables(runs: Sequence[Run], spreads: Mapping[str, Spread]) -> list[Any]:
    """Return a table of mean and spread, and a table of the runs."""
    from bertie.reports.figures import duration
    from bertie.reports.run import Rows

    names = list(spreads)
    run_rows = [
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
            _title(name),
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
            remark="The deviation is the sample standard deviation (n - 1). The interval is Student's t over the "
            "seeds; it covers other seeds on the same data, not other data.",
            numbers=(1, 2, 3, 4),
        ),
        Rows(
            "Runs",
            ("seed", *map(_title, names), "time", "model"),
            run_rows,
            numbers=range(len(names) + 2),
        ),
    ]


def _notes(values: Mapping[str, Any], count: int, main: str) -> list[str]:
    """Return notes about the choice of a model, and the runs' warnings."""
    lines = []
    if main and count > 1:
        lines.append(f"The best seed by {main.replace('_', ' ')} is {values['best']}.")
        lines.append(f"The seed nearest to the mean is {values['typical']}.")
        lines.append("The best seed was chosen by these scores; on other data it may be no better than the rest.")
    if count == 2:
        lines.append("The interval of two seeds is wide; three to five seeds are usual.")
    return [*lines, *(f"{line[0].upper()}{line[1:]}." for line in values.get("remarks", ()))]
