"""Base class of predictions, and the one that tasks share: fields are also dictionary keys, and convert to JSON.

A prediction shows itself: `record` for programs, `lines` and `table` for people.
"""

from __future__ import annotations

import math
from collections.abc import ItemsView, Sequence, ValuesView
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Self

import numpy as np

from bertie.tasks._lines import aligned, field_lines, field_table, printable, sides

_DIGITS = 7  # decimals of a vector's numbers in JSON, as many as fp32 has


class Prediction(dict[str, Any]):
    """Base class of predictions, which are frozen dataclasses.

    A prediction is also a dictionary of its fields, because `json.dumps` takes dictionaries: `prediction["label"]` is
    `prediction.label`. A key returns the field itself. `items`, `values` and `as_dict` return arrays as lists.

    The name of a method, such as `items` or `lines`, can't be that of a field.
    """

    def __post_init__(self) -> None:
        """Fill the dictionary. Fields with `repr=False` are left out: they are for further computation only."""
        for part in fields(self):  # type: ignore[arg-type]
            if part.repr:
                self[part.name] = getattr(self, part.name)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them: arrays as lists, infinite numbers and NaN as None."""
        return {name: plain(value) for name, value in super().items()}

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """Return the items of `as_dict`."""
        return self.as_dict().items()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """Return the values of `as_dict`."""
        return self.as_dict().values()

    def record(self, item: Any) -> dict[str, Any]:
        """Return the item and the prediction as one flat dictionary that JSON can hold, a row of `predict --json`.

        The default has the item's texts, `text` and `pair`, then the fields of the prediction.
        """
        return {**sides(item), **self.as_dict()}

    def lines(self, item: Any, width: int) -> list[str]:
        """Return the item and the prediction as lines for the terminal.

        The default has the item's texts, then a line `name: value` for each field.

        Args:
            item: the item that the prediction is for.
            width: columns of the terminal.
        """
        del width
        return field_lines(item, self)

    @classmethod
    def table(cls, items: Sequence[Any], predictions: Sequence[Self], width: int) -> list[str] | None:
        """Return one table of several predictions of this class, as lines for the terminal.

        None: the `lines` of each stand below each other. The default is a table if the class has fields `label` and
        `score`, or the single field `value`.

        Args:
            items: the items of the predictions.
            predictions: one for each item, at least one.
            width: columns of the terminal; texts are cut to fit.
        """
        return field_table(items, predictions, width)

    def _repr_html_(self) -> str:
        """Return the prediction as a notebook shows it, with its item if it was predicted for that item alone."""
        from bertie.tasks._html import page

        return page([getattr(self, "_item", None)], [self])

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle the fields only, not the dictionary."""
        return type(self), tuple(getattr(self, part.name) for part in fields(self))  # type: ignore[arg-type]

    # A dataclass with eq=True defines its own equality. One with eq=False holds arrays, so it is equal to itself only.
    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__  # type: ignore[assignment]


@dataclass(frozen=True)
class Span(Prediction):
    """A labelled part of a text."""

    label: str
    text: str
    start: int
    """Index of its first character in the whole text."""
    end: int
    """Index after its last character."""
    score: float
    """Its probability; in tagging, the mean probability of the tags of its words."""


def span_lines(spans: Sequence[Span]) -> list[str]:
    """Return one line for each span: label, text, characters, probability.

    A span is indented by two columns for each span that it lies within.
    """
    rows = []
    around: list[Span] = []  # the spans that begin before the present one and end within or after it
    for span in spans:
        around = [one for one in around if one.end > span.start]
        depth = sum(one.end >= span.end and (one.start, one.end) != (span.start, span.end) for one in around)
        text = "  " * depth + printable(span.text)
        rows.append((printable(span.label), text, f"{span.start}-{span.end}", f"{span.score:.4f}"))
        around.append(span)
    return aligned(rows) or ["  nothing found"]


def plain(value: Any) -> Any:
    """Convert predictions and arrays, also inside lists and dictionaries, to values that JSON can hold.

    >>> plain({"score": np.float32(0.5), "vector": np.array([1.0, 2.0]), "loss": math.nan})
    {'score': 0.5, 'vector': [1.0, 2.0], 'loss': None}

    Args:
        value: a prediction, a list of predictions, or a part of one.
    """
    if isinstance(value, np.ndarray):
        return plain(value.astype(np.float64).round(_DIGITS).tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Prediction):
        return value.as_dict()
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(getattr(value, part.name)) for part in fields(value) if part.repr}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(part) for part in value]
    return value
