"""Check labels before training: which ones there are, how often they occur, and what is wrong with them.

Each kind of label has a function. `survey_labels` chooses it by the items.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertie.corpus.findings import Finding, places
from bertie.data.entities import OUTSIDE
from bertie.data.items import Choice, Question, Text, Words
from bertie.data.labels import alike, is_no_label, labels_of
from bertie.data.survey import name_of, names

_RARE = 10
_MAYBE_MISSING = {"none", "null", "na", "n/a"}
_LOPSIDED = 0.9
_BINS = 8
_LARGEST = 1e30  # of the numbers that a model can learn
Values = dict[str, Any]


def survey_labels(
    items: Sequence[Any], path: Path, *, classes: bool, many: bool = False
) -> tuple[Values, list[Finding]]:
    """Count labels.

    Args:
        items: items of one class.
        path: path of the table, for findings.
        classes: whether labels of texts are names of classes; otherwise they are numbers, if most of them are.
        many: whether a text may have several labels, separated by commas.

    Returns:
        Figures and findings; both empty for items without labels.
    """
    first = items[0] if items else None
    if isinstance(first, Question):
        return _answers(items, path)
    if isinstance(first, Words):
        return _tags(items, path)
    if isinstance(first, Choice):
        return _choices(items, path)
    labels = [item.label for item in items if isinstance(item, Text) and item.label is not None]
    if not labels:
        return {}, []
    num_numbers = sum(math.isfinite(_number(label)) for label in labels)
    if classes or 2 * num_numbers < len(labels):
        return _classes(items, path, many=many)
    return _numbers(items, path)


def unseen(train: Sequence[Any], dev: Sequence[Any], dev_path: Path, *, many: bool = False) -> list[Finding]:
    """Find classes, or tags, of the dev items that no training item has, and the reverse."""
    known, tested = (Counter(label for item in items for label in _names(item, many)) for items in (train, dev))
    findings, strange = [], tested.keys() - known.keys()
    where: dict[str, list[int]] = {}
    for number, item in enumerate(dev):
        for label in strange.intersection(_names(item, many)):
            where.setdefault(label, []).append(number)
    for label, numbers in sorted(where.items()):
        what = f"label {label!r} ({len(numbers):,} items) is in no training item"
        remedy = "is it spelled differently there? train with such examples, or remove these"
        findings.append(Finding("error", what, places(dev_path, names(dev, numbers)), remedy))
    if missing := sorted(known.keys() - tested.keys()):
        what = f"no dev item has the label{'s' if len(missing) > 1 else ''} {', '.join(missing[:_RARE])}"
        findings.append(Finding("warning", what, str(dev_path), "such labels will not be measured"))
    return findings


def _names(item: Any, many: bool) -> tuple[str, ...]:
    if isinstance(item, Words):
        return tuple({span.label for span in item.labelled_spans() or ()})
    return () if not isinstance(item, Text) or is_no_label(item.label) else labels_of(item, many=many)


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
    counts = Counter(label for item in kept for label in labels_of(item, many=many))
    rows = [{"label": label, "items": count, "share": count / len(kept)} for label, count in counts.most_common()]
    if len(counts) == 1 and not many:
        what = f"every item has the label {next(iter(counts))!r}"
        findings.append(
            Finding("error", what, str(path), "a classifier needs two labels or more; is this the right column?")
        )
    if once := [label for label, count in counts.items() if count == 1]:
        single = set(once)
        numbers = [number for number, item in enumerate(items) if not single.isdisjoint(labels_of(item, many=many))]
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


def _tags(items: Sequence[Words], path: Path) -> tuple[Values, list[Finding]]:
    tagged = [item for item in items if item.label is not None]
    uneven = [
        number for number, item in enumerate(items) if item.label is not None and len(item.label) != len(item.words)
    ]
    findings = []
    if uneven:
        item = items[uneven[0]]
        what = f"{len(uneven):,} texts have different numbers of words and tags (the first: {len(item.words)} words, "
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


def _answers(items: Sequence[Question], path: Path) -> tuple[Values, list[Finding]]:
    labelled = [item for item in items if item.label is not None]
    none = sum(not item.label for item in labelled)
    unlocated = [number for number, item in enumerate(items) if _unlocated(item)]
    several = sum(len({answer.text for answer in item.label or ()}) > 1 for item in labelled)
    values = {"contexts": len({item.context for item in items})}
    kinds = {"one answer": len(labelled) - none - several, "several answers": several, "no answer": none}
    values_of_labels = [
        {"label": kind, "items": count, "share": count / len(labelled)} for kind, count in kinds.items() if count
    ]
    findings = []
    if unlocated:
        text = _unlocated(items[unlocated[0]])[0]
        what = f"{len(unlocated):,} of {len(items):,} questions have answers that never occur in the context, or "
        what += f"occur several times but not at their offset, such as {text!r:.60}"
        remedy = "fix text or offset; scores use these answers, but models don't learn from them"
        findings.append(Finding("warning", what, places(path, names(items, unlocated)), remedy))
    return {**values, "labels": values_of_labels}, findings


def _unlocated(item: Question) -> list[str]:
    """Return the answers whose text is not at their offset."""
    return [
        answer.text
        for answer in item.label or ()
        if answer.start < 0 or not item.context.startswith(answer.text, answer.start)
    ]


def _choices(items: Sequence[Choice], path: Path) -> tuple[Values, list[Finding]]:
    marked = [(number, item) for number, item in enumerate(items) if item.label is not None]
    wrong = [
        number
        for number, item in marked
        if not str(item.label).isdecimal() or int(str(item.label)) >= len(item.choices)
    ]
    counts = Counter(str(item.label) for _, item in marked)
    rows = [{"label": label, "items": count, "share": count / len(marked)} for label, count in sorted(counts.items())]
    sizes = sorted({len(item.choices) for item in items})
    findings = []
    if wrong:
        what = f"{len(wrong):,} labels are not the number of a choice, such as {items[wrong[0]].label!r}"
        findings.append(Finding("error", what, places(path, names(items, wrong)), "labels count the choices from 0"))
    if 1 in sizes or 0 in sizes:
        without_choice = [name_of(item, number) for number, item in enumerate(items) if len(item.choices) < 2]
        what = f"{len(without_choice):,} items have fewer than two choices"
        findings.append(Finding("warning", what, places(path, without_choice)))
    return {"choices": sizes, "labels": rows}, findings
