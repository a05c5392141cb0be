"""The contract of `items/`: what a task learns from and predicts for.

A kind of item is a frozen dataclass that derives from `Item`, in a file of its own. It owns what depends on the kind:
its texts, how its label reads, how it looks as a JSON object, which of its labels are wrong, and where a report marks
predictions in it. Readers make items from files (`readers/`), tasks turn them into batches (`tasks/`).
"""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from bertie.errors import DataError
from bertie.findings import Finding
from bertie.registry import did_you_mean
from bertie.untrusted import check_whole_characters

Values = dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """A span of a text that a report marks."""

    start: int
    """First character."""
    end: int
    """Index after the last character."""
    kind: Literal["right", "missed", "wrong"]
    label: str = ""
    """The label of the span, such as PER; empty if the task has no labels."""


class Item(ABC):
    """Base class of all kinds of items."""

    label: Any = None
    """The right answer in the item's source; None: unlabelled."""
    line: int = 0
    """Line in the item's file, from 1; 0 if it comes from elsewhere."""
    id: str = ""
    """Name of the item in its file; empty without one. Models don't learn from it."""
    keys: ClassVar[tuple[str, ...]]
    """The keys of its JSON object that `from_row` reads, the required ones first."""
    required: ClassVar[int] = 1
    """Number of required keys."""
    has_spans: ClassVar[bool] = False
    """Whether labels and predictions are spans of a text, which `marked` marks."""

    @abstractmethod
    def texts(self) -> list[str]:
        """Return all texts of the item."""

    @abstractmethod
    def sides(self) -> tuple[str, str | None]:
        """Return the text to show, and the second text or None."""

    @abstractmethod
    def label_text(self) -> str:
        """Return the label of a labelled item as text."""

    @abstractmethod
    def row(self) -> dict[str, Any]:
        """Return the item as a row of a JSON Lines table, which `bertie` reads back as this item."""

    @classmethod
    @abstractmethod
    def parse(cls, row: Mapping[str, Any]) -> Self:
        """Make an item of a JSON object whose keys were checked.

        Raises:
            DataError: a value has the wrong type.
        """

    @classmethod
    @abstractmethod
    def check_labels(
        cls, items: Sequence[Self], path: Path, *, classes: bool = True, many: bool = False
    ) -> tuple[Values, list[Finding]]:
        """Count the labels of items before training, and find what is wrong with them.

        Args:
            items: items of this kind.
            path: path of their table, for findings.
            classes: whether labels of texts are names of classes; otherwise they are numbers, if most of them are.
            many: whether a text may have several labels, separated by commas.

        Returns:
            Figures and findings; both empty for items without labels.
        """

    def label_names(self, *, many: bool = False) -> tuple[str, ...]:
        """Return the names of classes or tags in the label. Empty for a kind whose labels have no names."""
        del many
        return ()

    def sequences(self, lengths: Sequence[int]) -> list[list[int]]:
        """Return the lengths of the parts of each sequence that a model reads: by default all texts in one sequence.

        Args:
            lengths: of the `texts`.
        """
        return [list(lengths)]

    def unlabelled(self) -> Self:
        """Return the item without its label."""
        return self if self.label is None else replace(self, label=None)  # type: ignore[type-var]

    def group(self) -> str:
        """Return the text that items of one group share. Held-out items are of other groups than the rest."""
        return self.sides()[0]

    def stratum(self) -> str:
        """Return the label if it is the name of a class. Held-out items have as many of each class as the rest."""
        return ""

    def marked(self, prediction: Any, *, right: bool) -> tuple[str, list[Mark]]:
        """Return the text to draw and the spans to mark in it, both gold and predicted.

        Args:
            prediction: a task's prediction for this item.
            right: whether it is right.
        """
        del prediction, right
        return self.sides()[0], []

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Make an item of a JSON object, such as one that a client of a server sends. It is the inverse of `row`.

        Raises:
            DataError: a key is missing or unknown, or a value has the wrong type or holds half a character.
        """
        names = ", ".join(cls.keys)
        for key in row:
            if key not in cls.keys:
                raise DataError(f"unknown key {key!r}; {did_you_mean(str(key), cls.keys)}")
        for key in cls.keys[: cls.required]:
            if row.get(key) is None:
                raise DataError(f"the key {key!r} is missing; the keys are {names}")
        check_whole_characters(dict(row), "the item")
        return cls.parse({key: value for key, value in row.items() if value is not None})


def string(value: Any, name: str) -> str:
    """Return a value of a JSON object that must be a string.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(value, str):
        raise DataError(f"{name} is {reprlib.repr(value)}; it must be a string")
    return value


def strings(value: Any, name: str) -> tuple[str, ...]:
    """Return a value of a JSON object that must be a list of strings.

    Raises:
        DataError: it is something else.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise DataError(f"{name} is {reprlib.repr(value)}; it must be a list of strings")
    return tuple(value)


def name_of(item: Any, number: int) -> int | str:
    """Return what identifies an item for a user: its line, its id, or its number from 1."""
    return getattr(item, "line", 0) or getattr(item, "id", "") or number + 1


def names(items: Sequence[Any], numbers: Sequence[int]) -> list[int | str]:
    """Return `name_of` for the items with these numbers."""
    return [name_of(items[number], number) for number in numbers]
