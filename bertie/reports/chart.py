"""Charts as inline SVG: lines, a heat map, dots with their mean. No scripts, no fonts from elsewhere.

Colours come from the page's CSS variables, so that one drawing serves light and dark.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 520, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 34
_MAX_POINTS = 400


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float | None]]
    """(x, y); None or a number that isn't finite leaves a gap."""
    marked: bool = False
    """Draw a dot at every point, for series of few points."""


def lines(title: str, series: Sequence[Series], *, x_label: str, y_format: str = "{:g}") -> str:
    """Draw line charts in one frame.

    Args:
        title: above the frame.
        series: at most six; more share colours.
        x_label: what x counts.
        y_format: of the numbers at the left.

    Returns:
        A `<figure>`; a remark in place of the drawing when no point is finite.
    """
    drawn = [Series(part.name, _thin(part.points), part.marked) for part in series]
    finite = [(x, y) for part in drawn for x, y in part.points if y is not None and math.isfinite(y)]
    if not finite:
        return f'<figure class="chart"><figcaption>{escape(title)}</figcaption><p class="empty">no data</p></figure>'
    xs, ys = (
        _ticks(min(x for x, _ in finite), max(x for x, _ in finite)),
        _ticks(min(y for _, y in finite), max(y for _, y in finite)),
    )

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - xs[0]) / (xs[-1] - xs[0]) * (_WIDTH - _LEFT - _RIGHT)
        up = (y - ys[0]) / (ys[-1] - ys[0]) * (_HEIGHT - _TOP - _BOTTOM)
        return _LEFT + across, _HEIGHT - _BOTTOM - up

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in ys:
        _, y = place(xs[0], tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{y_format.format(tick)}</text>'
        )
    for tick in xs:
        x, _ = place(tick, ys[0])
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{_short(tick)}</text>'
        )
    for number, part in enumerate(drawn):
        parts += _line(part, number % 6, place)
    parts.append(
        f'<text class="tick" x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 2}" text-anchor="end">{escape(x_label)}</text></svg>'
    )
    legend = "".join(
        f'<span><i class="swatch c{number % 6}"></i>{escape(part.name)}</span>' for number, part in enumerate(drawn)
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}<span class="legend">{legend}</span></figcaption>'
        f"{''.join(parts)}</figure>"
    )


def _line(part: Series, colour: int, place: Callable[[float, float], tuple[float, float]]) -> list[str]:
    """Draw one series: a path with gaps, and a dot with a title for every marked point."""
    path, pen_down, dots = "", False, []
    for x, y in part.points:
        if y is None or not math.isfinite(y):
            pen_down = False
            continue
        across, down = place(x, y)
        path += f"{'L' if pen_down else 'M'}{across:.1f} {down:.1f}"
        pen_down = True
        if part.marked:
            hint = f"<title>{escape(part.name)}: {y:g} at {_short(x)}</title>"
            dots.append(f'<circle class="c{colour}" cx="{across:.1f}" cy="{down:.1f}" r="3">{hint}</circle>')
    return [f'<path class="line c{colour}" d="{path}"/>', *dots]


def heat_map(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix as a table whose shades are shares of each row; rows are gold, columns guesses."""
    head = "".join(f"<th>{escape(label)}</th>" for label in labels)
    rows = ""
    for number, (label, row) in enumerate(zip(labels, counts, strict=True)):
        total = max(1, sum(row))
        cells = "".join(
            f'<td class="{"right" if column == number else ""}" style="--share:{count / total:.3f}">{count:,}'
            f"<small>{count / total:.0%}</small></td>"
            for column, count in enumerate(row)
        )
        rows += f"<tr><th>{escape(label)}</th>{cells}</tr>"
    return (
        f'<div class="scroll"><table class="heat"><thead><tr><th class="corner">gold \\ guess</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def dots(rows: Sequence[tuple[str, Sequence[float]]], *, number_format: str = "{:.3f}") -> str:
    """Draw one row of dots a name, a bar from least to most and a tick at the mean."""
    values = [value for _, seeds in rows for value in seeds if math.isfinite(value)]
    if not values:
        return '<p class="empty">no data</p>'
    ticks = _ticks(min(values), max(values))
    left, width, step = 170, 470, 44
    height = step * len(rows) + 30

    def across(value: float) -> float:
        return left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (width - 20)

    parts = [f'<svg viewBox="0 0 {left + width + 110} {height}" role="img" aria-label="scores by seed">']
    for tick in ticks:
        parts.append(f'<line class="grid" x1="{across(tick):.1f}" x2="{across(tick):.1f}" y1="4" y2="{height - 24}"/>')
        parts.append(f'<text class="tick" x="{across(tick):.1f}" y="{height - 8}" text-anchor="middle">{tick:g}</text>')
    for number, (name, seeds) in enumerate(rows):
        y, mean = step * number + 24, sum(seeds) / max(1, len(seeds))
        spread = (sum((value - mean) ** 2 for value in seeds) / max(1, len(seeds) - 1)) ** 0.5
        first, last, middle = across(min(seeds)), across(max(seeds)), across(mean)
        words = f"{number_format.format(mean)} ± {number_format.format(spread)}"
        parts.append(f'<text class="name" x="{left - 14}" y="{y + 5}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<line class="span c{number % 6}" x1="{first:.1f}" x2="{last:.1f}" y1="{y}" y2="{y}"/>')
        parts += [f'<circle class="c{number % 6}" cx="{across(value):.1f}" cy="{y}" r="4.5"/>' for value in seeds]
        parts.append(f'<line class="mean" x1="{middle:.1f}" x2="{middle:.1f}" y1="{y - 11}" y2="{y + 11}"/>')
        parts.append(f'<text class="name" x="{left + width}" y="{y + 5}">{words}</text>')
    return f'<figure class="chart wide">{"".join(parts)}</svg></figure>'


def _thin(points: Sequence[tuple[float, float | None]]) -> list[tuple[float, float | None]]:
    """Take evenly spaced points, the first and last always, when there are more than a screen shows."""
    if len(points) <= _MAX_POINTS:
        return list(points)
    step = (len(points) - 1) / (_MAX_POINTS - 1)
    return [points[round(number * step)] for number in range(_MAX_POINTS)]


def _ticks(low: float, high: float) -> list[float]:
    """Choose four to seven round numbers that enclose a range."""
    if high <= low:
        spread = abs(low) * 0.1 or 1.0
        low, high = low - spread, high + spread
    rough = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _short(value: float) -> str:
    """Write 12000 as 12k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
