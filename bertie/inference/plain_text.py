"""What predictions look like on a terminal and as JSON.

By their form, not by their task: guesses for masks, a label with its probability, vectors, or whatever fields they
have. Nothing here predicts or prints.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

_BAR = 24  # columns of a probability of 1
_NUMBERS = 6  # of a vector that are shown


def record(item: Any, prediction: Any) -> dict[str, Any]:
    """Return an item and its prediction as JSON can hold them, on one level.

    Guesses for masks stand under `masks`, one list for each mask.
    """
    if isinstance(prediction, list):
        return {**sides(item), "masks": _plain(_masks(prediction))}
    plain = _plain(prediction)
    return {**sides(item), **(plain if isinstance(plain, dict) else {"prediction": plain})}


def sides(item: Any) -> dict[str, str]:
    """Return the text of an item, and of a pair the second one."""
    text, pair = item if isinstance(item, tuple) else (getattr(item, "text", item), getattr(item, "pair", None))
    return {"text": str(text)} if pair is None else {"text": str(text), "pair": str(pair)}


def show(items: Sequence[Any], predictions: Sequence[Any], width: int) -> str:
    """Lay predictions out for people.

    Args:
        items: what was predicted for.
        predictions: one an item.
        width: columns; texts beside a label are cut to it.
    """
    if all(hasattr(prediction, "label") and hasattr(prediction, "score") for prediction in predictions):
        return _labels(items, predictions, width)
    blocks = []
    for item, prediction in zip(items, predictions, strict=True):
        if isinstance(prediction, list):
            lines = _guesses(_masks(prediction))
        elif hasattr(prediction, "hidden"):
            lines = _vectors(prediction)
        else:
            parts = _fields(prediction) if is_dataclass(prediction) else {"prediction": prediction}
            lines = [f"  {name}: {value}" for name, value in parts.items()]
        blocks.append("\n".join([_printable(_joined(item)), *lines]))
    return "\n\n".join(blocks)


def _labels(items: Sequence[Any], predictions: Sequence[Any], width: int) -> str:
    """One line an item: label, probability, text."""
    column = max((_columns(prediction.label) for prediction in predictions), default=0)
    lines = []
    for item, prediction in zip(items, predictions, strict=True):
        front = f"{_padded(_printable(prediction.label), column)}  {prediction.score:.4f}  "
        lines.append(front + _cut(_printable(_joined(item)), max(20, width - _columns(front))))
    return "\n".join(lines)


def _guesses(masks: list[list[Any]]) -> list[str]:
    """One line a guess, with a bar as long as its probability; masks are numbered when there are several."""
    column = max(_columns(guess.token) for guesses in masks for guess in guesses)
    lines = []
    for number, guesses in enumerate(masks, 1):
        if len(masks) > 1:
            lines.append(f"  [MASK] {number}")
        lines += [
            f"  {_padded(guess.token, column)}  {guess.score:.4f}  {'█' * round(_BAR * guess.score)}".rstrip()
            for guess in guesses
        ]
    return lines


def _vectors(prediction: Any) -> list[str]:
    """Shapes and first numbers."""
    lines = []
    for name in ("hidden", "pooled"):
        values = getattr(prediction, name, None)
        if values is not None:
            numbers = " ".join(f"{value: .4f}" for value in values.ravel()[:_NUMBERS])
            lines.append(f"  {name} {' x '.join(map(str, values.shape))}: {numbers} ...")
    return lines


def _masks(prediction: list[Any]) -> list[list[Any]]:
    """Return the guesses of each mask; an item with a single mask has its guesses without a list around them."""
    return prediction if prediction and isinstance(prediction[0], list) else [prediction]


def _joined(item: Any) -> str:
    return "  |  ".join(sides(item).values())


def _plain(value: Any) -> Any:
    """Turn dataclasses and arrays into dictionaries and lists."""
    if isinstance(value, np.ndarray):
        return _plain(value.astype(np.float64).round(7).tolist())
    if is_dataclass(value) and not isinstance(value, type):
        return {name: _plain(part) for name, part in _fields(value).items()}
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value


def _fields(value: Any) -> dict[str, Any]:
    return {part.name: getattr(value, part.name) for part in fields(value)}


def _printable(text: str) -> str:
    """Write what a terminal would obey rather than show as spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def _columns(text: str) -> int:
    """Count the columns of a terminal that a text takes; Chinese characters take two."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - _columns(text))


def _cut(text: str, columns: int) -> str:
    """Shorten a text to so many columns."""
    if _columns(text) <= columns:
        return text
    used = 0
    for place, character in enumerate(text):
        used += _columns(character)
        if used > columns - 1:
            return text[:place] + "…"
    return text
