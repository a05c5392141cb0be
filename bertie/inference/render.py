"""Format predictions for the terminal and as JSON.

A prediction shows itself (`record`, `lines` and `table` of `Prediction`). This module puts the predictions of several
items together, and shows predictions of other classes by their fields. It doesn't predict or print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertie.tasks._guess import lines_of_guesses, record_of_guesses
from bertie.tasks._lines import field_lines, field_table, hit_lines
from bertie.tasks._lines import sides as sides
from bertie.tasks._prediction import Prediction, plain


def record(item: Any, prediction: Any) -> dict[str, Any]:
    """Return an item and its prediction as one flat dictionary that JSON can hold."""
    if isinstance(prediction, Prediction):
        return prediction.record(item)
    if isinstance(prediction, list):
        return record_of_guesses(item, prediction)
    parts = plain(prediction)
    return {**sides(item), **(parts if isinstance(parts, dict) else {"prediction": parts})}


def records(items: Sequence[Any], predictions: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the `record` of each item. An item without a prediction has None in each field of the prediction."""
    rows = [
        sides(item) if prediction is None else record(item, prediction)
        for item, prediction in zip(items, predictions, strict=True)
    ]
    parts = next((row for row, prediction in zip(rows, predictions, strict=True) if prediction is not None), {})
    empty = dict.fromkeys(parts)
    return [{**empty, **row} if prediction is None else row for row, prediction in zip(rows, predictions, strict=True)]


def show(items: Sequence[Any], predictions: Sequence[Any], width: int) -> str:
    """Format predictions for the terminal.

    Args:
        items: the items of the predictions.
        predictions: one for each item; None for an item without a prediction, which is left out.
        width: columns of the terminal; texts next to a label are cut to fit.
    """
    present = [both for both in zip(items, predictions, strict=True) if both[1] is not None]
    table = _table([item for item, _ in present], [prediction for _, prediction in present], width)
    if table is not None:
        return "\n".join(table)
    return "\n\n".join("\n".join(_lines(*both, width)) for both in present)


def _table(items: Sequence[Any], predictions: Sequence[Any], width: int) -> list[str] | None:
    first = predictions[0] if predictions else None
    if isinstance(first, Prediction) and all(type(prediction) is type(first) for prediction in predictions):
        return first.table(items, predictions, width)
    return field_table(items, predictions, width)


def _lines(item: Any, prediction: Any, width: int) -> list[str]:
    if isinstance(prediction, Prediction):
        return prediction.lines(item, width)
    return lines_of_guesses(item, prediction) if isinstance(prediction, list) else field_lines(item, prediction)


def show_hits(query: str, hits: Sequence[Mapping[str, Any]], width: int) -> str:
    """Format the results of a search: the query, then one line for each hit with score, line number and text.

    Args:
        query: text of the query.
        hits: score, line and text of each hit.
        width: columns of the terminal; texts are cut to fit.
    """
    return "\n".join(hit_lines(query, hits, width))
