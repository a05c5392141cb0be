"""Write the report of a suite of minimal pairs: a chart of accuracy by phenomenon, and tables of all results."""

from __future__ import annotations

from pathlib import Path

from bertie.files.atomic import write_text
from bertie.inference.suite import Row, SuiteScores
from bertie.reports.figures import duration, percent, percent_tick
from bertie.reports.machine import these_versions, this_machine
from bertie.reports.page import cards, facts, folded, meter, page, section, table
from bertie.reports.text import safe, shorten
from bertie.version import VERSION

_WIDTH, _NAMES, _RIGHT, _HEAD, _ROW, _BAR, _FOOT = 1080, 240, 90, 8, 34, 18, 26
_NAME_COLUMNS = 30
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def write(path: Path, title: str, found: SuiteScores, *, settings: str) -> None:
    """Write the report atomically.

    Args:
        path: the HTML file.
        title: the heading.
        found: the scores of the suite.
        settings: the text of the command's config.toml.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the path can't be written to.
    """
    write_text(path, render(title, found, settings=settings))


def render(title: str, found: SuiteScores, *, settings: str) -> str:
    """Return the report's HTML."""
    head = [
        ("Accuracy", percent(found.accuracy), "chance level: 50%"),
        ("Pairs", f"{found.num_pairs:,}", f"{len(found.paradigms)} paradigms, {len(found.phenomena)} phenomena"),
        ("Ties", f"{found.num_ties:,}", "counted as wrong"),
        ("Sentences with [UNK]", f"{found.num_unknown:,}", "not covered by the vocabulary"),
        ("Time", duration(found.seconds), ""),
    ]
    rows = [(safe(row.name), meter(row.accuracy), f"{row.num_pairs:,}") for row in found.phenomena]
    paradigms = [
        (safe(row.phenomenon), safe(row.name), meter(row.accuracy), f"{row.num_pairs:,}") for row in found.paradigms
    ]
    parts = [
        cards(head),
        section(
            "By phenomenon",
            chart(found) + table(("phenomenon", "accuracy", "pairs"), rows, numbers=(2,)),
            remark="The share of pairs in which the model gives the acceptable sentence the higher probability.",
        ),
        section("By paradigm", table(("phenomenon", "paradigm", "accuracy", "pairs"), paradigms, numbers=(3,))),
        section(
            "How to reproduce",
            folded("config.toml", f"<pre>{safe(settings)}</pre>") + facts({**this_machine(), **these_versions()}),
        ),
    ]
    footer = f"Written by bertie {VERSION}. This page loads no other files."
    return page(title, "Minimal pairs", parts, footer=footer)


def chart(found: SuiteScores) -> str:
    """Draw a bar for each phenomenon, best first, with a dot for each of its paradigms, and a line at chance level."""
    phenomena = sorted(found.phenomena, key=lambda row: -row.accuracy)
    bottom = _HEAD + _ROW * len(phenomena)
    listed = "; ".join(f"{row.name}: {percent(row.accuracy)}" for row in phenomena)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {bottom + _FOOT}" role="img" aria-label="{safe(f"Accuracy. {listed}")}">']
    for tick in _TICKS:
        x, style = _across(tick), "ideal" if tick == 0.5 else "base" if tick == 0 else "grid"
        parts.append(f'<path class="{style}" d="M{x:.1f} {_HEAD}V{bottom}"/>')
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{bottom + 18}">{percent_tick(tick)}</text>')
    for index, row in enumerate(phenomena):
        parts.append(_bar(row, [one for one in found.paradigms if one.phenomenon == row.name], index))
    legend = (
        '<span class="legend"><span>bar: all pairs of a phenomenon</span><span><i class="swatch c1"></i>dot: a paradigm'
        "</span><span>dashed: chance level</span></span>"
    )
    return (
        f'<figure class="chart wide"><figcaption>Accuracy{legend}</figcaption>{"".join(parts)}</svg></figure>'
        if phenomena
        else ""
    )


def _bar(row: Row, paradigms: list[Row], index: int) -> str:
    middle = _HEAD + _ROW * (index + 0.5)
    dots = "".join(
        f'<circle class="c1" cx="{_across(one.accuracy):.1f}" cy="{middle:.1f}" r="4.5">'
        f"<title>{safe(one.name)}: {percent(one.accuracy)}</title></circle>"
        for one in paradigms
    )
    return (
        f'<text class="name end" x="{_NAMES}" y="{middle + 4.5:.1f}"><title>{safe(row.name)}</title>'
        f"{safe(shorten(row.name, _NAME_COLUMNS))}</text>"
        f'<rect class="bar c0" x="{_across(0.0):.1f}" y="{middle - _BAR / 2:.1f}" '
        f'width="{_across(row.accuracy) - _across(0.0):.1f}" height="{_BAR}" rx="3"/>{dots}'
        f'<text class="name strong" x="{_WIDTH - _RIGHT + 18}" y="{middle + 4.5:.1f}">{percent(row.accuracy)}</text>'
    )


def _across(share: float) -> float:
    return _NAMES + 18 + share * (_WIDTH - _RIGHT - _NAMES - 18)
