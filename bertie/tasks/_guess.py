"""Predictions for masks: base class of one guess, and how lists of guesses look.

A prediction for a text with masks is a list of guesses, best first. Guesses for one mask each are a list of such lists
if the text has several masks.
"""

from __future__ import annotations

from typing import Any, ClassVar

from bertie.tasks._lines import barred, columns, field_lines, heading, sides
from bertie.tasks._prediction import Prediction, plain

_BY_MASK = "masks"


class Guess(Prediction):
    """Base class of guesses, which have a probability `score`."""

    score: float
    key: ClassVar[str] = _BY_MASK
    """Where a record has the guesses: `masks`, one list for each mask; or another key for guesses for a whole text."""

    def words(self) -> str:
        """Return the text that the guess puts into one mask, or into all masks of a text."""
        raise NotImplementedError

    def figures(self) -> str:
        """Return further figures to show next to the probability."""
        return ""


def record_of_guesses(item: Any, guesses: list[Any]) -> dict[str, Any]:
    """Return an item and its guesses as one dictionary that JSON can hold.

    Guesses for masks are under `masks`, one list for each mask; joint ones for all masks of a text under `fillings`;
    and whole answers for a single mask under `answers`.
    """
    key = guesses[0].key if guesses and isinstance(guesses[0], Guess) else _BY_MASK
    return {**sides(item), key: plain(_by_mask(guesses) if key == _BY_MASK else guesses)}


def lines_of_guesses(item: Any, guesses: list[Any]) -> list[str]:
    """Return the item, and one line for each guess, with a bar for its probability. Several masks are numbered."""
    masks = _by_mask(guesses)
    if not all(isinstance(guess, Guess) for mask in masks for guess in mask):
        return field_lines(item, guesses)
    column = max((columns(guess.words()) for mask in masks for guess in mask), default=0)
    lines = []
    for number, mask in enumerate(masks, 1):
        if len(masks) > 1:
            lines.append(f"  [MASK] {number}")
        lines += [barred(guess.words(), guess.score, column, guess.figures()) for guess in mask]
    return [heading(item), *(lines or ["  nothing found"])]


def _by_mask(guesses: list[Any]) -> list[list[Any]]:
    """Return the guesses for each mask. A text with a single mask has no outer list."""
    return guesses if guesses and isinstance(guesses[0], list) else [guesses]
