"""Compare a pre-training run with its yardsticks: a section of its report, and the dashed lines in its charts.

The figures are read from run.json by their names. The report of a run without yardsticks, such as an older one, has no
such section.
"""

from collections.abc import Mapping
from typing import Any

from bertie.reports.figures import compact, duration, number
from bertie.reports.page import meter, section, table
from bertie.reports.text import safe

Summary = Mapping[str, Any]

PREFIXES = ("yardstick_", "plateau_left_", "expected_mask_loss")
"""Prefixes of the figures that the report shows only in this section."""
_METHODS = {
    "unigram": "Always the most frequent token (unigram)",
    "neighbours": "Counts of the tokens on both sides (two neighbours)",
}
_LINES = {"unigram": "unigram", "neighbours": "two neighbours"}


def yardsticks(summary: Summary) -> str:
    """Return the section; empty if the figures are missing."""
    rows = [(method, *_pair(summary, f"yardstick_{name}")) for name, method in _METHODS.items()]
    if any(loss is None for _, loss, _ in rows):
        return ""
    for kind, data in (("dev", "dev set"), ("train", "last steps of training")):
        loss_and_accuracy = _pair(summary, f"{kind}_mask")
        if loss_and_accuracy[0] is not None:
            rows.append((f"This model, {data}", *loss_and_accuracy))
            break
    cells = [[safe(method), _shown(loss), "" if share is None else meter(share)] for method, loss, share in rows]
    return section(
        "[MASK] alone, compared with token counts",
        table(("method", "loss", "accuracy"), cells, numbers=[1]),
        remark=" ".join(
            [
                "All chosen tokens are shown as [MASK]. In training, a tenth is unchanged and easy to predict.",
                *([f"The run {left}."] if (left := moment(summary)) else []),
                *([expected] if (expected := _expected(summary)) else []),
            ]
        ),
    )


def moment(summary: Summary) -> str:
    """Return a clause on when the run left the plateau; "" if that is unknown."""
    tokens, seconds = _figure(summary, "plateau_left_tokens"), _figure(summary, "plateau_left_seconds")
    if tokens is None or seconds is None:
        return ""
    count = compact(float(f"{tokens:.2g}")) if tokens >= 1000 else number(tokens)
    return f"left the plateau after {count} tokens ({duration(float(f'{seconds:.2g}'))})"


def _expected(summary: Summary) -> str:
    """Return a sentence on the loss that was expected before the run; "" if there was no expectation."""
    this, twice = _figure(summary, "expected_mask_loss"), _figure(summary, "expected_mask_loss_of_twice")
    if this is None or twice is None:
        return ""
    return f"The loss expected before the run was {this:.2f}, and {twice:.2f} for a run twice as long."


def levels(summary: Summary, name: str) -> list[tuple[float, str]]:
    """Return the values of a figure's yardsticks, each with its label."""
    if name not in ("mask_loss", "mask_accuracy"):
        return []
    measure = name.removeprefix("mask_")
    values = [(_figure(summary, f"yardstick_{method}_{measure}"), label) for method, label in _LINES.items()]
    digits = 2 if name.endswith("_loss") else 4
    return [(round(value, digits), label) for value, label in values if value is not None]


def plateau(summary: Summary, name: str) -> list[tuple[float, str]]:
    """Return the step at which the run left the plateau, with a label, for the charts that show it."""
    step = _figure(summary, "plateau_left_step")
    return [(step, "plateau left")] if name in ("mask_loss", "mask_accuracy") and step is not None else []


def _pair(summary: Summary, name: str) -> tuple[float | None, float | None]:
    return _figure(summary, f"{name}_loss"), _figure(summary, f"{name}_accuracy")


def _figure(summary: Summary, name: str) -> float | None:
    """Return a figure as a number that can be drawn; None if there is none."""
    value = summary.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e100:
        return None
    return float(value)


def _shown(loss: float | None) -> str:
    return "–" if loss is None else safe(f"{loss:.2f}")
