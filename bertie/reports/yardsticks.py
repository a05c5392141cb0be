"""[MASK] alone, beside counting: a section of a pre-training run's report, and what its curves are drawn with.

It reads the figures of run.json by their names. A run without yardsticks, such as an older one, has no such section.
"""

from collections.abc import Mapping
from typing import Any

from bertie.reports.figures import compact, duration, number
from bertie.reports.page import meter, section, table
from bertie.reports.text import safe

Summary = Mapping[str, Any]

PREFIXES = ("yardstick_", "plateau_left_", "expected_mask_loss")
"""Beginnings of the figures that stand in this section and nowhere else."""
_WAYS = {
    "unigram": "Always the commonest token (unigram)",
    "neighbours": "Counts of the tokens on both sides (two neighbours)",
}
_LINES = {"unigram": "unigram", "neighbours": "two neighbours"}


def yardsticks(summary: Summary) -> str:
    """Draw the section; nothing where the figures are missing."""
    rows = [(way, *_pair(summary, f"yardstick_{name}")) for name, way in _WAYS.items()]
    if any(loss is None for _, loss, _ in rows):
        return ""
    for kind, where in (("dev", "dev"), ("train", "the last steps of training")):
        own = _pair(summary, f"{kind}_mask")
        if own[0] is not None:
            rows.append((f"This network, {where}", *own))
            break
    cells = [[safe(way), _said(loss), "" if share is None else meter(share)] for way, loss, share in rows]
    return section(
        "[MASK] alone, beside counting",
        table(("guessed by", "loss", "right"), cells, numbers=[1]),
        remark=" ".join(
            [
                "Every chosen token is shown as [MASK]. In training a tenth of them stays, and is easily guessed.",
                *([f"The run {said}."] if (said := moment(summary)) else []),
                *([hoped] if (hoped := _expected(summary)) else []),
            ]
        ),
    )


def moment(summary: Summary) -> str:
    """Say when the plateau was left; "" where that isn't known."""
    tokens, seconds = _figure(summary, "plateau_left_tokens"), _figure(summary, "plateau_left_seconds")
    if tokens is None or seconds is None:
        return ""
    said = compact(float(f"{tokens:.2g}")) if tokens >= 1000 else number(tokens)
    return f"left the plateau after {said} tokens ({duration(float(f'{seconds:.2g}'))})"


def _expected(summary: Summary) -> str:
    """Say which loss was expected before the run began; "" where none was."""
    this, twice = _figure(summary, "expected_mask_loss"), _figure(summary, "expected_mask_loss_of_twice")
    if this is None or twice is None:
        return ""
    return f"Before it began, a loss of {this:.2f} was expected, and {twice:.2f} of a run twice as long."


def levels(summary: Summary, name: str) -> list[tuple[float, str]]:
    """Return the yardsticks of a figure, each with its name."""
    if name not in ("mask_loss", "mask_accuracy"):
        return []
    found = [(_figure(summary, f"yardstick_{way}_{name.removeprefix('mask_')}"), word) for way, word in _LINES.items()]
    digits = 2 if name.endswith("_loss") else 4
    return [(round(value, digits), word) for value, word in found if value is not None]


def plateau(summary: Summary, name: str) -> list[tuple[float, str]]:
    """Return where in the curves of a figure the plateau was left."""
    step = _figure(summary, "plateau_left_step")
    return [(step, "plateau left")] if name in ("mask_loss", "mask_accuracy") and step is not None else []


def _pair(summary: Summary, name: str) -> tuple[float | None, float | None]:
    return _figure(summary, f"{name}_loss"), _figure(summary, f"{name}_accuracy")


def _figure(summary: Summary, name: str) -> float | None:
    """Return a figure that can be drawn; None where there is none."""
    value = summary.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e100:
        return None
    return float(value)


def _said(loss: float | None) -> str:
    return "–" if loss is None else safe(f"{loss:.2f}")
