"""Texts with spans drawn in them: what was found rightly, missed, and found wrongly. Entities, answers, any span.

A gold span is a line under the text, a guess a tint behind it, and a guess that is right has both: so spans that cross
or lie in one another can still be told apart, without colours too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bertie.reports.page import chip, meter
from bertie.reports.text import safe

_WHOLE = 700  # characters of a text that is shown from end to end
_MARGIN = 140  # characters to either side of a span, in longer ones
_MOST_MARKS = 60
_NUDGE = 16  # characters by which an excerpt may be shorter, not to cut a word
_SIGNS = {"right": "✓", "missed": "○", "wrong": "✗"}


@dataclass(frozen=True)
class Mark:
    """A span of a text."""

    start: int
    """First character."""
    end: int
    """The one after the last."""
    kind: Literal["right", "missed", "wrong"]
    label: str = ""
    """What kind of thing it is, such as PER; empty where there is only one kind."""


@dataclass(frozen=True)
class Passage:
    """A text with what was found in it."""

    text: str
    marks: Sequence[Mark]
    question: str = ""
    """Stands above the text."""
    gold: str | None = None
    """The right answer in words, below; left out when None."""
    guess: str | None = None
    right: bool = False
    """Whether the guess is as good as gold."""
    score: float | None = None
    """How sure the model was, 0 to 1."""


def passages(drawn: Sequence[Passage]) -> str:
    """Draw every text, under a line that says what the marks mean; nothing without a text."""
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
        parts.append(f"<span>guess {chip(_shortened(one.guess), wrong=not one.right)}</span>")
    if one.score is not None:
        parts.append(meter(one.score))
    below = f'<p class="verdict">{"".join(parts)}</p>' if parts else ""
    return f'<article class="passage">{above}<p dir="auto">{marked(one.text, one.marks)}</p>{below}</article>'


def _shortened(text: str) -> str:
    return text if len(text) <= _WHOLE else f"{text[:_WHOLE]}…"


def marked(text: str, marks: Sequence[Mark]) -> str:
    """Return a text with its marks as HTML; of a long text what stands around them.

    Args:
        text: any text.
        marks: may cross and repeat each other; what lies outside the text or is empty isn't drawn.
    """
    within = [mark for mark in marks if 0 <= mark.start < mark.end <= len(text)]
    kept = sorted(within, key=lambda mark: (mark.start, mark.end, mark.kind))[:_MOST_MARKS]
    html, last = "", 0
    for start, end in excerpts(text, kept):
        html += "… " if start > last else ""
        html += _excerpt(text, kept, start, end)
        html += " …" if end < len(text) else ""
        last = end
    dropped = len(within) - len(kept)
    return html + (f' <small class="tag">and {dropped:,} more spans</small>' if dropped else "")


def excerpts(text: str, marks: Sequence[Mark]) -> list[tuple[int, int]]:
    """Choose what of a text is shown: [start, end) of each run, in order and apart from each other."""
    if len(text) <= _WHOLE:
        return [(0, len(text))]
    places = sorted({place for mark in marks for place in (mark.start, mark.end)}) or [_MARGIN]
    runs: list[tuple[int, int]] = []
    for place in places:
        start, end = max(0, place - _MARGIN), min(len(text), place + _MARGIN)
        if runs and start <= runs[-1][1] + 2 * _NUDGE:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return [_at_words(text, *run) for run in runs]


def _at_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Move the ends of a run to spaces nearby, where the text has some."""
    if start > 0 and (space := text.find(" ", start, start + _NUDGE)) >= 0:
        start = space + 1
    if end < len(text) and (space := text.rfind(" ", end - _NUDGE, end)) >= 0:
        end = space
    return start, end


def _excerpt(text: str, marks: Sequence[Mark], start: int, end: int) -> str:
    """Draw one run: cut at every edge of a mark, each stretch in the look of all marks over it."""
    edges = {edge for mark in marks for edge in (mark.start, mark.end) if start < edge < end}
    html, before = "", start
    for edge in [*sorted(edges), end]:
        over = [mark for mark in marks if mark.start <= before and mark.end >= edge]
        kinds = " ".join(dict.fromkeys(mark.kind for mark in over))
        stretch = safe(text[before:edge])
        html += f'<span class="found {kinds}">{stretch}</span>' if over else stretch
        html += "".join(_tag(mark) for mark in marks if mark.end == edge)
        before = edge
    return html


def _tag(mark: Mark) -> str:
    """Say what a mark is, behind its last character."""
    kind = mark.label or mark.kind
    hidden = "" if not mark.label else f'<span class="unseen"> {mark.kind}</span>'
    return f'<small class="tag {mark.kind}">{_SIGNS[mark.kind]}&#8239;<bdi>{safe(kind)}</bdi>{hidden}</small>'
