"""Draw the curves of a run: one chart for each figure in its records, with training and dev values."""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from bertie.reports.chart import Point, Series, lines
from bertie.reports.figures import compact, is_share, name_of, number, percent, percent_tick, shown
from bertie.reports.page import folded, table
from bertie.reports.text import safe
from bertie.reports.yardsticks import levels, plateau

Records = Sequence[Mapping[str, Any]]

# The first present name of each line comes first.
_FIRST = (
    ("mask_loss", "mlm_loss", "loss"),
    ("mask_accuracy", "mlm_accuracy", "f1", "accuracy", "spearman", "micro_f1", "macro_f1", "nsp_accuracy"),
)
_ORDER = ("nsp_accuracy", "nsp_loss", "loss", "macro_f1")
_LAST = ("learning_rate", "tokens_per_second", "gradient_norm")
_COUNTS = {"kind", "step", "seconds", "tokens", "epoch", "length"}
_MAX_ROWS = 40
_SHORTER = re.compile(r"_at_([0-9]+)_tokens$")
"""The end of the name of a dev figure that was measured at the sequence length of a stage, not at the longest."""


def curves(records: Records, summary: Mapping[str, Any]) -> str:
    """Draw a chart for every figure that has values at two or more steps; empty if there is none.

    Args:
        records: lines of metrics.jsonl.
        summary: figures of the run; its yardsticks are drawn as horizontal lines in the charts they belong to.
    """
    ordered = _ordered(records)
    drawn = [_chart(records, summary, name, size) for name, size in _sized(ordered)]
    return f'<div class="charts">{"".join(drawn)}</div>{_evaluations(records)}' if drawn else ""


def overlaid(runs: Mapping[str, Records], groups: Mapping[str, str] | None = None) -> str:
    """Draw several runs into the same charts, one line per run: dev values if there are any, else training values.

    Args:
        runs: records by the run's name.
        groups: the group of each run, by name; a group of several runs is drawn as its mean over pale lines.

    Returns:
        The charts; empty if no run has a figure with values at two or more steps.
    """
    names = list(dict.fromkeys(name for records in runs.values() for name in _ordered(records)))
    ordered = _in_order([name for name in names if name not in _LAST])
    drawn = [_chart_of_runs(runs, groups or {}, name, size) for name, size in _sized(ordered)]
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _ordered(records: Records) -> list[str]:
    """List the figures that have a curve, the most important first."""
    names = dict.fromkeys(name for row in records for name in row if name not in _COUNTS and not _SHORTER.search(name))
    return _in_order([name for name in names if _is_curve(records, name)])


def _in_order(present: Sequence[str]) -> list[str]:
    first = [name for names in _FIRST if (name := next((name for name in names if name in present), ""))]
    rest = [name for name in present if name not in (*first, *_LAST)]
    rest.sort(key=lambda name: _ORDER.index(name) if name in _ORDER else len(_ORDER))
    return [*first, *rest, *(name for name in _LAST if name in present)]


def _sized(ordered: Sequence[str]) -> list[tuple[str, str]]:
    num_large = _num_large(len(ordered))
    return [(name, "large" if index < num_large else "small") for index, name in enumerate(ordered)]


def _num_large(count: int) -> int:
    """Choose how many charts are large, two per row, so that the others fill rows of three."""
    return next((large for large in range(2, count + 1, 2) if (count - large) % 3 == 0), 0 if count == 3 else count)


def first_and_last(records: Records, kind: str, name: str) -> tuple[float, float] | None:
    """Return the first and the last value of a figure; None if it has fewer than two values."""
    values = [y for _, y in _points(records, kind, name) if y is not None and math.isfinite(y)]
    return (values[0], values[-1]) if len(values) > 1 else None


def _chart(records: Records, summary: Mapping[str, Any], name: str, size: str) -> str:
    series = []
    shorter = dict.fromkeys(
        end[1] for row in records for key in row if (end := _SHORTER.search(key)) and key[: end.start()] == name
    )
    drawn = [("train", name, "train"), ("dev", name, "dev")]
    drawn += [("dev", f"{name}_at_{length}_tokens", f"dev at {length}") for length in shorter]
    for colour, (kind, key, word) in enumerate(drawn):
        points = _points(records, kind, key)
        if any(y is not None for _, y in points):
            noisy = name != "learning_rate"
            series.append(
                Series(
                    word,
                    points,
                    marked=kind == "dev" and len(points) <= 40,
                    smooth=kind == "train" and noisy,
                    colour=colour,
                )
            )
    marks = [*changes(records), *plateau(summary, name)]
    return _lines(name, series, size, marks=marks, across=levels(summary, name))


