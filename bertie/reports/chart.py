"""Draw line charts as inline SVG: axes, gaps, a smoothed line over faint values, and values on hover. No scripts.

Colours come from the page's CSS variables, so one drawing serves light and dark pages.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from bertie.reports.figures import compact, number
from bertie.reports.scale import Scale, drawable, enclosing, fitting, logarithmic
from bertie.reports.text import safe

Point = tuple[float, float | None]
NUM_COLOURS = 6
_SIZES = {"large": (540, 252), "small": (350, 190)}
_RIGHT, _TOP, _BOTTOM = 12, 10, 24
_NUM_BUCKETS = 160
_NUM_BANDS = 48
_FEWEST_TO_SMOOTH = 30


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    points: Sequence[Point]
    """(x, y) with x ascending; None or a number that isn't finite leaves a gap."""
    marked: bool = False
    """Draw a dot at every point, for series of few points."""
    smooth: bool = False
    """Draw a running mean over the faint values; has no effect on fewer than 30 points."""
    colour: int | None = None
    """0 to 5; by default, the index of the series."""
    faint: bool = False
    """Draw a thin, pale line without a legend and values, behind a line that has them."""


@dataclass(frozen=True)
class _Frame:
    """The plotting area of one chart."""

    width: int
    height: int
    left: float
    x: Scale
    y: Scale

    def across(self, x: float) -> float:
        return self.left + self.x.share(x) * (self.width - self.left - _RIGHT)

    def down(self, y: float) -> float:
        return self.height - _BOTTOM - self.y.share(y) * (self.height - _TOP - _BOTTOM)


def lines(
    title: str,
    series: Sequence[Series],
    *,
    x_label: str,
    y_format: Callable[[float], str] = number,
    y_ticks: Callable[[float], str] | None = None,
    marks: Sequence[tuple[float, str]] = (),
    levels: Sequence[tuple[float, str]] = (),
    log: bool = False,
    size: str = "small",
) -> str:
    """Draw lines in one frame.

    Args:
        title: above the frame.
        series: the lines; there are six colours.
        x_label: what x counts, such as "step".
        y_format: formats a value in the legend and on hover.
        y_ticks: formats the tick labels of the y axis; `y_format` by default.
        marks: x values with a label each, for dashed vertical lines, such as where the data change.
        levels: y values with a label each, for dashed horizontal lines to compare with.
        log: use a logarithmic y axis; values of zero and below become gaps.
        size: large or small.

    Returns:
        A `<figure>`; it says "no data" if no point can be drawn.
    """
    kept = [
        (
            (index if part.colour is None else part.colour) % NUM_COLOURS,
            part,
            [(x, y if drawable(y, log=log) else None) for x, y in part.points if drawable(x)],
        )
        for index, part in enumerate(series)
    ]
    real = [(x, y) for _, _, points in kept for x, y in points if y is not None]
    if not real:
        return (
            f'<figure class="chart {size}"><figcaption>{safe(title)}</figcaption><p class="empty">no data</p></figure>'
        )
    levels = [(y, word) for y, word in levels if drawable(y, log=log)]
    ys = [*(y for _, y in real), *(y for y, _ in levels)]
    ends = min(ys), max(ys)
    y_scale = logarithmic(*ends) if log else enclosing(*ends)
    names = [(y_ticks or y_format)(tick) for tick in y_scale.ticks]
    width, height = _SIZES[size]
    left = 14 + 6.4 * max(len(name) for name in (*names, x_label))
    frame = _Frame(width, height, left, _x_scale([x for x, _ in real]), y_scale)
    drawn = "".join(_line(frame, colour, part, points) for colour, part, points in kept)
    named = [each for each in kept if not each[1].faint]
    last = [(colour, part.name, _last(part, points)) for colour, part, points in named]
    values = ", ".join(f"{name} {y_format(value)}" for _, name, value in last if value is not None)
    compared = "".join(f"; {word} {y_format(y)}" for y, word in levels)
    alternative = f"{title} over {x_label}; last values: {values}{compared}"
    return (
        f'<figure class="chart {size}"><figcaption>{safe(title)}{_legend(last, y_format)}</figcaption>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{safe(alternative)}">'
        f"{_axes(frame, names, x_label)}{_marks(frame, marks)}{drawn}"
        f"{_levels(frame, levels, y_format)}{_bands(frame, named, x_label, y_format)}</svg></figure>"
    )


