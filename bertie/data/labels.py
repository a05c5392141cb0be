"""Labels of a table: those of an item, those there are, and those a model doesn't know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bertie.data.items import Text
from bertie.errors import DataError


def labels_of(item: Text, *, many: bool = False) -> tuple[str, ...]:
    """Return the labels of an item: its one label, or the parts of "comedy, drama" where it may have several."""
    if isinstance(item.label, tuple):
        return item.label if many else (", ".join(item.label),)
    whole = str(item.label)
    return tuple(part.strip() for part in whole.split(",") if part.strip()) if many else (whole,)


def label_names(items: Sequence[Text], *, many: bool = False) -> tuple[str, ...]:
    """List the labels, whole numbers by size and everything else by the alphabet."""
    names = {label for item in items for label in labels_of(item, many=many)}
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))


def refuse_unseen(items: Sequence[Text], labels: Sequence[str], path: Path, *, many: bool = False) -> None:
    """Stop when a table has labels that the model was not trained on.

    Raises:
        DataError: which labels, how often and where.
    """
    unseen = Counter(label for item in items for label in labels_of(item, many=many) if label not in labels)
    if unseen:
        (name, count), *others = unseen.most_common()
        line = next(item.line for item in items if name in labels_of(item, many=many))
        more = "".join(f", {other!r} ({rows})" for other, rows in others[:5]) + (", ..." if others[5:] else "")
        raise DataError(
            f"{path}:{line}: label {name!r} ({count} rows){more} does not occur in the training table, which has "
            f"{', '.join(labels)}; remove these rows or train with such examples"
        )
