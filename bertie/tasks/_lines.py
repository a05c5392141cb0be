"""How items and predictions look on a terminal: texts, columns, bars, tables.

The predictions use this module in `lines` and `table`. It doesn't print.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.items import text as items_text

_BAR = 24  # columns of the bar for a probability of 1
_NUMBERS = 6  # numbers shown of a vector
_NARROWEST = 20  # columns of a text in a table, however narrow the terminal is


def sides(item: Any) -> dict[str, str]:
    """Return the text of an item, and the second text of a pair."""
    text, pair = items_text.sides(item)
    return {"text": text} if pair is None else {"text": text, "pair": pair}


def heading(item: Any) -> str:
    """Return the item on one line."""
    return printable("  |  ".join(sides(item).values()))


def row(front: str, item: Any, width: int) -> str:
    """Return a row of a table: `front`, then the item, cut to fit."""
    return front + cut(heading(item), max(_NARROWEST, width - columns(front)))


def shown_fields(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that are shown: those with repr."""
    return {part.name: getattr(value, part.name) for part in fields(value) if part.repr}


def field_lines(item: Any, prediction: Any) -> list[str]:
    """Return the item, and one line for each field of a prediction of any class."""
    is_object = is_dataclass(prediction) and not isinstance(prediction, type)
    parts = shown_fields(prediction) if is_object else {"prediction": prediction}
    return [heading(item), *(f"  {name}: {value}" for name, value in parts.items())]


def field_table(items: Sequence[Any], predictions: Sequence[Any], width: int) -> list[str] | None:
    """Return the table of predictions whose fields suit one, whatever their class.

    Predictions with a `label` and a `score` have one row each: label, score, item. So have predictions whose only field
    is `value`: value, item. None: other predictions.
    """
    if all(hasattr(one, "label") and hasattr(one, "score") for one in predictions):
        column = max((columns(one.label) for one in predictions), default=0)
        fronts = [f"{padded(printable(one.label), column)}  {one.score:.4f}  " for one in predictions]
        return [row(front, item, width) for front, item in zip(fronts, items, strict=True)]
    if all(is_dataclass(one) and [*shown_fields(one)] == ["value"] for one in predictions):
        return number_table(items, [one.value for one in predictions], width)
    return None


def number_table(items: Sequence[Any], numbers: Sequence[float], width: int) -> list[str]:
    """Return one row for each item: its number, then its text or both texts."""
    return [row(f"{number: .4f}  ", item, width) for number, item in zip(numbers, items, strict=True)]


def barred(words: str, score: float, column: int, more: str = "") -> str:
    """Return a line with a bar for a probability.

    Args:
        words: what is probable.
        score: its probability.
        column: columns of the widest `words`.
        more: further figures, in front of the bar.
    """
    return f"  {padded(words, column)}  {score:.4f}  {more}{'█' * round(_BAR * score)}".rstrip()


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows of cells as lines, indented, with every column as wide as its widest cell."""
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(padded(*cell) for cell in zip(row, widths, strict=True)) for row in rows]


def vector_line(name: str, values: NDArray[np.float32]) -> str:
    """Return the shape and the first numbers of vectors."""
    numbers = " ".join(f"{value: .4f}" for value in values.ravel()[:_NUMBERS])
    return f"  {name} {' x '.join(map(str, values.shape))}: {numbers} ..."


def hit_lines(query: str, hits: Sequence[Mapping[str, Any]], width: int) -> list[str]:
    """Return the results of a search: the query, then one line for each hit with score, line number and text.

    Args:
        query: text of the query.
        hits: score, line and text of each hit.
        width: columns of the terminal; texts are cut to fit.
    """
    column = max([4, *(len(f"{hit['line']:,}") for hit in hits)])
    rows = [row(f" {hit['score']: .4f}  {hit['line']:>{column},}  ", hit["text"], width) for hit in hits]
    return [printable(query), f"   score  {'line':>{column}}  text", *rows]


def printable(text: str) -> str:
    """Replace characters that control the terminal by spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def columns(text: str) -> int:
    """Count the columns that a text takes on a terminal. Chinese characters take two.

    >>> columns("北京 2008")
    9
    """
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def padded(text: str, width: int) -> str:
    """Fill a text up to `width` columns with spaces."""
    return text + " " * (width - columns(text))


def cut(text: str, width: int) -> str:
    """Shorten a text to at most `width` columns."""
    if columns(text) <= width:
        return text
    used = 0
    for index, character in enumerate(text):
        used += columns(character)
        if used > width - 1:
            return text[:index] + "…"
    return text