def _x_scale(xs: Sequence[float]) -> Scale:
    """Return an axis that ends with the data, and begins at zero if the data begin near zero."""
    low, high = min(xs), max(xs)
    return fitting(0.0 if 0 < low <= 0.1 * high else low, high)


def _legend(last: Sequence[tuple[int, str, float | None]], y_format: Callable[[float], str]) -> str:
    """Return the legend: names, colours and last values."""
    entries = ""
    for colour, name, value in last:
        shown = "–" if value is None else safe(y_format(value))
        entries += f'<span><i class="swatch c{colour}"></i>{safe(name)} <b>{shown}</b></span>'
    return f'<span class="legend">{entries}</span>'


def _axes(frame: _Frame, names: Sequence[str], x_label: str) -> str:
    right, bottom = frame.width - _RIGHT, frame.height - _BOTTOM
    parts = []
    for tick, name in zip(frame.y.ticks, names, strict=True):
        y = frame.down(tick)
        style = "base" if tick == frame.y.ticks[0] else "grid"
        parts.append(f'<path class="{style}" d="M{frame.left:.1f} {y:.1f}H{right}"/>')
        parts.append(f'<text class="tick end" x="{frame.left - 8:.1f}" y="{y + 4:.1f}">{safe(name)}</text>')
    for tick in frame.x.ticks:
        x = frame.across(tick)
        parts.append(f'<path class="base" d="M{x:.1f} {bottom}v4"/>')
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{bottom + 17}">{compact(tick)}</text>')
    # The label of the x axis goes into the corner that both axes leave free.
    parts.append(f'<text class="tick end" x="{frame.left - 8:.1f}" y="{bottom + 17}">{safe(x_label)}</text>')
    return "".join(parts)


def _marks(frame: _Frame, marks: Sequence[tuple[float, str]]) -> str:
    """Draw a dashed vertical line for each mark, with its label to the left of the upper end if there is room."""
    parts = ""
    for x, word in marks:
        if frame.x.low <= x <= frame.x.high:
            across = frame.across(x)
            fits = across - frame.left > 6.4 * len(word)
            at = f'class="tick label{" end" if fits else ""}" x="{across + (-4 if fits else 4):.1f}" y="{_TOP + 8}"'
            parts += (
                f'<path class="mark" d="M{across:.1f} {_TOP}V{frame.height - _BOTTOM}"/><text {at}>{safe(word)}</text>'
            )
    return parts


def _levels(frame: _Frame, levels: Sequence[tuple[float, str]], y_format: Callable[[float], str]) -> str:
    """Draw dashed horizontal lines, with their labels at the right and the left end in turn."""
    right, parts = frame.width - _RIGHT, ""
    for index, (y, word) in enumerate(levels):
        down = frame.down(y)
        at = f'class="tick label" x="{frame.left + 6:.1f}"' if index % 2 else f'class="tick label end" x="{right - 4}"'
        parts += (
            f'<path class="mark" d="M{frame.left:.1f} {down:.1f}H{right}"/>'
            f'<text {at} y="{down - 5:.1f}">{safe(word)} {safe(y_format(y))}</text>'
        )
    return parts


def _line(frame: _Frame, colour: int, part: Series, points: Sequence[Point]) -> str:
    """Draw one series: its path with gaps, a dot at its end, and dots at all points if it is marked."""
    smooth = _is_smoothed(part, points)
    shown = thin(points)
    drawing = ""
    if part.faint:
        return _path(frame, smoothed(points) if smooth else shown, f"raw c{colour}")
    if smooth:
        drawing = _path(frame, shown, f"raw c{colour}")
        shown = smoothed(points)
    drawing += _path(frame, shown, f"line c{colour}")
    real = [(x, y) for x, y in shown if y is not None]
    # A single point between two gaps has no line, so it gets a dot.
    alone = [real_point for real_point in real if part.marked] or _alone(shown)
    for x, y in dict.fromkeys([*alone, *real[-1:]]):
        drawing += f'<circle class="c{colour}" cx="{frame.across(x):.1f}" cy="{frame.down(y):.1f}" r="3"/>'
    return drawing


def _path(frame: _Frame, points: Sequence[Point], style: str) -> str:
    path, pen_down = "", False
    for x, y in points:
        if y is not None:
            path += f"{'L' if pen_down else 'M'}{frame.across(x):.1f} {frame.down(y):.1f}"
        pen_down = y is not None
    return f'<path class="{style}" d="{path}"/>' if path else ""


