"""Select the rows of a table that have a usable label: refuse rows without one, leave rejected ones out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.errors import DataError
from bertie.items.labels import is_no_label
from bertie.items.text import Text
from bertie.readers.reading import LeftOut, shown_row
from bertie.readers.roles import Sample

_RARE = 0.2
_NLI = {"entailment", "neutral", "contradiction", "not_entailment"}
_ACCEPTED, _ANSWERS = "accept", {"accept", "reject", "ignore"}
Rows = list[tuple[int, list[Any]]]


def answers_of(sample: Sample, taken: Sequence[str]) -> str:
    """Return the name of Prodigy's column with the annotator's verdict on each row; empty without one."""
    for name in sample.names:
        if name.lower() == "answer" and name not in taken and set(map(str, sample.column(name))) <= _ANSWERS:
            return name
    return ""


def accepted(rows: Rows) -> tuple[Rows, list[LeftOut]]:
    """Keep the rows whose last value accepts their label; count the others and warn of them."""
    others = [row for row in rows if row[1][-1] != _ACCEPTED]
    if not others:
        return rows, []
    progress.warn(
        f"{len(others):,} rows are left out because their label was rejected or skipped (line {others[0][0]})"
    )
    left = LeftOut.of("not accepted", [(line, shown_row(values)) for line, values in others])
    return [row for row in rows if row[1][-1] == _ACCEPTED], [left]


def with_labels(
    file: Path, items: Sequence[Text], names: Sequence[str], *, written: bool
) -> tuple[list[Text], list[LeftOut]]:
    """Check that all rows have a label; leave out pairs labelled "-" if that means that annotators did not agree.

    Args:
        file: file name for messages.
        items: items as they were read.
        names: names of all columns of the file.
        written: whether labels are texts to write; "NaN" and "-" are then ordinary labels.

    Raises:
        DataError: a row has no label.
    """
    marked = [] if written else [item for item in items if item.label == "-" and item.pair is not None]
    kept, left = list(items), []
    if marked and _is_no_gold(items, len(marked)):
        kept = [item for item in items if item.label != "-"]
        left = [LeftOut.of("no gold label", [(item.line, shown_row([item.text, item.pair, "-"])) for item in marked])]
        if not kept:
            raise DataError(f"{file}: every row has the label '-', which means no label")
        progress.warn(f"{file}: {len(marked)} rows labelled '-' (no gold label; line {marked[0].line}) are left out")
    blank = [item.line for item in kept if not all(part.strip() for part in (item.text, item.pair) if part is not None)]
    if blank:
        progress.warn(f"{file}: {len(blank):,} rows have an empty text, the first in line {blank[0]}; they are kept")
    for item in kept:
        label = item.label
        if label is None:
            raise DataError(
                f"{file}: no column holds labels ({', '.join(names)}); choose one: --columns text=NAME,label=NAME"
            )
        if label == "" or (is_no_label(label) and not written):
            raise DataError(f"{file}:{item.line}: the label is {label or 'empty'}; complete or remove the row")
    return kept, left


def _is_no_gold(items: Sequence[Text], count: int) -> bool:
    """Check whether "-" marks rows without label, as in SNLI: it is rare among words, or all others are NLI labels."""
    others = {str(item.label) for item in items} - {"-"}
    if others <= _NLI:
        return True
    return count <= _RARE * len(items) and all(len(label) > 1 and label[0].isalpha() for label in others)
