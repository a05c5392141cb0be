"""Labels of a table: missing ones, similar ones, and those that a model doesn't know."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from bertie import progress
from bertie.errors import DataError

_MISSING = frozenset(("", "nan", "\\n", "<na>", "#n/a", "nat"))  # as pandas, MySQL and Excel write it


def is_no_label(label: object) -> bool:
    r"""Check whether a label is empty, or a mark of programs for a missing value, such as NaN and \N."""
    return not isinstance(label, tuple) and (label is None or str(label).strip().lower() in _MISSING)


def alike(names: Iterable[str]) -> list[tuple[str, ...]]:
    """List labels that differ only in case, in invisible characters, or in the form of a number (1 and 1.0)."""
    groups: dict[float | str, list[str]] = {}
    for name in sorted(set(names)):
        groups.setdefault(_key(name), []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def tell_alike(names: Iterable[str]) -> None:
    """Warn of labels that are probably spellings of one label."""
    if groups := alike(names):
        listed = ", ".join(" and ".join(map(repr, group)) for group in groups[:5])
        progress.warn(f"labels that may be the same are learned as different: {listed}; spell each label in one way")


def tell_unseen(labels: Iterable[tuple[str, int]], known: Sequence[str], path: Path, *, what: str = "label") -> None:
    """Warn once of a table's labels that the model doesn't have: each counts as a mistake, whatever the prediction.

    Args:
        labels: all labels of the table, with their lines.
        known: labels of the model.
        path: path of the table.
        what: word for a label in the message.

    Raises:
        DataError: the model has none of the table's labels.
    """
    counts: Counter[str] = Counter()
    lines: dict[str, int] = {}
    total = 0
    for name, line in labels:
        total += 1
        if name not in known:
            counts[name] += 1
            lines.setdefault(name, line)
    if not counts:
        return
    (first, times), *others = counts.most_common()
    more = "".join(f", {name!r} ({number})" for name, number in others[:5]) + (", ..." if others[5:] else "")
    if spelling := next((name for name in known if _same(name, first)), ""):
        more += f" (spelled {spelling!r} in training; use that spelling)"
    message = f"{path}:{lines[first]}: the {what} {first!r} ({times} times){more} is unknown to the model, which has "
    if counts.total() == total:
        raise DataError(f"{message}{', '.join(known)}; it knows no {what} of this table")
    progress.warn(f"{message}{', '.join(known)}; each counts as a mistake")


def _same(one: str, other: str) -> bool:
    """Check whether two labels are one number, such as 1 and 1.0, or differ only in case."""
    return _key(one) == _key(other)


def _key(label: str) -> float | str:
    """Return a key that is the same for all spellings of a label."""
    try:
        return float(label)
    except ValueError:
        usual = unicodedata.normalize("NFKC", label)
        visible = "".join(one for one in usual if unicodedata.category(one) != "Cf")
        return " ".join(visible.split()).casefold() or label
