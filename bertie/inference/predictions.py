"""What a predictor returns: predictions that know their items, so that a notebook can show both."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bertie.tasks._html import MOST_ROWS, page
from bertie.tasks._prediction import Prediction


class Predictions(list[Any]):
    """A list of predictions, equal to the plain list.

    Args:
        predictions: one for each item.
        items: their items. Those of a stream are gone, and are not shown.
    """

    def __init__(self, predictions: Iterable[Any], items: Any) -> None:
        super().__init__(predictions)
        few = items[:MOST_ROWS] if isinstance(items, Sequence) else ()
        self._items = [*few, *[None] * (len(self) - len(few))]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the predictions alone."""
        return list, (list(self),)

    def _repr_html_(self) -> str:
        """Return the predictions and their items as a notebook shows them."""
        known = self._items if len(self._items) == len(self) else [None] * len(self)  # the list may have been changed
        return page(known, self)


class OneItem(Predictions):
    """The predictions for one item: guesses for its masks, best first."""

    def _repr_html_(self) -> str:
        """Return the guesses and their item as a notebook shows them."""
        return page(self._items[:1], [list(self)])


def shown(item: Any, prediction: Any) -> Any:
    """Return the prediction for an item, which a notebook shows with the item."""
    if type(prediction) is list:
        one = OneItem(prediction, ())
        one._items = [item]
        return one
    if isinstance(prediction, Prediction):
        object.__setattr__(prediction, "_item", item)  # predictions are frozen; equality and pickles know fields only
    return prediction
