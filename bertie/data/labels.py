"""Labels of a table: those of an item, those there are, and those a model doesn't know."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bertie import progress
from bertie.data.items import Text
from bertie.errors import DataError

_NOTHING = frozenset(("", "nan", "\\n", "<na>", "#n/a", "nat"))  # as pandas, MySQL and Excel write it


def is_no_label(label: object) -> bool:
    r"""Tell whether a label is empty, or what programs write for no value, such as NaN and \N."""
    return not isinstance(label, tuple) and (label is None or str(label).strip().lower() in _NOTHING)


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


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """List labels that differ only in case, in signs that nobody sees, or in how a number is written (1 and 1.0)."""
    groups: dict[float | str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(_key(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def tell_alike(names: Iterable[str]) -> None:
    """Warn of labels that are probably one, written in several ways."""
    if groups := alike(names):
        said = ", ".join(" and ".join(map(repr, group)) for group in groups[:5])
        progress.warn(f"labels that may be one are learned as several: {said}; write each label in one way")


def tell_unseen(found: Iterable[tuple[str, int]], known: Sequence[str], path: Path, *, what: str = "label") -> None:
    """Warn once of a table's labels that the model doesn't have: each of them is a mistake, whatever the model says.

    Args:
        found: every label of the table, with its line.
        known: the model's.
        path: of the table.
        what: a label is called.

    Raises:
        DataError: the model has none of the table's labels.
    """
    counts: Counter[str] = Counter()
    lines: dict[str, int] = {}
    total = 0
    for name, line in found:
        total += 1
        if name not in known:
            counts[name] += 1
            lines.setdefault(name, line)
    if not counts:
        return
    (first, times), *others = counts.most_common()
    more = "".join(f", {name!r} ({number})" for name, number in others[:5]) + (", ..." if others[5:] else "")
    if alike := next((name for name in known if _same(name, first)), ""):
        more += f" (written {alike!r} in training: write it alike)"
    said = f"{path}:{lines[first]}: the {what} {first!r} ({times} times){more} is none of the model's, which has "
    if counts.total() == total:
        raise DataError(f"{said}{', '.join(known)}; no {what} of this table is")
    progress.warn(f"{said}{', '.join(known)}; each counts as a mistake")


def _same(one: str, other: str) -> bool:
    """Tell whether two labels are one number, such as 1 and 1.0, or differ in case only."""
    return _key(one) == _key(other)


def _key(label: str) -> float | str:
    """Return what labels that are one have in common."""
    try:
        return float(label)
    except ValueError:
        usual = unicodedata.normalize("NFKC", label)
        visible = "".join(one for one in usual if unicodedata.category(one) != "Cf")
        return " ".join(visible.split()).casefold() or label
