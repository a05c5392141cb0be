"""A text cut into words, each with a tag; the spans of the tags are entities or other labelled runs of words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from bertie.errors import DataError
from bertie.findings import Finding, places
from bertie.items.item import Item, Mark, Values, names, string, strings
from bertie.items.labels import alike
from bertie.metrics.entities import OUTSIDE, Entity, entities

_RARE = 10
_WIDE = re.compile("[\u2e80-\ua4cf\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff9f\uffe0-\uffef\U00020000-\U0003ffff]")
"""Characters of scripts without spaces: Han, kana, and their marks."""


@dataclass(frozen=True)
class Words(Item):
    """A text cut into words; each word gets a tag."""

    words: tuple[str, ...]
    label: tuple[str, ...] | None = None
    """One tag for each word, IOB2 (B-PER I-PER O)."""
    line: int = 0
    text: str = ""
    """The whole text that `offsets` refer to. If empty, the joined words: with spaces, but not within Chinese."""
    offsets: tuple[tuple[int, int], ...] = ()
    """First character of each word and the one after its last; computed from the joined words when empty."""
    spans: tuple[Entity, ...] | None = None
    """All labelled runs of words, which may overlap, where the file was read for them. `label` has no overlapping."""

    keys: ClassVar[tuple[str, ...]] = ("tokens", "tags", "text", "offsets", "spans")
    has_spans: ClassVar[bool] = True

    def whole_text(self) -> str:
        """Return the text that contains the words."""
        return self.text or "".join(f"{space}{word}" for space, word in _with_spaces(self.words))

    def word_offsets(self) -> Sequence[tuple[int, int]]:
        """Return the characters [start, end) of each word in `whole_text`.

        >>> Words(("Ann", "slept", ".")).word_offsets()
        [(0, 3), (4, 9), (10, 11)]
        """
        if self.offsets or not self.words:
            return self.offsets
        edges, offset = [], 0
        for space, word in _with_spaces(self.words):
            offset += len(space)
            edges.append((offset, offset + len(word)))
            offset += len(word)
        return edges

    def labelled_spans(self) -> tuple[Entity, ...] | None:
        """Return the labelled runs of words: `spans`, or without them the entities of the tags; None if unlabelled."""
        if self.spans is not None or self.label is None:
            return self.spans
        return tuple(entities(self.label))

    def places(self, spans: Sequence[Entity]) -> list[tuple[int, int, str]]:
        """Return (first character, end, label) in `whole_text` of each run of words."""
        offsets = self.word_offsets()
        return [(offsets[first][0], offsets[end - 1][1], label) for label, first, end in spans]

    def texts(self) -> list[str]:
        """Return the whole text."""
        return [self.whole_text()]

    def sides(self) -> tuple[str, str | None]:
        """Return the whole text, and None."""
        return self.whole_text(), None

    def label_text(self) -> str:
        """Return the labelled spans, or the tags of words without spans."""
        spans = self.labelled_spans() or ()
        named = "; ".join(f"{one.label}: {' '.join(self.words[one.start : one.end])}" for one in spans)
        return named or " ".join(self.label or ())

    def label_names(self, *, many: bool = False) -> tuple[str, ...]:
        """Return the labels of the spans, each once."""
        del many
        return tuple({span.label for span in self.labelled_spans() or ()})

    def unlabelled(self) -> Self:
        """Return the words without tags and spans."""
        return self if self.label is None and self.spans is None else replace(self, label=None, spans=None)

    def row(self) -> dict[str, Any]:
        """Return the words as a row of a JSON Lines table."""
        more: dict[str, Any] = {}
        if self.text:
            more = {"text": self.text, "offsets": [list(edges) for edges in self.word_offsets()]}
        if self.spans is not None:
            more["spans"] = [list(span) for span in self.spans]
        return {"tokens": list(self.words), "tags": None if self.label is None else list(self.label), **more}

    @classmethod
    def parse(cls, row: Mapping[str, Any]) -> Self:
        """Make words of the values of a JSON object."""
        words, text = strings(row["tokens"], "tokens"), string(row.get("text", ""), "text")
        tags = strings(row["tags"], "tags") if "tags" in row else None
        if tags is not None and len(tags) != len(words):
            raise DataError(f"{len(words)} tokens and {len(tags)} tags; give every token one tag")
        offsets = tuple(_edges(edges, len(text)) for edges in _lists(row, "offsets", 2))
        if len(offsets) != (len(words) if text else 0):
            raise DataError(f"{len(words)} tokens and {len(offsets)} offsets; give text with one offset a token")
        spans = tuple(
            Entity(string(label, "a label of spans"), *_edges(edges, len(words)))
            for label, *edges in _lists(row, "spans", 3)
        )
        return cls(words, tags, text=text, offsets=offsets, spans=spans if "spans" in row else None)

    def marked(self, prediction: Any, *, right: bool) -> tuple[str, list[Mark]]:
        """Mark the spans; a predicted span is right if its ends and its label are right."""
        del right
        gold = set(self.places(self.labelled_spans() or ()))
        guesses = {(span.start, span.end, span.label) for span in prediction.spans}
        marks = [
            *(
                Mark(start, end, "right" if (start, end, label) in gold else "wrong", label)
                for start, end, label in guesses
            ),
            *(Mark(start, end, "missed", label) for start, end, label in gold - guesses),
        ]
        tags = getattr(prediction, "tags", ())
        if not marks and tags:  # such as parts of speech: mark the words with a wrong tag
            for (start, end), tag, guess in zip(self.word_offsets(), self.label or (), tags, strict=True):
                marks += [Mark(start, end, "missed", tag), Mark(start, end, "wrong", guess)] if tag != guess else []
        return self.whole_text(), sorted(marks, key=lambda mark: (mark.start, mark.end, mark.kind, mark.label))

    @classmethod
    def check_labels(
        cls, items: Sequence[Self], path: Path, *, classes: bool = True, many: bool = False
    ) -> tuple[Values, list[Finding]]:
        """Check tags and spans."""
        del classes, many
        tagged = [item for item in items if item.label is not None]
        uneven = [
            number for number, item in enumerate(items) if item.label is not None and len(item.label) != len(item.words)
        ]
        findings = []
        if uneven:
            item = items[uneven[0]]
            what = (
                f"{len(uneven):,} texts have different numbers of words and tags (the first: {len(item.words)} words, "
            )
            what += f"{len(item.label or ())} tags)"
            findings.append(Finding("error", what, places(path, names(items, uneven)), "give every word one tag"))
        spans = Counter(span.label for item in tagged for span in item.labelled_spans() or ())
        tags = Counter(tag for item in tagged for tag in item.label or ())
        counts = spans or tags
        values: Values = {"words": sum(len(item.words) for item in items)}
        if tags:
            values["words_outside"] = tags[OUTSIDE] / tags.total()
        values["labels"] = [
            {"label": label, "items": count, "share": count / counts.total()} for label, count in counts.most_common()
        ]
        if tagged and not tags.keys() - {OUTSIDE}:
            findings.append(Finding("error", "all tags are O", str(path), "is this the right column?"))
        if once := [label for label, count in counts.items() if count == 1]:
            what = f"only one example of {', '.join(once[:_RARE])}"
            findings.append(Finding("warning", what, str(path), "add examples; is it a typing error?"))
        if similar := [" and ".join(map(repr, group)) for group in alike(counts)]:
            what = f"tags differ only in case: {', '.join(similar[:_RARE])}"
            findings.append(Finding("warning", what, str(path), "spell each tag in one way"))
        return values, findings


def _with_spaces(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each word after its separator: a space, but none between Chinese or Japanese words."""
    before = ""
    for index, word in enumerate(words):
        is_close = index == 0 or (_WIDE.match(before[-1:]) and _WIDE.match(word))
        yield "" if is_close else " ", word
        before = word


def _lists(row: Mapping[str, Any], name: str, length: int) -> list[Sequence[Any]]:
    """Return a list of short lists from a JSON object."""
    value = row.get(name, ())
    if not isinstance(value, list | tuple) or not all(
        isinstance(one, list | tuple) and len(one) == length for one in value
    ):
        raise DataError(f"{name} must be a list of lists with {length} values each")
    return list(value)


def _edges(edges: Sequence[Any], limit: int) -> tuple[int, int]:
    """Return [start, end) of a JSON object, within a text or list of this length."""
    start, end = edges
    if (
        isinstance(start, bool)
        or not isinstance(start, int)
        or not isinstance(end, int)
        or not 0 <= start < end <= limit
    ):
        raise DataError(f"{list(edges)!r:.60} is not [start, end) within 0 to {limit}")
    return start, end