def _chart_of_runs(runs: Mapping[str, Records], groups: Mapping[str, str], name: str, size: str) -> str:
    """Draw one figure of several runs: dev values if any run has them, else training values."""
    kind = "dev" if any(_points(records, "dev", name) for records in runs.values()) else "train"
    members: dict[str, list[list[Point]]] = {}
    for run, records in runs.items():
        points = _points(records, kind, name)
        if any(y is not None for _, y in points):
            members.setdefault(groups.get(run, run), []).append(points)
    order = list(dict.fromkeys(groups.get(run, run) for run in runs))  # a group has one colour in all charts
    faint, bold = [], []
    for group, lines_of_group in members.items():
        style: dict[str, Any] = {"colour": order.index(group), "smooth": kind == "train"}
        if len(lines_of_group) > 1:
            faint += [Series(group, points, faint=True, **style) for points in lines_of_group]
        middle = _mean_of(lines_of_group)
        bold.append(Series(group, middle, marked=kind == "dev" and len(middle) <= 40, **style))
    marks = changes(next(iter(runs.values())))
    return _lines(name, [*faint, *bold], size, marks=marks, title=f"{name_of(name)}, {kind}")


def _mean_of(members: Sequence[Sequence[Point]]) -> list[Point]:
    """Return the mean of several lines at the x values that all of them have; a gap where one has a gap."""
    values = [dict(points) for points in members]
    shared = [x for x, _ in members[0] if all(x in each for each in values)]
    rows = [(x, [each[x] for each in values]) for x in shared]
    return [(x, None if None in ys else math.fsum(y for y in ys if y is not None) / len(ys)) for x, ys in rows]


def _lines(
    name: str,
    series: Sequence[Series],
    size: str,
    *,
    marks: Sequence[tuple[float, str]],
    across: Sequence[tuple[float, str]] = (),
    title: str = "",
) -> str:
    share = is_share(name)
    return lines(
        title or name_of(name),
        series,
        x_label="step",
        y_format=percent if share else number,
        y_ticks=percent_tick if share else compact if name == "tokens_per_second" else number,
        marks=marks,
        levels=across,
        log=name == "gradient_norm",
        size=size,
    )


def changes(records: Records) -> list[tuple[float, str]]:
    """Return the steps after which the sequence length changed, each with a label such as "128 → 512"."""
    rows = [row for row in records if row.get("kind") == "train"]
    known = sorted((row["step"], row["length"]) for row in rows if _is_number(row.get("step")) and _is_length(row))
    return [(float(step), f"{old} → {new}") for (step, old), (_, new) in pairwise(known) if old != new]


def _points(records: Records, kind: str, name: str) -> list[Point]:
    """Return (step, value) of one figure, sorted by step; a value that is not a number becomes a gap."""
    rows = [row for row in records if row.get("kind") == kind and name in row and _is_number(row.get("step"))]
    points = [(float(row["step"]), float(row[name]) if _is_number(row[name]) else None) for row in rows]
    return sorted(points, key=lambda point: point[0])


def _holds(records: Records, name: str) -> bool:
    return any(_is_number(row.get(name)) for row in records if row.get("kind") in ("train", "dev"))


def _is_curve(records: Records, name: str) -> bool:
    """Return whether a figure has values at more than one step; a single value needs no chart."""
    points = (point for kind in ("train", "dev") for point in _points(records, kind, name))
    return len({x for x, y in points if y is not None}) > 1


def _is_length(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("length"), int)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _evaluations(records: Records) -> str:
    """Return the dev figures as a table, for readers who want the numbers or can't see the curves."""
    rows = [row for row in records if row.get("kind") == "dev" and _is_number(row.get("step"))]
    if not rows:
        return ""
    stride = -(-len(rows) // _MAX_ROWS)
    rows = [row for index, row in enumerate(rows) if index % stride == 0 or index == len(rows) - 1]
    names = list(dict.fromkeys(name for row in rows for name in row if name not in _COUNTS and _holds(rows, name)))
    cells = [[number(row["step"]), *(safe(shown(name, row.get(name))) for name in names)] for row in rows]
    head = ["step", *(name_of(name) for name in names)]
    return folded("Dev figures as a table", table(head, cells, numbers=range(len(head))))
