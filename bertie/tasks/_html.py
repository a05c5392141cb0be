"""How items and predictions look in a notebook: HTML without scripts, whose colours suit light and dark pages.

All styles are inline, so that they change nothing else on the page. Every text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np

from bertie.items import text as items_text
from bertie.tasks._lines import shown_fields
from bertie.terminal import fit

MOST_ROWS, _MOST_BARS, _MOST_VECTORS = 50, 5, 20
_LONGEST = 2_000  # characters of a text that are shown
_BLUE = "10,106,184"
_HUES = (210, 25, 160, 320, 45, 265)  # of the marks, one for each label
_CELL = "padding:4px 14px 4px 0;text-align:left;vertical-align:top;border:0"
_SOFT = "opacity:.65;font-size:90%"
_SMALL = "opacity:.8;font-size:75%;margin:0 3px 0 1px"


def safe(text: object) -> str:
    """Return a text as HTML that shows it literally; a long one is cut, and says so."""
    words = str(text)
    more = f" … {len(words) - _LONGEST:,} more characters" if len(words) > _LONGEST else ""
    return escape(fit(words[:_LONGEST])) + more


def page(items: Sequence[Any], predictions: Sequence[Any]) -> str:
    """Return predictions and their items as HTML.

    Args:
        items: the items of the predictions; None for an unknown one.
        predictions: one for each item.
    """
    few = list(zip(items[:MOST_ROWS], predictions[:MOST_ROWS], strict=True))
    more = len(predictions) - len(few)
    note = f'<p style="{_SOFT}">and {more:,} more</p>' if more > 0 else ""
    kinds = {type(one) for _, one in few}
    vectors = [getattr(one, "vector", None) for _, one in few[:_MOST_VECTORS]]
    if len(kinds) == 1 and len(vectors) > 1 and all(isinstance(one, np.ndarray) for one in vectors):
        return _similarities([item for item, _ in few[:_MOST_VECTORS]], np.stack([np.asarray(one) for one in vectors]))
    return _table([_row(item, prediction) for item, prediction in few]) + note


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return records as a table with a head."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _table([[_figure(row.get(name)) for name in names] for row in rows], [safe(name) for name in names])


def figures(values: Mapping[str, Any]) -> str:
    """Return named figures as a table of two columns."""
    return _table([[f'<span style="{_SOFT}">{safe(name)}</span>', _figure(value)] for name, value in values.items()])


def _figure(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return safe("" if value is None else value)
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else safe(value)


def _table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Return cells of HTML as a table, without the zebra stripes that notebooks give to tables."""

    def line(cells: Sequence[str], tag: str) -> str:
        joined = "".join(f'<{tag} style="{_CELL}">{cell}</{tag}>' for cell in cells)
        return f'<tr style="background:none">{joined}</tr>'

    lines = [line(head, "th")] if head else []
    lines += [line(row, "td") for row in rows]
    return f'<table style="border-collapse:collapse;border:0;margin:4px 0">{"".join(lines)}</table>'


def _row(item: Any, prediction: Any) -> list[str]:
    """Return the cells of a prediction: its item, unless the prediction shows that itself, and its body."""
    if _spans(prediction) is not None and item is not None:
        return [_body(item, prediction)]
    if hasattr(prediction, "n_best") and item is not None:
        return [f'<b dir="auto">{safe(items_text.sides(item)[0])}</b>{_body(item, prediction)}']
    return [_heading(item), _body(item, prediction)]


def _spans(prediction: Any) -> Sequence[Any] | None:
    """Return the spans of a prediction that has some, even if they are none."""
    spans = getattr(prediction, "spans", None)
    return spans if isinstance(spans, Sequence) and not isinstance(spans, str) else None


def _heading(item: Any) -> str:
    """Return the texts of an item, one below the other."""
    if item is None:
        return ""
    return "<br>".join(f'<span dir="auto">{safe(side)}</span>' for side in items_text.sides(item) if side is not None)


def _body(item: Any, prediction: Any) -> str:
    """Return a prediction of any class as HTML."""
    if isinstance(prediction, list):
        return _guesses(prediction)
    if (spans := _spans(prediction)) is not None:
        if not spans and any(tag != "O" for tag in getattr(prediction, "tags", ())):
            return _tagged(prediction.words, prediction.tags)
        text = getattr(prediction, "text", None) or (items_text.sides(item)[0] if item is not None else "")
        return marked(text, [(span.start, span.end, span.label) for span in spans])
    if hasattr(prediction, "n_best"):
        return _answer(item, prediction)
    scores = getattr(prediction, "scores", None)
    if isinstance(scores, Mapping):
        best = sorted(scores.items(), key=lambda pair: -pair[1])[:_MOST_BARS]
        return "".join(bar(name, score, strong=name == prediction.label) for name, score in best)
    if hasattr(prediction, "label") and isinstance(getattr(prediction, "score", None), float):
        return bar(getattr(prediction, "choice", prediction.label), prediction.score, strong=True)
    try:
        parts = shown_fields(prediction)
    except TypeError:  # not a dataclass
        return safe(prediction)
    return figures(
        {
            name: f"{' × '.join(map(str, value.shape))} numbers" if isinstance(value, np.ndarray) else value
            for name, value in parts.items()
        }
    )


def _tagged(words: Sequence[str], tags: Sequence[str]) -> str:
    """Return words, each followed by its tag."""
    parts = [f'{safe(word)}<sub style="{_SMALL}">{safe(tag)}</sub>' for word, tag in zip(words, tags, strict=True)]
    return f'<div dir="auto" style="line-height:1.9;max-width:900px">{" ".join(parts)}</div>'


