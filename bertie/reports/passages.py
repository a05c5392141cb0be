"""Draw texts with their spans (entities, answers): predicted correctly, missed, or predicted incorrectly.

A gold span is underlined, a predicted span has a tinted background, and a right prediction has both. So crossing and
nested spans can be distinguished, even without colours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bertie.items.item import Mark
from bertie.reports.page import chip, meter
from bertie.reports.text import safe

_WHOLE = 700  # longest text, in characters, that is shown as a whole
_MARGIN = 140  # characters shown on either side of a span in a longer text
_MAX_MARKS = 60
_NUDGE = 16  # characters by which an excerpt may be shortened so that it does not cut a word
_SIGNS = {"right": "✓", "missed": "○", "wrong": "✗"}


@dataclass(frozen=True)
class Passage:
    """A text with its gold and predicted spans."""

    text: str
    marks: Sequence[Mark]
    question: str = ""
    """Shown above the text."""
    gold: str | None = None
    """The gold answer, shown below the text; left out if None."""
    guess: str | None = None
    """The predicted answer, shown below the text; left out if None."""
    right: bool = False
    """Whether the prediction is right."""
    confidence: float | None = None
    """Confidence of the prediction, 0 to 1."""


def passages(drawn: Sequence[Passage]) -> str:
    """Draw every text, under a key to the marks; empty without texts."""
    if not drawn:
        return ""
    key = "".join(f'<span class="found {kind}">{kind}</span> {sign} ' for kind, sign in _SIGNS.items())
    cells = "".join(_passage(one) for one in drawn)
    return f'<p class="key">{key.rstrip()}</p><div class="passages">{cells}</div>'


def _passage(one: Passage) -> str:
    above = f'<h3 dir="auto" class="question">{safe(_shortened(one.question))}</h3>' if one.question else ""
    parts = []
    if one.gold is not None:
        parts.append(f"<span>gold {chip(_shortened(one.gold))}</span>")
    if one.guess is not None:
        parts.append(f"<span>prediction {chip(_shortened(one.guess), wrong=not one.right)}</span>")
    if one.confidence is not None:
        parts.append(meter(one.confidence))
    below = f'<p class="verdict">{"".join(parts)}</p>' if parts else ""
    return f'<article class="passage">{above}<p dir="auto">{marked(one.text, one.marks)}</p>{below}</article>'


def _shortened(text: str) -> str:
    return text if len(text) <= _WHOLE else f"{text[:_WHOLE]}…"


def marked(text: str, marks: Sequence[Mark]) -> str:
    """Return a text with its marks as HTML; a long text is reduced to excerpts around the marks.

    Args:
        text: any text.
        marks: the spans. They may overlap and repeat. Empty ones and those outside the text are not drawn.
    """
    within = [mark for mark in marks if 0 <= mark.start < mark.end <= len(text)]
    kept = sorted(within, key=lambda mark: (mark.start, mark.end, mark.kind))[:_MAX_MARKS]
    html, last = "", 0
    for start, end in excerpts(text, kept):
        html += "… " if start > last else ""
        html += _excerpt(text, kept, start, end)
        html += " …" if end < len(text) else ""
        last = end
    dropped = len(within) - len(kept)
    return html + (f' <small class="tag">and {dropped:,} more spans</small>' if dropped else "")


def excerpts(text: str, marks: Sequence[Mark]) -> list[tuple[int, int]]:
    """Choose the excerpts of a text to show: [start, end) of each, in order and without overlap."""
    if len(text) <= _WHOLE:
        return [(0, len(text))]
    edges = sorted({edge for mark in marks for edge in (mark.start, mark.end)}) or [_MARGIN]
    runs: list[tuple[int, int]] = []
    for edge in edges:
        start, end = max(0, edge - _MARGIN), min(len(text), edge + _MARGIN)
        if runs and start <= runs[-1][1] + 2 * _NUDGE:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return [_at_words(text, *run) for run in runs]


def _at_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Move the ends of an excerpt to spaces nearby, if there are any."""
    if start > 0 and (space := text.find(" ", start, start + _NUDGE)) >= 0:
        start = space + 1
    if end < len(text) and (space := text.rfind(" ", end - _NUDGE, end)) >= 0:
        end = space
    return start, end


def _excerpt(text: str, marks: Sequence[Mark], start: int, end: int) -> str:
    """Draw one excerpt: split it at the edges of the marks, and style each part by all marks that cover it."""
    edges = {edge for mark in marks for edge in (mark.start, mark.end) if start < edge < end}
    html, before = "", start
    for edge in [*sorted(edges), end]:
        over = [mark for mark in marks if mark.start <= before and mark.end >= edge]
        kinds = " ".join(dict.fromkeys(mark.kind for mark in over))
        part = safe(text[before:edge])
        html += f'<span class="found {kinds}">{part}</span>' if over else part
        html += "".join(_tag(mark) for mark in marks if mark.end == edge)
        before = edge
    return html


def _tag(mark: Mark) -> str:
    """Return the label of a mark, shown after its last character."""
    label = mark.label or mark.kind
    hidden = "" if not mark.label else f'<span class="unseen"> {mark.kind}</span>'
    return f'<small class="tag {mark.kind}">{_SIGNS[mark.kind]}&#8239;<bdi>{safe(label)}</bdi>{hidden}</small>'
