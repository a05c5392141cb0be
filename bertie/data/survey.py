"""Look at labelled items before a model learns from them: texts, copies, and what two files have in common.

Works on every kind of item. Labels are looked at in `survey_labels.py`, pieces in `survey_pieces.py`; nothing here
changes or drops an item.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bertie.corpus.findings import Finding, Severity, places
from bertie.data.items import Choice, Question, Text, Words, whole_text

_MANY_COPIES = 0.01
_HUGE_CHARACTERS = 100_000
_MANY_TAGS = 0.001
_TAG = re.compile(
    r"</?(?:br|p|b|i|u|a|em|strong|div|span|img|hr|h[1-6]|ul|ol|li|table|t[dr])\b[^<>]{0,200}>", re.IGNORECASE
)
# Characters lost, UTF-8 read as Latin-1, bytes printed by Python, HTML escapes, errors of a spreadsheet.
_SPOILT = re.compile(
    r"\ufffd|[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac[\u0098-\u2122]|^b(['\"]).*\1$|&(?:amp|lt|gt|quot|nbsp|#\d+);"
    r"|^#(?:NAME\?|REF!|VALUE!|DIV/0!)$"
)


def parts(item: Any) -> list[str]:
    """Return the texts of an item, of whatever kind."""
    if isinstance(item, str):
        return [item]
    if isinstance(item, tuple):
        return [str(part) for part in item]
    if isinstance(item, Question):
        return [item.text, item.context]
    if isinstance(item, Words):
        return [whole_text(item)]
    if isinstance(item, Choice):
        return [item.text, *(f"{item.lead} {choice}".strip() for choice in item.choices)]
    if isinstance(item, Text):
        return [part for part in (item.text, item.pair, *item.negatives) if part is not None]
    return [str(getattr(item, "text", item))]


def name_of(item: Any, number: int) -> int | str:
    """Return by what a user finds an item: its line, its id, or its number from 1."""
    return getattr(item, "line", 0) or getattr(item, "id", "") or number + 1


def names(items: Sequence[Any], numbers: Sequence[int]) -> list[int | str]:
    """Return what `name_of` returns for the items with these numbers."""
    return [name_of(items[number], number) for number in numbers]


def survey_texts(items: Sequence[Any], path: Path) -> list[Finding]:
    """Find texts that are empty, huge, or full of markup."""
    empty, huge, tagged, spoilt = [], [], [], []
    longest = 0
    for number, item in enumerate(items):
        every = parts(item)
        longest = max(longest, *map(len, every))
        if not all(part.strip() for part in every):
            empty.append(number)
        if any(len(part) >= _HUGE_CHARACTERS for part in every):
            huge.append(number)
        if any("<" in part and _TAG.search(part) for part in every):
            tagged.append(number)
        if any(_SPOILT.search(part) for part in every):
            spoilt.append(number)
    found = []
    if empty:
        every_one = len(empty) == len(items)
        what = "every text is empty" if every_one else f"{len(empty):,} of {len(items):,} items have an empty text"
        remedy = (
            "are these the right columns?" if every_one else "complete or remove them: nothing can be learned there"
        )
        where = places(path, names(items, empty))
        found.append(Finding("error" if every_one else "warning", what, where, remedy))
    if huge:
        what = f"{len(huge):,} texts are longer than {_HUGE_CHARACTERS:,} characters, the longest has {longest:,}"
        remedy = "is an end of line or a quote missing? cut such texts yourself"
        found.append(Finding("warning", what, places(path, names(items, huge)), remedy))
    if tagged:
        what = f"{len(tagged):,} of {len(items):,} items hold tags such as <br />, which are left alone"
        remedy = "strip them if they say nothing: each takes several pieces"
        severe = len(tagged) > _MANY_TAGS * len(items)
        found.append(Finding("warning" if severe else "note", what, places(path, names(items, tagged)), remedy))
    if spoilt:
        text = next(part for part in parts(items[spoilt[0]]) if _SPOILT.search(part))
        what = f"{len(spoilt):,} of {len(items):,} items look wrongly converted, such as {text!r:.60}"
        remedy = "export them again: as UTF-8, as text, without HTML escapes or errors of a spreadsheet"
        found.append(Finding("warning", what, places(path, names(items, spoilt)), remedy))
    return found


def survey_copies(items: Sequence[Any], path: Path) -> tuple[dict[str, int], list[Finding]]:
    """Find items whose texts are exactly those of an earlier one, and those among them with another label.

    Returns:
        How many there are of both, and findings.
    """
    first: dict[str, int] = {}
    copies: list[int] = []
    conflicts: list[tuple[int, int]] = []
    for number, item in enumerate(items):
        before = first.setdefault("\x00".join(parts(item)), number)
        if before != number:
            copies.append(number)
            if getattr(item, "label", None) != getattr(items[before], "label", None):
                conflicts.append((before, number))
    found = []
    if conflicts:
        shown = [f"{name_of(items[a], a)}/{name_of(items[b], b)}" for a, b in conflicts]
        what = f"{len(conflicts):,} items have the text of an earlier one and another label"
        unit = "line" if isinstance(name_of(items[conflicts[0][0]], 0), int) else "item"
        where = places(path, shown, unit=unit)
        found.append(Finding("warning", what, where, "decide which label is right: no model can answer both"))
    if copies:
        share = len(copies) / len(items)
        what = f"{len(copies):,} of {len(items):,} items ({share:.1%}) are exact copies of earlier ones"
        severity: Severity = "warning" if share > _MANY_COPIES else "note"
        remedy = "remove them, or they count several times"
        found.append(Finding(severity, what, places(path, names(items, copies)), remedy))
    return {"copies": len(copies), "conflicting_copies": len(conflicts)}, found


def survey_overlap(
    train: Sequence[Any], dev: Sequence[Any], train_path: Path, dev_path: Path
) -> tuple[dict[str, int], list[Finding]]:
    """Find dev items whose texts are in the training file too, whatever their case and spaces.

    Returns:
        How many there are, and findings.
    """
    known = set(_normal_forms(train))
    shared = [number for number, form in enumerate(_normal_forms(dev)) if form in known]
    values, found = {"dev_items_in_train": len(shared)}, []
    if shared:
        what = f"{len(shared):,} of {len(dev):,} dev items ({len(shared) / len(dev):.1%}) are in {train_path} too"
        remedy = "remove them from one of the files: scores on them show memory"
        found.append(Finding("warning", what, places(dev_path, names(dev, shared)), remedy))
    if train and isinstance(train[0], Question):
        contexts = {_normal(item.context) for item in train}
        inside = [number for number, item in enumerate(dev) if _normal(item.context) in contexts]
        values["dev_questions_on_train_contexts"] = len(inside)
        if len(inside) > len(shared):
            what = f"{len(inside):,} of {len(dev):,} dev questions are about contexts that {train_path} has too"
            found.append(
                Finding("warning", what, places(dev_path, names(dev, inside)), "split by context, not by question")
            )
    return values, found


def _normal_forms(items: Sequence[Any]) -> Iterator[int]:
    for item in items:
        yield hash("\x00".join(_normal(part) for part in parts(item)))


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
