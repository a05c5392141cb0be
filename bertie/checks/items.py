"""Check labelled items before training: their texts, copies, and overlap between two files.

It works on items of every class. `labels.py` checks labels, and `pieces.py` checks pieces. No item is
changed or dropped.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bertie.findings import Finding, Severity, places
from bertie.items.item import name_of, names
from bertie.items.question import Question
from bertie.items.text import texts_of

_MANY_COPIES = 0.01
_HUGE_CHARACTERS = 100_000
_MANY_TAGS = 0.001
_TAG = re.compile(
    r"</?(?:br|p|b|i|u|a|em|strong|div|span|img|hr|h[1-6]|ul|ol|li|table|t[dr])\b[^<>]{0,200}>", re.IGNORECASE
)
# Lost characters, UTF-8 read as Latin-1, bytes printed by Python, HTML escapes, spreadsheet errors.
_BROKEN = re.compile(
    r"\ufffd|[\u00c2\u00c3][\u0080-\u00bf]|\u00e2\u20ac[\u0098-\u2122]|^b(['\"]).*\1$|&(?:amp|lt|gt|quot|nbsp|#\d+);"
    r"|^#(?:NAME\?|REF!|VALUE!|DIV/0!)$"
)


def survey_texts(items: Sequence[Any], path: Path) -> list[Finding]:
    """Find texts that are empty, very long, full of markup, or wrongly converted."""
    empty, huge, tagged, broken = [], [], [], []
    longest = 0
    for number, item in enumerate(items):
        texts = texts_of(item)
        longest = max(longest, *map(len, texts))
        if not all(part.strip() for part in texts):
            empty.append(number)
        if any(len(part) >= _HUGE_CHARACTERS for part in texts):
            huge.append(number)
        if any("<" in part and _TAG.search(part) for part in texts):
            tagged.append(number)
        if any(_BROKEN.search(part) for part in texts):
            broken.append(number)
    findings = []
    if empty:
        all_empty = len(empty) == len(items)
        what = "every text is empty" if all_empty else f"{len(empty):,} of {len(items):,} items have an empty text"
        remedy = (
            "are these the right columns?" if all_empty else "complete or remove them: a model can't learn from them"
        )
        where = places(path, names(items, empty))
        findings.append(Finding("error" if all_empty else "warning", what, where, remedy))
    if huge:
        what = f"{len(huge):,} texts are longer than {_HUGE_CHARACTERS:,} characters, the longest has {longest:,}"
        remedy = "is an end of line or a quote missing? cut such texts yourself"
        findings.append(Finding("warning", what, places(path, names(items, huge)), remedy))
    if tagged:
        what = f"{len(tagged):,} of {len(items):,} items contain tags such as <br />, which are kept"
        remedy = "strip them if they carry no meaning: each takes several pieces"
        severe = len(tagged) > _MANY_TAGS * len(items)
        findings.append(Finding("warning" if severe else "note", what, places(path, names(items, tagged)), remedy))
    if broken:
        text = next(part for part in texts_of(items[broken[0]]) if _BROKEN.search(part))
        what = f"{len(broken):,} of {len(items):,} items look wrongly converted, such as {text!r:.60}"
        remedy = "export them again as UTF-8 text, without HTML escapes or spreadsheet errors"
        findings.append(Finding("warning", what, places(path, names(items, broken)), remedy))
    return findings


def survey_copies(items: Sequence[Any], path: Path) -> tuple[dict[str, int], list[Finding]]:
    """Find items whose texts equal those of an earlier one, and those among them with another label.

    Returns:
        The number of both, and findings.
    """
    first: dict[str, int] = {}
    copies: list[int] = []
    conflicts: list[tuple[int, int]] = []
    for number, item in enumerate(items):
        before = first.setdefault("\x00".join(texts_of(item)), number)
        if before != number:
            copies.append(number)
            if getattr(item, "label", None) != getattr(items[before], "label", None):
                conflicts.append((before, number))
    findings = []
    if conflicts:
        shown = [f"{name_of(items[a], a)}/{name_of(items[b], b)}" for a, b in conflicts]
        what = f"{len(conflicts):,} items have the text of an earlier one, but another label"
        unit = "line" if isinstance(name_of(items[conflicts[0][0]], 0), int) else "item"
        where = places(path, shown, unit=unit)
        remedy = "decide which label is right: no model can predict both"
        findings.append(Finding("warning", what, where, remedy))
    if copies:
        share = len(copies) / len(items)
        what = f"{len(copies):,} of {len(items):,} items ({share:.1%}) are exact copies of earlier ones"
        severity: Severity = "warning" if share > _MANY_COPIES else "note"
        remedy = "remove them, or they count several times"
        findings.append(Finding(severity, what, places(path, names(items, copies)), remedy))
    return {"copies": len(copies), "conflicting_copies": len(conflicts)}, findings


def survey_overlap(
    train: Sequence[Any], dev: Sequence[Any], train_path: Path, dev_path: Path
) -> tuple[dict[str, int], list[Finding]]:
    """Find dev items whose texts are in the training file too, ignoring case and spaces.

    Returns:
        Their number, and findings.
    """
    known = set(_normal_forms(train))
    shared = [number for number, form in enumerate(_normal_forms(dev)) if form in known]
    values, findings = {"dev_items_in_train": len(shared)}, []
    if shared:
        what = f"{len(shared):,} of {len(dev):,} dev items ({len(shared) / len(dev):.1%}) are in {train_path} too"
        remedy = "remove them from one of the files: scores on them only measure memory"
        findings.append(Finding("warning", what, places(dev_path, names(dev, shared)), remedy))
    if train and isinstance(train[0], Question):
        contexts = {_normal(item.context) for item in train}
        inside = [number for number, item in enumerate(dev) if _normal(item.context) in contexts]
        values["dev_questions_on_train_contexts"] = len(inside)
        if len(inside) > len(shared):
            what = f"{len(inside):,} of {len(dev):,} dev questions are about contexts that {train_path} has too"
            findings.append(
                Finding("warning", what, places(dev_path, names(dev, inside)), "split by context, not by question")
            )
    return values, findings


def _normal_forms(items: Sequence[Any]) -> Iterator[int]:
    for item in items:
        yield hash("\x00".join(_normal(part) for part in texts_of(item)))


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
