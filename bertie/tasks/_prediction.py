"""What predictions have in common: fields by name or by key, and a plain form that JSON can hold."""

from __future__ import annotations

import math
from collections.abc import ItemsView, Sequence, ValuesView
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

_DIGITS = 7  # of a vector's numbers in JSON: fp32 has no more


class Prediction(dict[str, Any]):
    """Base of the frozen dataclasses that models answer with.

    It is a dictionary of its fields as well, because `json.dumps` writes nothing else: `said["label"]` is `said.label`.
    Keys give the fields as they are, and `items`, `values` and `as_dict` give arrays as lists of numbers.
    """

    def __post_init__(self) -> None:
        """Fill the dictionary; a field without repr is for whoever works on with it, and isn't written."""
        for part in fields(self):  # type: ignore[arg-type]
            if part.repr:
                self[part.name] = getattr(self, part.name)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them: lists for arrays, None for what is no finite number."""
        return {name: plain(value) for name, value in super().items()}

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        """Return what `as_dict` has."""
        return self.as_dict().items()

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        """Return what `as_dict` has."""
        return self.as_dict().values()

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by the fields alone."""
        return type(self), tuple(getattr(self, part.name) for part in fields(self))  # type: ignore[arg-type]

    # Dataclasses bring their own equality; one without it is equal to itself only, as its arrays can't be compared so.
    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__  # type: ignore[assignment]


def plain(value: Any) -> Any:
    """Turn predictions and arrays, alone or in lists and dictionaries, into what JSON can hold.

    Args:
        value: a prediction, a list of them, or a part of one.
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
