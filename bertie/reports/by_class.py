"""What a classifier got right and wrong, as sections of a page: scores by class, the confusion matrix, worst errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bertie.reports.figures import percent
from bertie.reports.page import meter, section, table
from bertie.reports.text import safe

# More columns than that don't fit a page; the pairs most often confused are listed then.
MAX_MATRIX = 20
_NUM_CONFUSED = 20


@dataclass(frozen=True)
class ClassifierReport:
    """What a classifier got right and wrong on the dev table."""

    labels: Sequence[str]
    confusion: Sequence[Sequence[int]]
    """Row = gold, column = guess."""
    per_class: Mapping[str, Mapping[str, float]]
    """Precision, recall, f1 and support by label."""
    worst: Sequence[tuple[str, str, str, float]]
    """(text, gold, guess, probability of the guess), surest first."""


def sections(report: ClassifierReport) -> list[str]:
    """Draw everything there is to see of a classifier."""
    matrix = heat_map(report.labels, report.confusion) if len(report.labels) <= MAX_MATRIX else ""
    scores = _by_class(report.per_class)
    both = f'<div class="pair">{matrix}{scores}</div>' if matrix and scores else matrix + scores
    return [
        section(
            "By class",
            both + ("" if matrix else _most_confused(report)),
            remark="Shades are shares of a row: of the items with that gold label." if matrix else "",
        ),
        section(
            "Worst errors",
            table(
                ("text", "gold", "guess", "probability"),
                [
                    (text(of), chip(gold), chip(guess, wrong=True), meter(share))
                    for of, gold, guess, share in report.worst
                ],
            ),
            remark="The mistakes the model was surest of: often where the labels are wrong, or the text is hard.",
        ),
    ]


def heat_map(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix as a table whose shades are shares of a row; rows are gold labels, columns guesses."""
    if not labels:
        return ""
    head = "".join(f'<th scope="col"><bdi>{safe(label)}</bdi></th>' for label in labels)
    rows = ""
    for number, (label, row) in enumerate(zip(labels, counts, strict=True)):
        total = max(1, sum(row))
        cells = "".join(
            f'<td class="{"right" if column == number else "wrong"}" style="--share:{count / total:.3f}">{count:,}'
            f"<small>{count / total:.0%}</small></td>"
            for column, count in enumerate(row)
        )
        rows += f'<tr><th scope="row"><bdi>{safe(label)}</bdi></th>{cells}</tr>'
    return (
        '<div class="panel scroll"><table class="heat"><thead><tr><th class="corner">gold ↓ guess →</th>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def chip(label: str, *, wrong: bool = False) -> str:
    """Return a label in a frame of its own."""
    return f'<bdi class="chip{" wrong" if wrong else ""}">{safe(label)}</bdi>'


def text(of: str) -> str:
    """Return a text of the user's, in its own direction."""
    return f'<span dir="auto" class="said">{safe(of)}</span>'


def _by_class(scores: Mapping[str, Mapping[str, float]]) -> str:
    rows = [
        (
            chip(label),
            percent(row.get("precision", 0.0)),
            percent(row.get("recall", 0.0)),
            meter(row.get("f1", 0.0)),
            f"{int(row.get('support', 0)):,}",
        )
        for label, row in scores.items()
    ]
    return table(("label", "precision", "recall", "F1", "items"), rows, numbers=(1, 2, 4))


def _most_confused(report: ClassifierReport) -> str:
    """List the pairs of labels most often taken for one another, for matrices too large to draw."""
    cells = [
        (count, gold, guess)
        for gold, row in enumerate(report.confusion)
        for guess, count in enumerate(row)
        if gold != guess and count
    ]
    cells = sorted(cells, key=lambda cell: (-cell[0], cell[1:]))[:_NUM_CONFUSED]
    rows = [
        (chip(report.labels[gold]), chip(report.labels[guess], wrong=True), f"{count:,}")
        for count, gold, guess in cells
    ]
    return table(("gold", "taken for", "times"), rows, numbers=(2,))
