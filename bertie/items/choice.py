"""A text and several continuations, one of which is right (multiple choice)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from bertie.errors import DataError
from bertie.findings import Finding, places
from bertie.items.item import Item, Values, name_of, names, string, strings


@dataclass(frozen=True)
class Choice(Item):
    """A text and several continuations, one of which is right."""

    text: str
    choices: tuple[str, ...]
    label: str | None = None
    """Number of the right choice, from 0."""
    line: int = 0
    lead: str = ""
    """Beginning that all choices continue, such as a question about the text; it is put in front of each choice."""
    id: str = field(default="", repr=False, compare=False)
    """Name of the item in its file; empty without such a column."""

    keys: ClassVar[tuple[str, ...]] = ("text", "choices", "label", "lead", "id")
    required: ClassVar[int] = 2

    def texts(self) -> list[str]:
        """Return the text, and each choice after the lead."""
        return [self.text, *(f"{self.lead} {choice}".strip() for choice in self.choices)]

    def sides(self) -> tuple[str, str | None]:
        """Return the text with the lead, and the choices on one line."""
        return f"{self.text} {self.lead}".strip(), "  /  ".join(self.choices)

    def sequences(self, lengths: Sequence[int]) -> list[list[int]]:
        """Return the text with each choice."""
        return [[lengths[0], choice] for choice in lengths[1:]] or [[lengths[0]]]

    def label_text(self) -> str:
        """Return the right choice; the label itself if it isn't the number of a choice."""
        return self.choices[int(str(self.label))] if self._is_number() else str(self.label)

    def stratum(self) -> str:
        """Return the number of the right choice."""
        return self.label or ""

    def row(self) -> dict[str, Any]:
        """Return the item as a row of a JSON Lines table."""
        more = {"lead": self.lead, "id": self.id}
        return {
            "text": self.text,
            "choices": list(self.choices),
            "label": self.label,
            **{name: value for name, value in more.items() if value},
        }

    @classmethod
    def parse(cls, row: Mapping[str, Any]) -> Self:
        """Make an item of the values of a JSON object. A label counts the choices from 0."""
        choices = strings(row["choices"], "choices")
        if len(choices) < 2:
            raise DataError(f"{len(choices)} choices; an item needs two or more")
        label = row.get("label")
        if label is not None and str(label) not in map(str, range(len(choices))):
            raise DataError(f"label is {label!r:.60}; it must be the number of a choice, 0 to {len(choices) - 1}")
        return cls(
            string(row["text"], "text"),
            choices,
            None if label is None else str(label),
            lead=string(row.get("lead", ""), "lead"),
            id=str(row.get("id", "")),
        )

    @classmethod
    def check_labels(
        cls, items: Sequence[Self], path: Path, *, classes: bool = True, many: bool = False
    ) -> tuple[Values, list[Finding]]:
        """Check the numbers of the right choices."""
        del classes, many
        marked = [(number, item) for number, item in enumerate(items) if item.label is not None]
        wrong = [number for number, item in marked if not item._is_number()]
        counts = Counter(str(item.label) for _, item in marked)
        rows = [
            {"label": label, "items": count, "share": count / len(marked)} for label, count in sorted(counts.items())
        ]
        sizes = sorted({len(item.choices) for item in items})
        findings = []
        if wrong:
            what = f"{len(wrong):,} labels are not the number of a choice, such as {items[wrong[0]].label!r}"
            findings.append(
                Finding("error", what, places(path, names(items, wrong)), "labels count the choices from 0")
            )
        if 1 in sizes or 0 in sizes:
            without_choice = [name_of(item, number) for number, item in enumerate(items) if len(item.choices) < 2]
            what = f"{len(without_choice):,} items have fewer than two choices"
            findings.append(Finding("warning", what, places(path, without_choice)))
        return {"choices": sizes, "labels": rows}, findings

    def _is_number(self) -> bool:
        """Tell whether the label is the number of a choice."""
        return str(self.label).isdecimal() and int(str(self.label)) < len(self.choices)