def _alone(points: Sequence[Point]) -> list[tuple[float, float]]:
    ys = [None, *(y for _, y in points), None]
    return [
        (x, y) for index, (x, y) in enumerate(points) if y is not None and ys[index] is None and ys[index + 2] is None
    ]


def _bands(
    frame: _Frame,
    kept: Sequence[tuple[int, Series, Sequence[Point]]],
    x_label: str,
    y_format: Callable[[float], str],
) -> str:
    """Draw invisible strips that show, on hover, a vertical line, one dot per series, and the values."""
    xs = sorted({x for _, _, points in kept for x, y in points if y is not None})
    xs = [xs[index] for index in _evenly(len(xs), _NUM_BANDS)]
    centres = [frame.across(x) for x in xs]
    edges = [frame.left, *((a + b) / 2 for a, b in pairwise(centres)), float(frame.width - _RIGHT)]
    real = [(colour, part, {x: y for x, y in points if y is not None}) for colour, part, points in kept]
    strips = []
    for x, centre, start, stop in zip(xs, centres, edges, edges[1:], strict=False):
        at_x = [(colour, part.name, values[x]) for colour, part, values in real if x in values]
        words = "\n".join([f"{x_label} {number(x)}", *(f"{name}: {y_format(y)}" for _, name, y in at_x)])
        dots = "".join(
            f'<circle class="c{colour}" cx="{centre:.1f}" cy="{frame.down(y):.1f}" r="3.5"/>' for colour, _, y in at_x
        )
        strips.append(
            f'<g class="band"><title>{safe(words)}</title><rect x="{start:.1f}" y="{_TOP}" '
            f'width="{max(0.0, stop - start):.1f}" height="{frame.height - _TOP - _BOTTOM}"/>'
            f'<path class="guide" d="M{centre:.1f} {_TOP}V{frame.height - _BOTTOM}"/>{dots}</g>'
        )
    return "".join(strips)


def _is_smoothed(part: Series, points: Sequence[Point]) -> bool:
    return part.smooth and len(points) >= _FEWEST_TO_SMOOTH


def _last(part: Series, points: Sequence[Point]) -> float | None:
    """Return the last value of the line as drawn, smoothed or not."""
    drawn = smoothed(points) if _is_smoothed(part, points) else points
    return next((y for _, y in reversed(drawn) if y is not None), None)


def smoothed(points: Sequence[Point]) -> list[Point]:
    """Replace y by a mean over its neighbours, at no more points than a screen can show; keep the gaps.

    The window covers a thirtieth of the points on either side. At the start it is narrower, so that a steep first fall
    isn't flattened. At the end it is cut off, so that the last value is a mean too.
    """
    half = max(2, len(points) // 30)
    kept = _evenly(len(points), 3 * _NUM_BUCKETS)
    gaps = (next((index for index in range(*ends) if points[index][1] is None), None) for ends in pairwise(kept))
    means: list[Point] = []
    for index in sorted({*kept, *(gap for gap in gaps if gap is not None)}):
        x, y = points[index]
        window = points[index - min(half, index) : index + min(half, index) + 1]
        near = [value for _, value in window if value is not None]
        means.append((x, None if y is None else math.fsum(near) / len(near)))
    return means


def thin(points: Sequence[Point]) -> list[Point]:
    """Reduce thousands of points to what a screen can show: the minimum, the maximum and a gap of each interval."""
    if len(points) <= 3 * _NUM_BUCKETS:
        return list(points)
    kept = {0, len(points) - 1}
    for bucket in range(_NUM_BUCKETS):
        interval = range(bucket * len(points) // _NUM_BUCKETS, (bucket + 1) * len(points) // _NUM_BUCKETS)
        real = [(y, index) for index in interval if (y := points[index][1]) is not None]
        if real:
            kept |= {min(real)[1], max(real)[1]}
        kept |= {index for index in interval[:1] if not real}
        kept |= set([index for index in interval if points[index][1] is None][:1])
    return [points[index] for index in sorted(kept)]


def _evenly(count: int, wanted: int) -> list[int]:
    """Choose evenly spaced indices, including the first and the last."""
    if count <= wanted:
        return list(range(count))
    return [round(number * (count - 1) / (wanted - 1)) for number in range(wanted)]
