"""Show the results of an evaluation, for any task, as sections of a page: classes, calibration, errors, examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bertie.reports.by_class import by_class_section
from bertie.reports.calibration import Tenth, calibration_section
from bertie.reports.page import chip, meter, section, table, text
from bertie.reports.passages import Passage, passages
from bertie.reports.scatter import scatter


@dataclass(frozen=True)
class Wrong:
    """An item whose prediction is wrong or only partly right."""

    text: str
    gold: str
    guess: str
    confidence: float | None = None
    """Confidence of the prediction, 0 to 1; None for a task without confidences."""


@dataclass(frozen=True)
class Findings:
    """What a model predicted correctly and incorrectly; parts that a task lacks are empty."""

    labels: Sequence[str] = ()
    confusion: Sequence[Sequence[int]] = ()
    """Row = gold label, column = prediction; empty if an item can have several labels or none."""
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Precision, recall, f1 and support by label."""
    calibration: Sequence[Tenth] = ()
    """Items by confidence, in tenths."""
    estimates: Sequence[tuple[float, float]] = ()
    """(gold, prediction) of every item, for a task that predicts numbers."""
    worst: Sequence[Wrong] = ()
    """Worst first."""
    worst_drawn: Sequence[Passage] = ()
    """The same errors drawn in their texts, for a task that predicts spans of a text."""
    examples: Sequence[Passage] = ()
    """Some items of such a task, predicted correctly or incorrectly."""


def sections(found: Findings) -> list[str]:
    """Return all sections; those without content are empty."""
    return [
        by_class_section(found.labels, found.confusion, found.per_class),
        calibration_section(found.calibration),
        section("Predictions", scatter(found.estimates)),
        section(
            "Worst errors",
            passages(found.worst_drawn) or _table(found.worst),
            remark="The errors with the highest confidence, or the largest distance from the gold label. Often the "
            "gold label is wrong, or the text is hard.",
        ),
        section(
            "Examples",
            passages(found.examples),
            remark="Items from all parts of the data, each with at least one gold or predicted span.",
        ),
    ]


def _table(worst: Sequence[Wrong]) -> str:
    rows = [(text(one.text), chip(one.gold), chip(one.guess, wrong=True), one.confidence) for one in worst]
    if all(confidence is None for *_, confidence in rows):
        return table(("text", "gold", "prediction"), [cells for *cells, _ in rows])
    return table(
        ("text", "gold", "prediction", "probability"),
        [(*cells, "" if confidence is None else meter(confidence)) for *cells, confidence in rows],
    )