def bar(name: object, share: float, *, strong: bool = False) -> str:
    """Return a name, a bar for a share between 0 and 1, and the share in percent."""
    width = 100 * min(1.0, max(0.0, share)) if share == share else 0.0
    weight = "font-weight:600;" if strong else ""
    return (
        f'<div style="display:flex;align-items:center;gap:10px;max-width:430px;margin:1px 0;{weight}">'
        '<span dir="auto" style="flex:0 0 180px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap">'
        f"{safe(name)}</span>"
        '<span style="flex:1 0 110px;height:9px;border-radius:5px;background:rgba(127,127,127,.2);overflow:hidden">'
        f'<span style="display:block;height:100%;width:{width:.1f}%;background:rgba({_BLUE},.75)"></span></span>'
        f'<span style="flex:0 0 48px;text-align:right;font-variant-numeric:tabular-nums">{share:.1%}</span></div>'
    )


def marked(text: str, spans: Sequence[tuple[int, int, str]]) -> str:
    """Return a text with its spans tinted, each followed by its label; spans may nest or overlap.

    Args:
        text: any text.
        spans: (start, end, label) of each, in characters. Those outside the text are left out.
    """
    labels = sorted({label for *_, label in spans})
    hues = {label: _HUES[number % len(_HUES)] for number, label in enumerate(labels)}
    kept = [span for span in spans if 0 <= span[0] < span[1] <= min(len(text), _LONGEST)]
    edges = sorted({0, min(len(text), _LONGEST), *(edge for start, end, _ in kept for edge in (start, end))})
    parts = []
    for start, end in pairwise(edges):
        over = [label for first, last, label in kept if first <= start and end <= last]
        part = escape(fit(text[start:end]))
        if over:
            tint = f"hsla({hues[over[-1]]},75%,50%,.28)"
            part = f'<span style="background:{tint};border-radius:4px;padding:1px 3px">{part}</span>'
        parts.append(part)
        parts += [f'<sub style="{_SMALL}">{safe(label)}</sub>' for _, last, label in kept if last == end]
    more = f" … {len(text) - _LONGEST:,} more characters" if len(text) > _LONGEST else ""
    return f'<div dir="auto" style="line-height:1.9;max-width:900px">{"".join(parts)}{more}</div>'


def curve(title: str, points: Sequence[tuple[float, float]]) -> str:
    """Return a line through points, with its first and last value; empty for fewer than two points."""
    known = [(x, y) for x, y in points if np.isfinite(x) and np.isfinite(y)]
    if len(known) < 2:
        return ""
    across, up = np.array(known, float).T
    width, height = 420.0, 90.0
    x = (across - across.min()) / max(float(np.ptp(across)), 1e-12) * width
    y = height - (up - up.min()) / max(float(np.ptp(up)), 1e-12) * height
    path = " ".join(f"{one:.1f},{other:.1f}" for one, other in zip(x, y, strict=True))
    words = f"{title}: {known[0][1]:.4g} at step {known[0][0]:,.0f}, {known[-1][1]:.4g} at step {known[-1][0]:,.0f}"
    return (
        f'<div style="{_SOFT};margin-top:4px">{safe(words)}</div>'
        f'<svg viewBox="-4 -4 {width + 8:.0f} {height + 8:.0f}" width="{width:.0f}" '
        f'role="img" aria-label="{safe(words)}">'
        f'<polyline points="{path}" fill="none" stroke="rgb({_BLUE})" stroke-width="2" stroke-linejoin="round"/></svg>'
    )


def _guesses(guesses: list[Any]) -> str:
    """Return the guesses for each mask, side by side."""
    masks = guesses if guesses and isinstance(guesses[0], list) else [guesses]
    if not all(hasattr(guess, "words") and hasattr(guess, "score") for mask in masks for guess in mask):
        return safe(guesses)
    columns = [
        "".join(bar(guess.words(), guess.score, strong=not number) for number, guess in enumerate(mask))
        for mask in masks
    ]
    return (
        f'<div style="display:flex;flex-wrap:wrap;gap:8px 32px">{"".join(f"<div>{one}</div>" for one in columns)}</div>'
    )


def _answer(item: Any, reply: Any) -> str:
    """Return the answer in its context, then the best answers with their probabilities."""
    context = (items_text.sides(item)[1] or "") if item is not None else ""
    shown = marked(context, [(reply.start, reply.end, "")] if reply.text else [])
    best = list(reply.n_best)[:_MOST_BARS]
    bars = "".join(bar(one.text or "(no answer)", one.score, strong=one.text == reply.text) for one in best)
    return bars + (shown if context else "")


def _similarities(items: Sequence[Any], vectors: Any) -> str:
    """Return the cosines of all pairs of vectors as a tinted matrix."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0.0, lengths, 1.0)
    rows = []
    for number, cosines in enumerate(unit @ unit.T):
        cells = "".join(
            f'<td style="border:0;padding:5px 8px;text-align:center;font-variant-numeric:tabular-nums;'
            f'background:rgba({_BLUE},{max(0.0, float(value)) * 0.55:.2f})">{value:.2f}</td>'
            for value in cosines
        )
        name = _heading(items[number])
        rows.append(f'<tr style="background:none"><td style="{_CELL}">{number + 1}. {name}</td>{cells}</tr>')
    head = "".join(f'<th style="border:0;text-align:center">{number + 1}</th>' for number in range(len(items)))
    return (
        '<table style="border-collapse:collapse;border:0"><tr style="background:none">'
        f'<th style="{_CELL}">cosine</th>{head}</tr>{"".join(rows)}</table>'
    )
