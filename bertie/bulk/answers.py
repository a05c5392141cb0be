"""Predict for some rows of a file: the fields of each row's prediction, or why there is none."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bertie.bulk.items import ItemReader, by_halves
from bertie.bulk.sources import Row
from bertie.errors import DataError
from bertie.inference.predictor import Predictor
from bertie.inference.render import record, sides

Answer = Callable[..., Sequence[Any]]
"""A function of (predictor, items, bar=) that returns one prediction for each item."""
# The field that answers the task: its column is named `prediction`. The first of these names that a prediction has.
_MAIN = (
    *("label", "labels", "similarity", "value", "choice", "tags", "spans", "target", "text", "vector", "masks"),
    *("fillings", "answers", "pieces"),
)
_PLACED = re.compile(r"text (\d+)\b( \(line \d+\))?")


def answers(predictor: Predictor[Any], answer: Answer, reader: ItemReader, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return {"fields": ...} of the prediction for each row, or {"error": ...}.

    Args:
        predictor: the model.
        answer: predicts for items.
        reader: makes items of rows.
        rows: the rows.

    Raises:
        DataError: the model can't predict for any item, for example because its weights are damaged.
    """
    found = reader.read(rows)
    for number, item in enumerate(found):
        if not isinstance(item, DataError) and not any(part.strip() for part in sides(item).values()):
            found[number] = DataError(f"{rows[number].place}: no text")
    predictions: dict[int, Any] = {}
    left = [number for number, item in enumerate(found) if not isinstance(item, DataError)]
    while left:
        try:
            predicted = answer(predictor, [found[number] for number in left], bar=None)
            predictions = dict(zip(left, predicted, strict=True))
            break
        except DataError as error:
            bad = _unusable(predictor, [found[number] for number in left], error)
            for index, reason in bad.items():
                found[left[index]] = DataError(_PLACED.sub(rows[left[index]].place, str(reason), count=1))
            left = [number for index, number in enumerate(left) if index not in bad]
    return [
        {"fields": fields(item, predictions[number])} if number in predictions else {"error": str(item)}
        for number, item in enumerate(found)
    ]


def _unusable(predictor: Predictor[Any], items: Sequence[Any], error: DataError) -> dict[int, DataError]:
    """Return the items that the task can't encode, with the reason; or the one that the error names.

    Raises:
        DataError: the error is not about an item.
    """

    def encoded(some: Sequence[Any]) -> Sequence[Any]:
        predictor.task.encode(some, predictor.tokenizer)
        return some

    tried = by_halves(items, encoded)
    bad = {number: one for number, one in enumerate(tried) if isinstance(one, DataError)}
    named = _PLACED.match(str(error))
    if not bad and named and 0 < int(named[1]) <= len(items):
        bad = {int(named[1]) - 1: error}
    if not bad:
        raise error
    return bad


def fields(item: Any, prediction: Any) -> dict[str, Any]:
    """Return the fields of a prediction by the names of their columns, the answer first and named `prediction`."""
    every = record(item, prediction)
    of_item = {"question", "context"} if {"question", "context"} <= every.keys() else sides(item).keys()
    own = {name: value for name, value in every.items() if name not in of_item}
    main = next((name for name in _MAIN if name in own), None)
    if main is None or "prediction" in own:
        return own
    return {"prediction": own.pop(main), **own}


def renamed(names: Mapping[str, str], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values under the names of their columns."""
    return {names[name]: value for name, value in values.items()}
