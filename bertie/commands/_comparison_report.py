"""Write the page of `compare`: settings that differ, scores, tests, and the curves of all runs in the same charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie.commands._against import p_text
from bertie.commands._seeds_report import precise, spread_text
from bertie.commands._stored_runs import Group, distinct_names

if TYPE_CHECKING:
    from bertie.metrics.spread import Spread
    from bertie.reports.run import Rows

_FEW_GROUPS = 3
"""Up to so many groups are named in the title."""


def write_report(
    path: Path,
    groups: Sequence[Group],
    spread: Mapping[str, Mapping[str, Spread]],
    values: Mapping[str, Any],
    *,
    main: str,
    command: str,
) -> None:
    """Write the page.

    Args:
        path: the HTML file.
        groups: the groups of runs.
        spread: mean and spread by group and score.
        values: the figures that the command prints.
        main: the most important score; "" without scores.
        command: the command that repeats the comparison.
    """
    from bertie.reports.figures import is_share, name_of
    from bertie.reports.run import Comparison, RunReport, write

    runs = [run for group in groups for run in group.runs]
    names = distinct_names([run.folder for run in runs])
    bars = [(group.name, [run.scores[main] for run in group.finished if main in run.scores]) for group in groups]
    bars = [(name, scores) for name, scores in bars if scores and all(map(math.isfinite, scores))]
    means = {name: scores[main] for name, scores in spread.items() if main in scores}
    write(
        path,
        RunReport(
            title=" and ".join(group.name for group in groups)
            if len(groups) <= _FEW_GROUPS
            else f"{len(groups)} settings",
            kind="compare",
            summary={name: precise(main, each.mean) for name, each in means.items()},
            about={name: f"{name_of(main)}; {spread_text(main, each)}" for name, each in means.items()},
            runs={name: run.records for name, run in zip(names, runs, strict=True)},
            groups=dict(zip(names, [group.name for group in groups for _ in group.runs], strict=True)),
            tables=_tables(spread, values),
            comparisons=[Comparison(name_of(main), bars, unit="%" if is_share(main) else "")] if bars else [],
            command=command,
            notes=[f"{line[:1].upper()}{line[1:]}." for line in values["remarks"]],
            machine={},
        ),
    )


def _tables(spread: Mapping[str, Mapping[str, Spread]], values: Mapping[str, Any]) -> list[Rows]:
    """Return the tables of the page; those without rows are left out."""
    from bertie.reports.figures import name_of
    from bertie.reports.run import Rows

    means = [
        [
            group,
            name_of(name),
            str(each.count),
            precise(name, each.mean),
            precise(name, each.deviation),
            _interval(name, each),
        ]
        for group, scores in spread.items()
        for name, each in scores.items()
    ]
    verdicts = " ".join(f"{line[:1].upper()}{line[1:]}." for line in values["verdicts"])
    tests = [
        [
            *(row["group"], row["other"], name_of(row["score"])),
            *(precise(row["score"], row[key]) for key in ("difference", "interval_from", "interval_to")),
            p_text(row["p"]).removeprefix("= "),
            row["test"],
        ]
        for row in values["tests"]
    ]
    tests_head = ("group", "against", "score", "difference", "from", "to", "p", "test")
    means_head = ("group", "score", "runs", "mean", "standard deviation", "95 % interval of the mean")
    tables = [
        _records("Settings that differ", values["settings_that_differ"]),
        Rows("Tests", tests_head, tests, remark=verdicts, numbers=(3, 4, 5, 6)),
        Rows("Mean and spread", means_head, means, numbers=(2, 3, 4, 5)),
        _records("Runs", values["runs"]),
    ]
    return [each for each in tables if each.rows]


def _interval(name: str, each: Spread) -> str:
    return "–" if each.low is None else f"{precise(name, each.low)} to {precise(name, each.high)}"


def _records(title: str, records: Sequence[Mapping[str, Any]]) -> Rows:
    """Return records as a table, with numbers at the right."""
    from bertie.reports.figures import name_of
    from bertie.reports.run import Rows

    head = list(dict.fromkeys(name for row in records for name in row))
    numbers = [
        column
        for column, name in enumerate(head)
        if all(isinstance(row.get(name), int | float | None) for row in records)
    ]
    cells = [[_cell(name, row.get(name)) for name in head] for row in records]
    words = head if title.startswith("Settings") else [name_of(name) for name in head]
    return Rows(title, words, cells, numbers=numbers)


def _cell(name: str, value: Any) -> str:
    from bertie.reports.figures import duration

    if name == "seconds" and value is not None:
        return duration(value)
    return precise(name, value) if isinstance(value, float) else "–" if value is None else str(value)
