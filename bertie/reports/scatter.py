"""Draw predicted numbers against gold labels as inline SVG: one dot per item, right predictions on the diagonal."""

from collections.abc import Sequence

from bertie.reports.figures import number
from bertie.reports.scale import Scale, drawable, enclosing
from bertie.reports.text import safe

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 540, 58, 14, 10, 40, 500
_MAX_DOTS = 1500


def scatter(pairs: Sequence[tuple[float, float]]) -> str:
    """Draw (gold, prediction) pairs; both axes have the same scale.

    Args:
        pairs: pairs with a number that isn't finite are left out; of many thousands, evenly spaced ones are drawn.

    Returns:
        A `<figure>`; empty if there is no pair to draw.
    """
    real = [(gold, guess) for gold, guess in pairs if drawable(gold) and drawable(guess)]
    if not real:
        return ""
    values = [value for pair in real for value in pair]
    scale = enclosing(min(values), max(values), num_steps=5)
    stride = -(-len(real) // _MAX_DOTS)
    dots = "".join(
        f'<circle cx="{_across(scale, gold):.1f}" cy="{_down(scale, guess):.1f}" r="3.2"/>'
        for gold, guess in real[::stride]
    )
    ends = scale.low, scale.high
    corners = [f"{_across(scale, value):.1f} {_down(scale, value):.1f}" for value in ends]
    alternative = f"{len(real):,} predictions against gold labels, from {number(ends[0])} to {number(ends[1])}"
    shown = f"every {stride}th of {len(real):,} items" if stride > 1 else f"{len(real):,} items"
    return (
        f'<figure class="chart square"><figcaption>Prediction against gold label<span class="legend"><span>{shown}'
        "</span><span>dashed: prediction = gold label</span></span></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{safe(alternative)}">{_axes(scale)}'
        f'<path class="ideal" d="M{corners[0]}L{corners[1]}"/><g class="dots c0">{dots}</g></svg></figure>'
    )


def _axes(scale: Scale) -> str:
    parts = []
    for tick in scale.ticks:
        x, y, style = _across(scale, tick), _down(scale, tick), "base" if tick == scale.low else "grid"
        parts.append(f'<path class="{style}" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<path class="{style}" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text class="tick end" x="{_LEFT - 8}" y="{y + 4:.1f}">{safe(number(tick))}</text>')
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 17}">{safe(number(tick))}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text class="tick mid" x="{middle:.1f}" y="{_HEIGHT - 5}">gold label</text>')
    parts.append(f'<text class="tick label" x="{_LEFT + 6}" y="{_TOP + 14}">prediction</text>')
    return "".join(parts)


def _across(scale: Scale, value: float) -> float:
    return _LEFT + scale.share(value) * (_WIDTH - _LEFT - _RIGHT)


def _down(scale: Scale, value: float) -> float:
    return _HEIGHT - _BOTTOM - scale.share(value) * (_HEIGHT - _TOP - _BOTTOM)
