"""A text or a pair of texts, with a class, several classes, a number or another text as label."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from bertie.errors import DataError
from bertie.findings import Finding
from bertie.items.item import Item, Values, string, strings
from bertie.items.labels import is_no_label
from bertie.items.text_labels import check_text_labels


@dataclass(frozen=True)
class Text(Item):
    """A text, or a pair of texts."""

    text: str
    pair: str | None = None
    label: str | tuple[str, ...] | None = None
    """One label, or a tuple for an item that may have any number of labels."""
    line: int = 0
    """Line in the item's file, from 1; 0 if it comes from elsewhere."""
    negatives: tuple[str, ...] = ()
    """Texts that must be distinguished from `pair`, for embeddings."""
    id: str = field(default="", repr=False, compare=False)
    """Name of the item in its file; empty without such a column. Models don't learn from it."""

    keys: ClassVar[tuple[str, ...]] = ("text", "pair", "label", "negatives", "id")

    def texts(self) -> list[str]:
        """Return the text, its pair, and the texts that the pair must be distinguished from."""
        return [part for part in (self.text, self.pair, *self.negatives) if part is not None]

    def sides(self) -> tuple[str, str | None]:
        """Return the text, and its pair or None."""
        return self.text, self.pair

    def label_text(self) -> str:
        """Return the label, or the labels separated by commas."""
        return ", ".join(self.label) if isinstance(self.label, tuple) else str(self.label)

    def labels(self, *, many: bool = False) -> tuple[str, ...]:
        """Return the labels: the one label, or with `many` the parts of "comedy, drama"."""
        if isinstance(self.label, tuple):
            return self.label if many else (", ".join(self.label),)
        whole = str(self.label)
        return tuple(part.strip() for part in whole.split(",") if part.strip()) if many else (whole,)

    def label_names(self, *, many: bool = False) -> tuple[str, ...]:
        """Return `labels`; empty for an item without a label."""
        return () if is_no_label(self.label) else self.labels(many=many)

    def stratum(self) -> str:
        """Return the class or classes."""
        return ",".join(self.label) if isinstance(self.label, tuple) else self.label or ""

    def row(self) -> dict[str, Any]:
        """Return the item as a row of a JSON Lines table."""
        more = {"pair": self.pair, "negatives": list(self.negatives) or None, "id": self.id or None}
        label = list(self.label) if isinstance(self.label, tuple) else self.label
        return {"text": self.text, **{name: part for name, part in more.items() if part is not None}, "label": label}

    @classmethod
    def parse(cls, row: Mapping[str, Any]) -> Self:
        """Make a text of the values of a JSON object."""
        label = row.get("label")
        return cls(
            string(row["text"], "text"),
            string(row["pair"], "pair") if "pair" in row else None,
            None if label is None else _label(label),
            negatives=strings(row.get("negatives", ()), "negatives"),
            id=str(row.get("id", "")),
        )

    @classmethod
    def check_labels(
        cls, items: Sequence[Self], path: Path, *, classes: bool = True, many: bool = False
    ) -> tuple[Values, list[Finding]]:
        """Check classes or numbers."""
        return check_text_labels(items, path, classes=classes, many=many)


TextLike = str | tuple[str, str] | Text
"""What tasks on texts take: a text, a pair of texts, or either as a `Text`, the only form with a label."""


def _label(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, list | tuple):
        return strings(value, "label")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"label is {reprlib.repr(value)}; it must be a string, a number, or a list of strings")
    return str(value)


def as_item(item: Any) -> Item:
    """Return an item for a string or a pair of strings; any other kind of item as it is.

    Raises:
        DataError: it is something else.
    """
    if isinstance(item, Item):
        return item
    if isinstance(item, str):
        return Text(item)
    if isinstance(item, tuple) and len(item) == 2:
        return Text(str(item[0]), str(item[1]))
    raise DataError(f"{reprlib.repr(item)} is not an item; give a string, a tuple of two strings, or a Text")


def sides(item: Any) -> tuple[str, str | None]:
    """Return the text of an item of any class, and its second text or None; also of a third party's class."""
    if isinstance(item, Item | str | tuple):
        return as_item(item).sides()
    return str(getattr(item, "text", item)), getattr(item, "pair", None)


def texts_of(item: Any) -> list[str]:
    """Return all texts of an item of any class; also of a third party's class."""
    if isinstance(item, Item | str | tuple):
        return as_item(item).texts()
    return [str(getattr(item, "text", item))]


def unlabelled(item: Any) -> Any:
    """Return an item of any class without its label."""
    return item.unlabelled() if isinstance(item, Item) else item


def label_names(items: Sequence[Text], *, many: bool = False) -> tuple[str, ...]:
    """List the labels of texts: sorted by value if all are whole numbers, otherwise alphabetically."""
    names = {label for item in items for label in item.labels(many=many)}
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))


def texts(items: Sequence[Any]) -> tuple[list[str], list[str | None] | None]:
    """Split items (strings, pairs of strings or `Text`) into first and second texts; None if no item has a second.

    Raises:
        DataError: an item is of another type.
    """
    for number, item in enumerate(items, 1):
        if not isinstance(item, str | Text) and not (isinstance(item, tuple) and len(item) == 2):
            raise DataError(f"text {number} is {reprlib.repr(item)}; give a string, a tuple of two strings, or a Text")
    whole = [item if isinstance(item, Text) else Text(item) if isinstance(item, str) else Text(*item) for item in items]
    second = [item.pair for item in whole]
    return [item.text for item in whole], second if any(pair is not None for pair in second) else None
