"""Check the labels of texts before training: names of classes, or numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertie.findings import Finding, places
from bertie.items.item import Values, names
from bertie.items.labels import alike, is_no_label

if TYPE_CHECKING:
    from bertie.items.text import Text

_RARE = 10
_MAYBE_MISSING = {"none", "null", "na", "n/a"}
_LOPSIDED = 0.9
_BINS = 8
_LARGEST = 1e30  # of the numbers that a model can learn


def check_text_labels(
    items: Sequence[Text], path: Path, *, classes: bool, many: bool = False
) -> tuple[Values, list[Finding]]:
    """Count the labels of texts, and find what is wrong with them. Arguments and result: `Item.check_labels`."""
    labels = [item.label for item in items if item.label is not None]
    if not labels:
        return {}, []
    num_numbers = sum(math.isfinite(_number(label)) for label in labels)
    if classes or 2 * num_numbers < len(labels):
        return _classes(items, path, many=many)
    return _numbers(items, path)


def _missing(items: Sequence[Text], path: Path) -> tuple[list[Text], list[Finding]]:
    """Separate items with a label from those whose label is empty or NaN."""
    unlabelled = [number for number, item in enumerate(items) if is_no_label(item.label)]
    kept = [item for item in items if not is_no_label(item.label)]
    if not unlabelled:
        return kept, []
    what = f"{len(unlabelled):,} of {len(items):,} labels are empty or NaN"
    return kept, [Finding("error", what, places(path, names(items, unlabelled)), "complete or remove these rows")]


def _classes(items: Sequence[Text], path: Path, *, many: bool) -> tuple[Values, list[Finding]]:
    kept, findings = _missing(items, path)
    counts = Counter(label for item in kept for label in item.labels(many=many))
    rows = [{"label": label, "items": count, "share": count / len(kept)} for label, count in counts.most_common()]
    if len(counts) == 1 and not many:
        what = f"every item has the label {next(iter(counts))!r}"
        findings.append(
            Finding("error", what, str(path), "a classifier needs two labels or more; is this the right column?")
        )
    if once := [label for label, count in counts.items() if count == 1]:
        single = set(once)
        numbers = [number for number, item in enumerate(items) if not single.isdisjoint(item.labels(many=many))]
        named = ", ".join(map(repr, once[:_RARE])) + (f" and {len(once) - _RARE} more" if len(once) > _RARE else "")
        what = f"{len(once):,} label{'s have' if len(once) > 1 else ' has'} only one example: {named}"
        remedy = "add examples, or merge with another class; is it a typing error?"
        findings.append(Finding("warning", what, places(path, names(items, numbers)), remedy))
    if len(counts) > len(kept) / 2 and len(kept) > _RARE:
        what = f"{len(counts):,} labels for {len(kept):,} items: are these classes?"
        findings.append(
            Finding("warning", what, str(path), "choose the label column with --columns, or use --task regression")
        )
    label, count = counts.most_common(1)[0] if counts else ("", 0)
    if len(counts) > 1 and count > _LOPSIDED * len(kept) and not many:
        what = f"{count / len(kept):.1%} of the items have the label {label!r}: always predicting it is that accurate"
        remedy = "look at macro_f1 rather than accuracy, or set class_weights=balanced"
        findings.append(Finding("warning", what, str(path), remedy))
    if similar := [" and ".join(map(repr, group)) for group in alike(counts)]:
        what = f"labels differ only in case, invisible characters or form of a number: {', '.join(similar[:_RARE])}"
        findings.append(Finding("warning", what, str(path), "spell each label in one way"))
    words = [label for label in counts if label.strip().lower() in _MAYBE_MISSING]
    if words and len(counts) > len(words):
        what = f"{sum(counts[word] for word in words):,} items have the label {' or '.join(map(repr, sorted(words)))}"
        remedy = "if it means that they have no label, complete or remove these rows"
        findings.append(Finding("warning", what, str(path), remedy))
    return {"labels": rows}, findings


def _numbers(items: Sequence[Text], path: Path) -> tuple[Values, list[Finding]]:
    kept, findings = _missing(items, path)
    read = [_number(item.label) for item in kept]
    values = [value for value in read if math.isfinite(value)]
    wrong = [number for number, value in enumerate(read) if not math.isfinite(value)]
    if wrong:
        what = f"{len(wrong):,} of {len(items):,} labels are not numbers, such as {kept[wrong[0]].label!r}"
        remedy = "fix them, choose another column, or use --task classification"
        findings.append(Finding("error", what, places(path, names(kept, wrong)), remedy))
    if not values:
        return {}, findings
    if min(values) == max(values):
        findings.append(Finding("error", f"every label is {values[0]:g}", str(path), "there is nothing to learn"))
    counts, edges = np.histogram(values, bins=_BINS)
    rows = [
        {"label": f"{low:.3g} to {high:.3g}", "items": int(count), "share": int(count) / len(values)}
        for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True)
    ]
    spread = {"min": min(values), "mean": sum(values) / len(values), "max": max(values)}
    return {"label_values": spread, "labels": rows}, findings


def _number(label: Any) -> float:
    try:
        value = float(str(label).replace("_", "?"))  # Python reads 1_0 as ten
    except ValueError:
        return math.nan
    return value if abs(value) < _LARGEST else math.nan
