"""Compare the model's confidence with its accuracy: a reliability diagram as inline SVG, and the calibration error."""

from collections.abc import Sequence

from bertie.reports.figures import percent, percent_tick
from bertie.reports.page import section, table
from bertie.reports.scale import drawable
from bertie.reports.text import safe

Tenth = tuple[float, float, int]
"""(mean confidence, mean credit, items) of the items whose confidence is in one tenth of the range from 0 to 1."""
_WIDTH, _LEFT, _RIGHT, _TOP = 540, 52, 14, 10
_PLOT, _GAP, _STRIP, _FOOT = 250, 10, 44, 40  # heights
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_CALIBRATED = 0.005  # largest mean difference of confidence and credit that counts as none


def calibration_section(tenths: Sequence[Tenth]) -> str:
    """Return the section on calibration: a diagram and a table of confidence and accuracy; empty without items."""
    tenths = [
        (min(1.0, max(0.0, score)), min(1.0, max(0.0, credit)), count)
        for score, credit, count in tenths
        if count > 0 and drawable(score) and drawable(credit)
    ]
    if not tenths:
        return ""
    rows = [(percent(score), percent(credit), f"{count:,}") for score, credit, count in tenths]
    drawing = diagram(tenths)
    listed = table(("confidence", "correct", "items"), rows, numbers=(0, 1, 2))
    return section("Calibration", f'<div class="pair">{drawing}{listed}</div>', remark=_remark(tenths))


def expected_calibration_error(tenths: Sequence[Tenth]) -> float:
    """Return the mean distance of confidence and credit over tenths, weighted by items (Naeini et al., 2015)."""
    total = sum(count for _, _, count in tenths)
    return sum(count * abs(score - credit) for score, credit, count in tenths) / max(1, total)


def diagram(tenths: Sequence[Tenth]) -> str:
    """Draw a dot for each tenth, its distance from the diagonal, and below it a bar for its number of items.

    Args:
        tenths: confidence and credit from 0 to 1.
    """
    bottom = _TOP + _PLOT
    height = bottom + _GAP + _STRIP + _FOOT
    largest = max(count for _, _, count in tenths)
    summary = f"Calibration: expected error {percent(expected_calibration_error(tenths))}"
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{safe(summary)}">', _axes(bottom, height)]
    parts.append(f'<path class="ideal" d="M{_across(0):.1f} {_down(0):.1f}L{_across(1):.1f} {_down(1):.1f}"/>')
    floor = bottom + _GAP + _STRIP
    for score, credit, count in tenths:
        x, tall = _across(score), max(1.0, _STRIP * count / largest)
        words = f"confidence {percent(score)}, correct {percent(credit)}, {count:,} items"
        parts.append(
            f'<g><title>{safe(words)}</title><path class="gap" d="M{x:.1f} {_down(score):.1f}V{_down(credit):.1f}"/>'
            f'<rect class="bar c0" x="{x - 12:.1f}" y="{floor - tall:.1f}" width="24" height="{tall:.1f}" rx="2"/>'
            f'<circle class="c0" cx="{x:.1f}" cy="{_down(credit):.1f}" r="{4 + 5 * (count / largest) ** 0.5:.1f}"/></g>'
        )
    legend = (
        '<span class="legend"><span><i class="swatch c0"></i>one tenth of the confidence range; larger: more items'
        "</span><span>dashed: perfect calibration</span></span>"
    )
    caption = f"<figcaption>Share correct by confidence{legend}</figcaption>"
    return f'<figure class="chart">{caption}{"".join(parts)}</svg></figure>'


def _axes(bottom: int, height: int) -> str:
    parts = []
    for tick in _TICKS:
        x, y, style = _across(tick), _down(tick), "base" if tick == 0 else "grid"
        parts.append(f'<path class="{style}" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="tick end" x="{_LEFT - 8}" y="{y + 4:.1f}">{percent_tick(tick)}</text>')
        parts.append(f'<path class="{style}" d="M{x:.1f} {_TOP}V{bottom}"/>')
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{height - 23}">{percent_tick(tick)}</text>')
    floor = bottom + _GAP + _STRIP
    parts.append(f'<path class="base" d="M{_LEFT} {floor}H{_WIDTH - _RIGHT}"/>')
    parts.append(f'<text class="tick end" x="{_LEFT - 8}" y="{floor - 2}">items</text>')
    parts.append(f'<text class="tick mid" x="{_across(0.5):.1f}" y="{height - 5}">confidence</text>')
    return "".join(parts)


def _across(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _down(share: float) -> float:
    return _TOP + (1.0 - share) * _PLOT


def _remark(tenths: Sequence[Tenth]) -> str:
    total = sum(count for _, _, count in tenths)
    excess = sum(count * (score - credit) for score, credit, count in tenths) / total
    verdict = "On average, the confidence matches the share of correct predictions."
    if abs(excess) >= _CALIBRATED:
        verdict = f"On average, the model is {'overconfident' if excess > 0 else 'underconfident'}."
    return (
        f"Expected calibration error: {percent(expected_calibration_error(tenths))}. This is the mean difference "
        "between confidence and share of correct predictions over tenths of the confidence range, for "
        f"{total:,} items. {verdict}"
    )
