"""What an evaluation found, whatever the task, as sections of a page: classes, calibration, errors, drawn examples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bertie.reports.by_class import by_class_section
from bertie.reports.calibration import Tenth, calibration_section
from bertie.reports.page import chip, meter, section, table, text
from bertie.reports.passages import Passage, passages
from bertie.reports.scatter import scatter


@dataclass(frozen=True)
class Wrong:
    """An item that was answered wrongly, or not quite rightly."""

    text: str
    gold: str
    guess: str
    score: float | None = None
    """How sure the model was of its guess, 0 to 1; None for a task that doesn't say."""


@dataclass(frozen=True)
class Findings:
    """What a model got right and wrong; parts that a task doesn't have are empty."""

    labels: Sequence[str] = ()
    confusion: Sequence[Sequence[int]] = ()
    """Row = gold, column = guess; empty where items have not one label each."""
    per_class: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Precision, recall, f1 and support by label."""
    certainty: Sequence[Tenth] = ()
    """Items by how sure the model was, in tenths."""
    estimates: Sequence[tuple[float, float]] = ()
    """(gold, guess) of every item whose answer is a number."""
    worst: Sequence[Wrong] = ()
    """Worst first."""
    worst_drawn: Sequence[Passage] = ()
    """The same, of a task whose answers are spans of a text."""
    examples: Sequence[Passage] = ()
    """Some items, right or wrong, of such a task."""


def sections(found: Findings) -> list[str]:
    """Draw everything there is to see."""
    return [
        by_class_section(found.labels, found.confusion, found.per_class),
        calibration_section(found.certainty),
        section("Guesses", scatter(found.estimates)),
        section(
            "Worst errors",
            passages(found.worst_drawn) or _table(found.worst),
            remark="The mistakes the model was surest of, or that are furthest off: often where the labels are wrong, "
            "or the text is hard.",
        ),
        section(
            "Examples",
            passages(found.examples),
            remark="Spread evenly over the data, among the items with something in them.",
        ),
    ]


def _table(worst: Sequence[Wrong]) -> str:
    rows = [(text(one.text), chip(one.gold), chip(one.guess, wrong=True), one.score) for one in worst]
    if all(score is None for *_, score in rows):
        return table(("text", "gold", "guess"), [cells for *cells, _ in rows])
    return table(
        ("text", "gold", "guess", "probability"),
        [(*cells, "" if score is None else meter(score)) for *cells, score in rows],
    )
