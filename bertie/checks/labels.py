"""Check labels before training: which ones there are, and which ones a second file has that the first one has not.

A kind of item checks its own labels (`Item.check_labels`). Items of a third party's class are not checked.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertie.findings import Finding, places
from bertie.items.item import Item, Values, names

_RARE = 10


def survey_labels(
    items: Sequence[Any], path: Path, *, classes: bool, many: bool = False
) -> tuple[Values, list[Finding]]:
    """Count the labels of items of one class, and find what is wrong with them.

    Arguments and result: `Item.check_labels`.
    """
    first = items[0] if items else None
    return type(first).check_labels(items, path, classes=classes, many=many) if isinstance(first, Item) else ({}, [])


def unseen(train: Sequence[Any], dev: Sequence[Any], dev_path: Path, *, many: bool = False) -> list[Finding]:
    """Find classes, or tags, of the dev items that no training item has, and the reverse."""
    known, tested = (Counter(label for item in items for label in _names(item, many=many)) for items in (train, dev))
    findings, strange = [], tested.keys() - known.keys()
    where: dict[str, list[int]] = {}
    for number, item in enumerate(dev):
        for label in strange.intersection(_names(item, many=many)):
            where.setdefault(label, []).append(number)
    for label, numbers in sorted(where.items()):
        what = f"label {label!r} ({len(numbers):,} items) is in no training item"
        remedy = "is it spelled differently there? train with such examples, or remove these"
        findings.append(Finding("error", what, places(dev_path, names(dev, numbers)), remedy))
    if missing := sorted(known.keys() - tested.keys()):
        what = f"no dev item has the label{'s' if len(missing) > 1 else ''} {', '.join(missing[:_RARE])}"
        findings.append(Finding("warning", what, str(dev_path), "such labels will not be measured"))
    return findings


def _names(item: Any, *, many: bool) -> tuple[str, ...]:
    return item.label_names(many=many) if isinstance(item, Item) else ()
