"""What a batch computes: predictions by the task's settings for one request, ranked targets, or logits.

The settings of a request form a group, which the batcher keeps apart from others.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from bertie.errors import BertieError, DataError, SettingsError
from bertie.inference.answers import rank_targets
from bertie.inference.forward import forward
from bertie.items.choice import Choice
from bertie.items.question import Question
from bertie.items.text import texts_of, unlabelled
from bertie.packed import as_array
from bertie.registry import did_you_mean
from bertie.tasks._settings import parse_settings

if TYPE_CHECKING:
    from bertie.inference.predictor import Predictor

# Settings of a task that a request may change. The others belong to the model.
CHANGEABLE = ("top_k", "truncation", "max_length", "stride", "threshold", "n_best", "max_answer", "null_threshold")
LARGEST = {"top_k": 1000, "n_best": 100, "max_answer": 512}
"""The largest value of settings that decide how much a prediction computes or returns."""
TARGETS, LOGITS = "targets", "logits"


def group_of(predictor: Predictor[Any], settings: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Check the settings of a request, and return them as a value that can be compared.

    Args:
        predictor: the model.
        settings: of its task; `targets`, words to rank for a mask; or `logits=True`, to get the logits of classes.

    Raises:
        SettingsError: the task has no such setting, a request can't change it, or the value is wrong.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    targets = given.pop(TARGETS, None)
    logits = given.pop(LOGITS, False)
    parsed = parse_settings(type(predictor.task), given) if given else {}
    for name, value in parsed.items():
        if name not in CHANGEABLE:
            raise SettingsError(f"a request can't change {name}; {did_you_mean(name, CHANGEABLE)}")
        _check_kind(name, value)
        largest = int(getattr(predictor.task, name)) if name == "max_length" else LARGEST.get(name)
        if largest is not None and value > largest:
            raise SettingsError(f"{name} must be at most {largest}; got {value}")
    if parsed:
        predictor.task.adjusted(parsed)  # checks the values
    group = tuple(sorted(parsed.items()))
    if targets is not None:
        group += ((TARGETS, tuple(targets)),)
    return (*group, (LOGITS, True)) if logits else group


def _check_kind(name: str, value: Any) -> None:
    if name == "truncation":
        fits = isinstance(value, str)
    elif name in ("threshold", "null_threshold"):
        fits = isinstance(value, int | float)
    else:
        fits = isinstance(value, int) and value >= 1
    if isinstance(value, bool) or not fits:
        raise SettingsError(f"{name} can't be {value!r:.60}")


def compute(predictor: Predictor[Any], items: Sequence[Any], group: Hashable) -> list[Any]:
    """Predict for the items of one batch.

    Args:
        predictor: the model.
        items: the items.
        group: a value of `group_of`.
    """
    settings = dict(group)  # type: ignore[call-overload]
    targets, logits = settings.pop(TARGETS, None), settings.pop(LOGITS, False)
    predictor = predictor.adjusted(**settings) if settings else predictor
    if targets is not None:
        return list(rank_targets(predictor, items, targets))
    if logits:
        return _logits(predictor, items)
    return list(predictor.predict(list(items)))


def _logits(predictor: Predictor[Any], items: Sequence[Any]) -> list[list[float]]:
    """Return the logits of the classes for each item, averaged over its windows."""
    rows: dict[int, list[float]] = {}
    bare = [unlabelled(item) for item in items]
    for part in forward(predictor.model, predictor.task, bare, predictor.tokenizer, max_tokens=predictor.max_tokens):
        means = part.batch.arrays.item_means(as_array(part.outputs)).tolist()
        rows.update(zip(part.numbers, means, strict=True))
    return [rows[number] for number in range(len(items))]


def sizes_of(predictor: Predictor[Any], items: Sequence[Any], group: Hashable) -> list[int]:
    """Count the tokens that the model reads for each item. They are encoded for that, so wrong items are found.

    Raises:
        DataError: an item can't be used; the message names its number.
    """
    settings = dict(group)  # type: ignore[call-overload]
    times = len(settings.pop(TARGETS, ())) or 1
    settings.pop(LOGITS, None)
    task = predictor.task.adjusted(settings) if settings else predictor.task
    batch = task.encode([unlabelled(item) for item in items], predictor.tokenizer)
    sizes = np.bincount(batch.arrays.rows, weights=batch.arrays.lengths, minlength=len(items))
    return [int(size) * times for size in sizes.tolist()]


def too_long(items: Sequence[Any], characters: int) -> int | None:
    """Return the number, from 0, of the first item that is longer than a number of characters; None if none is.

    Raises:
        DataError: an item has a text that is no text.
    """
    for number, item in enumerate(items):
        try:
            lengths = [len(text) for text in texts_of(item)]
        except TypeError as error:
            raise DataError(f"text {number + 1} is {item!r:.60}, which is no item") from error
        if sum(lengths) > characters:
            return number
    return None


def probe(predictor: Predictor[Any]) -> Any:
    """Return a tiny item that the model can predict for: the first of a text, a pair, a question and a choice."""
    tokenizer = predictor.tokenizer
    word = tokenizer.tokens[tokenizer.mask] if predictor.task.fills_masks else "a"
    for item in (word, (word, word), Question("a", "a"), Choice("a", ("a", "a"))):
        with suppress(BertieError):
            sizes_of(predictor, [item], ())
            return item
    return word
