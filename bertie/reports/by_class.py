"""Show the scores of every class in a table, next to a shaded confusion matrix."""

from collections.abc import Mapping, Sequence

from bertie.reports.figures import percent
from bertie.reports.page import chip, meter, section, table
from bertie.reports.text import safe

# A larger matrix does not fit on a page; the report then lists the most frequent confusions.
MAX_MATRIX = 20
_NUM_CONFUSED = 20
_NARROW = 8  # from this number on, columns are narrow and their names vertical


def by_class_section(
    labels: Sequence[str], confusion: Sequence[Sequence[int]], per_class: Mapping[str, Mapping[str, float]]
) -> str:
    """Return the section on classes; empty for a task without classes.

    Args:
        labels: the labels of the classes.
        confusion: row = gold label, column = prediction; empty if an item can have several labels or none.
        per_class: precision, recall, f1 and support by label.
    """
    matrix = heat_map(labels, confusion) if confusion and len(labels) <= MAX_MATRIX else ""
    scores = _scores(per_class)
    both = f'<div class="pair">{matrix}{scores}</div>' if matrix and scores else matrix + scores
    listed = "" if matrix else _most_confused(labels, confusion)
    return section(
        "By class",
        both + listed,
        remark="Shades show shares of a row, that is, of the items with that gold label." if matrix else "",
    )


def heat_map(labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Draw a confusion matrix as a table shaded by shares of a row; rows are gold labels, columns predictions."""
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
    narrow = " narrow" if len(labels) >= _NARROW else ""
    return (
        f'<div class="panel scroll"><table class="heat{narrow}"><thead><tr><th class="corner">gold ↓ predicted →</th>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _scores(scores: Mapping[str, Mapping[str, float]]) -> str:
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
    return table(("label", "precision", "recall", "F1", "gold"), rows, numbers=(1, 2, 4))


def _most_confused(labels: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """List the most frequent confusions, for matrices too large to draw."""
    cells = [
        (count, gold, guess)
        for gold, row in enumerate(confusion)
        for guess, count in enumerate(row)
        if gold != guess and count
    ]
    cells = sorted(cells, key=lambda cell: (-cell[0], cell[1:]))[:_NUM_CONFUSED]
    rows = [(chip(labels[gold]), chip(labels[guess], wrong=True), f"{count:,}") for count, gold, guess in cells]
    return table(("gold", "predicted", "items"), rows, numbers=(2,))
