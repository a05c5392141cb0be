"""Draw the scores of several methods as inline SVG: a bar from zero to the mean, and an enlarged plot of the seeds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bertie.metrics.spread import deviation, mean
from bertie.reports.chart import NUM_COLOURS
from bertie.reports.figures import number, percent, percent_tick
from bertie.reports.scale import Scale, drawable, enclosing
from bertie.reports.text import safe, shorten

_WIDTH, _HEAD, _ROW, _BAR, _FOOT = 1080, 26, 48, 22, 24
_NAMES, _FIGURES = 164, 950  # x at which the names end and the scores begin
_NAME_COLUMNS = 21


@dataclass(frozen=True)
class _Panel:
    """One of the two drawings, with an axis of its own."""

    title: str
    left: float
    width: float
    scale: Scale

    def across(self, value: float) -> float:
        return self.left + self.scale.share(value) * self.width


def bars(title: str, rows: Sequence[tuple[str, Sequence[float]]], *, unit: str = "") -> str:
    """Draw one row for each method: a bar from zero to the mean, and an enlarged plot of the seeds.

    Args:
        title: for the alternative text.
        rows: for each method its name and one score per seed; scores that aren't finite are left out.
        unit: "%" writes shares of one in percent; any other unit is appended to the numbers.

    Returns:
        A `<figure>`; it says "no data" if there are no scores.
    """
    kept = [(name, [value for value in scores if drawable(value)]) for name, scores in rows]
    means = [mean(scores) for _, scores in kept if scores]
    if not means:
        return '<figure class="chart"><p class="empty">no data</p></figure>'
    write, write_tick = _writers(unit)
    spreads = [mean(scores) + sign * deviation(scores) for _, scores in kept if scores for sign in (-1, 1)]
    values = [*spreads, *(value for _, scores in kept for value in scores)]
    whole = _Panel("mean", _NAMES + 20, 310, enclosing(min(0.0, *means), max(0.0, *means)))
    enlarged = _Panel("single seeds, mean and spread (enlarged)", 545, 365, enclosing(min(values), max(values)))
    bottom = _HEAD + _ROW * len(kept)
    listed = "; ".join(f"{name}: {_figure(scores, write)}" for name, scores in kept)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {bottom + _FOOT}" role="img" aria-label="{safe(f"{title}. {listed}")}">']
    parts += [_axis(panel, bottom, write_tick) for panel in (whole, enlarged)]
    for row, (name, scores) in enumerate(kept):
        middle = _HEAD + _ROW * (row + 0.5)
        parts.append(
            f'<text class="name end" x="{_NAMES}" y="{middle + 4.5:.1f}"><title>{safe(name)}</title>'
            f"{safe(shorten(name, _NAME_COLUMNS))}</text>"
        )
        parts.append(
            f'<text class="name strong" x="{_FIGURES}" y="{middle + 4.5:.1f}">{safe(_figure(scores, write))}</text>'
        )
        if scores:
            parts.append(_bar(whole, scores, middle, row % NUM_COLOURS))
            parts.append(_seeds(enlarged, scores, middle, row % NUM_COLOURS, write))
    return f'<figure class="chart wide">{"".join(parts)}</svg></figure>'


def _axis(panel: _Panel, bottom: float, write_tick: Callable[[float], str]) -> str:
    parts = [f'<text class="tick" x="{panel.left:.1f}" y="14">{safe(panel.title)}</text>']
    for tick in panel.scale.ticks:
        x, style = panel.across(tick), "base" if tick == 0 else "grid"
        parts.append(f'<path class="{style}" d="M{x:.1f} {_HEAD}V{bottom}"/>')
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{bottom + 17}">{safe(write_tick(tick))}</text>')
    return "".join(parts)


def _bar(panel: _Panel, scores: Sequence[float], middle: float, colour: int) -> str:
    ends = sorted((panel.across(0.0), panel.across(mean(scores))))
    return (
        f'<rect class="bar c{colour}" x="{ends[0]:.1f}" y="{middle - _BAR / 2:.1f}" width="{ends[1] - ends[0]:.1f}" '
        f'height="{_BAR}" rx="3"/>'
    )


def _seeds(panel: _Panel, scores: Sequence[float], middle: float, colour: int, write: Callable[[float], str]) -> str:
    """Draw one spread to either side of the mean, a line at the mean, and one dot per seed."""
    low, centre, high = (panel.across(mean(scores) + sign * deviation(scores)) for sign in (-1, 0, 1))
    shape = f'x="{low:.1f}" y="{middle - 7:.1f}" width="{high - low:.1f}" height="14" rx="7"'
    parts = [f'<rect class="spread c{colour}" {shape}/><path class="whisker" d="M{centre:.1f} {middle - 12:.1f}v24"/>']
    for value in scores:
        centre_of_dot = f'cx="{panel.across(value):.1f}" cy="{middle:.1f}"'
        parts.append(f'<circle class="c{colour}" {centre_of_dot} r="5"><title>{safe(write(value))}</title></circle>')
    return "".join(parts)


def _figure(scores: Sequence[float], write: Callable[[float], str]) -> str:
    if not scores:
        return "–"
    if len(scores) == 1:
        return write(scores[0])
    return f"{write(mean(scores)).removesuffix('%')} ± {write(deviation(scores))}"


def _writers(unit: str) -> tuple[Callable[[float], str], Callable[[float], str]]:
    if unit == "%":
        return percent, percent_tick
    suffix = f" {unit}" if unit else ""
    return (lambda value: f"{value:.3f}{suffix}" if abs(value) < 10 else f"{number(value)}{suffix}"), number
