"""Is the model right as often as it says? A reliability diagram as inline SVG, and the expected calibration error."""

from collections.abc import Sequence

from bertie.reports.figures import percent, percent_tick
from bertie.reports.page import section, table
from bertie.reports.scale import drawable
from bertie.reports.text import safe

Tenth = tuple[float, float, int]
"""(mean score, mean credit, items) of the items whose score is in one tenth."""
_WIDTH, _LEFT, _RIGHT, _TOP = 540, 52, 14, 10
_PLOT, _GAP, _STRIP, _FOOT = 250, 10, 44, 40  # heights
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_CALM = 0.005  # a smaller lean to one side is none


def calibration_section(certainty: Sequence[Tenth]) -> str:
    """Draw how often the model is right beside how sure it was, with a table of the same figures."""
    tenths = [
        (min(1.0, max(0.0, score)), min(1.0, max(0.0, credit)), count)
        for score, credit, count in certainty
        if count > 0 and drawable(score) and drawable(credit)
    ]
    if not tenths:
        return ""
    rows = [(percent(score), percent(credit), f"{count:,}") for score, credit, count in tenths]
    drawing = diagram(tenths)
    listed = table(("says", "is right", "items"), rows, numbers=(0, 1, 2))
    return section("Calibration", f'<div class="pair">{drawing}{listed}</div>', remark=_about(tenths))


def expected_calibration_error(certainty: Sequence[Tenth]) -> float:
    """Return the mean distance of score and credit over tenths, each weighed by its items (Naeini et al., 2015)."""
    total = sum(count for _, _, count in certainty)
    return sum(count * abs(score - credit) for score, credit, count in certainty) / max(1, total)


def diagram(tenths: Sequence[Tenth]) -> str:
    """Draw a dot a tenth, its distance from the diagonal, and below it how many items there are.

    Args:
        tenths: scores and credits from 0 to 1.
    """
    bottom = _TOP + _PLOT
    height = bottom + _GAP + _STRIP + _FOOT
    most = max(count for _, _, count in tenths)
    said = f"Calibration: expected error {percent(expected_calibration_error(tenths))}"
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{safe(said)}">', _axes(bottom, height)]
    parts.append(f'<path class="ideal" d="M{_across(0):.1f} {_down(0):.1f}L{_across(1):.1f} {_down(1):.1f}"/>')
    floor = bottom + _GAP + _STRIP
    for score, credit, count in tenths:
        x, tall = _across(score), max(1.0, _STRIP * count / most)
        words = f"says {percent(score)}, is right {percent(credit)}, {count:,} items"
        parts.append(
            f'<g><title>{safe(words)}</title><path class="gap" d="M{x:.1f} {_down(score):.1f}V{_down(credit):.1f}"/>'
            f'<rect class="bar c0" x="{x - 12:.1f}" y="{floor - tall:.1f}" width="24" height="{tall:.1f}" rx="2"/>'
            f'<circle class="c0" cx="{x:.1f}" cy="{_down(credit):.1f}" r="{4 + 5 * (count / most) ** 0.5:.1f}"/></g>'
        )
    legend = (
        '<span class="legend"><span><i class="swatch c0"></i>a tenth of the scale, larger with more items</span>'
        "<span>dashed: right as often as it says</span></span>"
    )
    return (
        f'<figure class="chart"><figcaption>How often it is right{legend}</figcaption>{"".join(parts)}</svg></figure>'
    )


def _axes(bottom: int, height: int) -> str:
    parts = []
    for tick in _TICKS:
        x, y, kind = _across(tick), _down(tick), "base" if tick == 0 else "grid"
        parts.append(f'<path class="{kind}" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="tick end" x="{_LEFT - 8}" y="{y + 4:.1f}">{percent_tick(tick)}</text>')
        parts.append(f'<path class="{kind}" d="M{x:.1f} {_TOP}V{bottom}"/>')
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{height - 23}">{percent_tick(tick)}</text>')
    floor = bottom + _GAP + _STRIP
    parts.append(f'<path class="base" d="M{_LEFT} {floor}H{_WIDTH - _RIGHT}"/>')
    parts.append(f'<text class="tick end" x="{_LEFT - 8}" y="{floor - 2}">items</text>')
    parts.append(f'<text class="tick mid" x="{_across(0.5):.1f}" y="{height - 5}">what the model says</text>')
    return "".join(parts)


def _across(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _down(share: float) -> float:
    return _TOP + (1.0 - share) * _PLOT


def _about(tenths: Sequence[Tenth]) -> str:
    total = sum(count for _, _, count in tenths)
    lean = sum(count * (score - credit) for score, credit, count in tenths) / total
    side = "it is as sure as it should be over all"
    if abs(lean) >= _CALM:
        side = "it is surer than it should be" if lean > 0 else "it is less sure than it could be"
    return (
        f"Expected calibration error {percent(expected_calibration_error(tenths))}: what the model says of its guesses "
        f"beside how often they are right, over tenths of {total:,} items; {side}."
    )
