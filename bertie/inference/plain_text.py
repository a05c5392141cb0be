"""What predictions look like on a terminal and as JSON.

By their form, not by their task: guesses for masks, a label with its probability, spans of the text, vectors, or
whatever fields they have. Nothing here predicts or prints.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from bertie.data import items
from bertie.tasks._prediction import plain

_BAR = 24  # columns of a probability of 1
_NUMBERS = 6  # of a vector that are shown


def record(item: Any, prediction: Any) -> dict[str, Any]:
    """Return an item and its prediction as JSON can hold them, on one level.

    Guesses for masks stand under `masks`, one list for each mask; `fillings` are of all masks of a text together, and
    `answers` are whole ones for its only mask.
    """
    if isinstance(prediction, list):
        joint = "answers" if _holds(prediction, "answer") else "fillings" if _holds(prediction, "tokens") else None
        return {**sides(item), **({joint: plain(prediction)} if joint else {"masks": plain(_masks(prediction))})}
    parts = plain(prediction)
    if hasattr(prediction, "null_score"):  # its own `text` is the answer
        question, context = items.sides(item)
        return {"question": question, "context": context, **parts}
    return {**sides(item), **(parts if isinstance(parts, dict) else {"prediction": parts})}


def records(items: Sequence[Any], predictions: Sequence[Any]) -> list[dict[str, Any]]:
    """Return all items with their predictions, as `record` does one; what has no prediction has null for each part."""
    found = [
        sides(item) if prediction is None else record(item, prediction)
        for item, prediction in zip(items, predictions, strict=True)
    ]
    parts = next((one for one, prediction in zip(found, predictions, strict=True) if prediction is not None), {})
    empty = dict.fromkeys(parts)
    return [{**empty, **one} if prediction is None else one for one, prediction in zip(found, predictions, strict=True)]


def sides(item: Any) -> dict[str, str]:
    """Return the text of an item, and of a pair the second one."""
    text, pair = items.sides(item)
    return {"text": text} if pair is None else {"text": text, "pair": pair}


def show(items: Sequence[Any], predictions: Sequence[Any], width: int) -> str:
    """Lay predictions out for people.

    Args:
        items: what was predicted for.
        predictions: one an item.
        width: columns; texts beside a label are cut to it.
    """
    said = [both for both in zip(items, predictions, strict=True) if both[1] is not None]
    if len(said) < len(items):  # their lines stand in JSON; people see what there is
        return show([item for item, _ in said], [prediction for _, prediction in said], width)
    if predictions and hasattr(predictions[0], "perplexity"):
        return _likelihoods(items, predictions, width)
    if predictions and hasattr(predictions[0], "null_score"):
        return "\n\n".join(_answer(*both, width) for both in zip(items, predictions, strict=True))
    if predictions and hasattr(predictions[0], "choice"):
        return "\n\n".join(_choices(*both) for both in zip(items, predictions, strict=True))
    if all(hasattr(prediction, "label") and hasattr(prediction, "score") for prediction in predictions):
        return _labels(items, predictions, width)
    if predictions and all(hasattr(prediction, "similarity") for prediction in predictions):
        return _numbers("similarity", items, predictions, width)
    if predictions and all(is_dataclass(said) and [*_fields(said)] == ["value"] for said in predictions):
        return _numbers("value", items, predictions, width)
    blocks = []
    for item, prediction in zip(items, predictions, strict=True):
        if isinstance(prediction, list):
            lines = _guesses(_masks(prediction))
        elif hasattr(prediction, "hidden") or hasattr(prediction, "vector"):
            lines = _vectors(prediction)
        elif hasattr(prediction, "pieces"):
            column = max((_columns(piece.token) for piece in prediction.pieces), default=0)
            lines = [_barred(piece.token, piece.replaced, column) for piece in prediction.pieces]
        elif hasattr(prediction, "spans"):
            lines = _spans(prediction)
        elif hasattr(prediction, "target"):
            lines = _written(prediction)
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


def _likelihoods(items: Sequence[Any], predictions: Sequence[Any], width: int) -> str:
    """One line an item: sum and mean of its log-probabilities, perplexity, text."""
    lines = [f"{'sum':>10}  {'per piece':>9}  {'perplexity':>10}"]
    for item, found in zip(items, predictions, strict=True):
        front = f"{found.sum:>10.3f}  {found.per_piece:>9.3f}  {found.perplexity:>10.4g}  "
        lines.append(front + _cut(_printable(_joined(item)), max(20, width - _columns(front))))
    return "\n".join(lines)


def _numbers(name: str, items: Sequence[Any], predictions: Sequence[Any], width: int) -> str:
    """One line an item: its number (of a pair how alike the two are), and its text or both texts."""
    fronts = [f"{getattr(prediction, name): .4f}  " for prediction in predictions]
    return "\n".join(
        front + _cut(_printable(_joined(item)), max(20, width - len(front)))
        for front, item in zip(fronts, items, strict=True)
    )


def show_hits(query: str, hits: Sequence[Mapping[str, Any]], width: int) -> str:
    """Lay out what a search found: under the query one line a hit with score, line number and text.

    Args:
        query: what was looked for.
        hits: score, line and text of each.
        width: columns; texts are cut to it.
    """
    column = max([4, *(len(f"{hit['line']:,}") for hit in hits)])
    lines = [_printable(query), f"   score  {'line':>{column}}  text"]
    for hit in hits:
        front = f" {hit['score']: .4f}  {hit['line']:>{column},}  "
        lines.append(front + _cut(_printable(hit["text"]), max(20, width - len(front))))
    return "\n".join(lines)


def _guesses(masks: list[list[Any]]) -> list[str]:
    """One line a guess, with a bar as long as its probability; masks are numbered when there are several."""
    column = max((_columns(_words(guess)) for guesses in masks for guess in guesses), default=0)
    lines = []
    for number, guesses in enumerate(masks, 1):
        if len(masks) > 1:
            lines.append(f"  [MASK] {number}")
        lines += [_barred(_words(guess), guess.score, column, _sums(guess)) for guess in guesses]
    return lines or ["  nothing found"]


def _choices(item: Any, prediction: Any) -> str:
    """A text and one line a choice, likeliest first."""
    choices = [_printable(choice) for choice in item.choices]
    column = max(map(_columns, choices))
    ranked = sorted(zip(choices, prediction.scores, strict=True), key=lambda both: -both[1])
    return "\n".join([_printable(items.sides(item)[0]), *(_barred(*both, column) for both in ranked)])


def _barred(words: str, score: float, column: int, more: str = "") -> str:
    return f"  {_padded(words, column)}  {score:.4f}  {more}{'█' * round(_BAR * score)}".rstrip()


def _sums(guess: Any) -> str:
    """Return the logarithms of a whole answer: of all its pieces, and of one on average."""
    return f"sum {guess.sum:8.3f}  per piece {guess.per_piece:7.3f}  " if hasattr(guess, "per_piece") else ""


def _words(guess: Any) -> str:
    """Return what a guess puts into a mask, or into all masks of a text."""
    if hasattr(guess, "answer"):
        return _printable(guess.answer)
    return " … ".join(guess.tokens) if hasattr(guess, "tokens") else str(guess.token)


def _holds(prediction: list[Any], name: str) -> bool:
    return bool(prediction) and hasattr(prediction[0], name)


def _spans(prediction: Any) -> list[str]:
    """One line a span: label, text, its characters, probability; tags that are no spans stand beside their words."""
    if not prediction.spans:
        tagged = [f"{word}/{tag}" for word, tag in zip(prediction.words, prediction.tags, strict=True) if tag != "O"]
        return [f"  {_printable(' '.join(tagged))}" if tagged else "  nothing found"]
    rows = [
        (_printable(span.label), _printable(span.text), f"{span.start}-{span.end}", f"{span.score:.4f}")
        for span in prediction.spans
    ]
    widths = [max(_columns(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["  " + "  ".join(_padded(*cell) for cell in zip(row, widths, strict=True)) for row in rows]


def _answer(item: Any, reply: Any, width: int) -> str:
    """The question, its answer with probability and characters, and the answer between what stands around it."""
    question, context = items.sides(item)
    if not reply.text:
        return f"{_printable(question)}\n  (no answer)  {reply.score:.4f}"
    room = min(60, max(10, (width - _columns(reply.text) - 8) // 2))
    before, after = (context or "")[: reply.start][-room:], (context or "")[reply.end :][:room]
    before = "…" * (len(before) < reply.start) + before.lstrip()
    after = after.rstrip() + "…" * (reply.end + len(after) < len(context or ""))
    return "\n".join(
        [
            _printable(question),
            f"  {_printable(reply.text)}  {reply.score:.4f}  characters {reply.start}-{reply.end}",
            f"  {_printable(f'{before}«{reply.text}»{after}')}",
        ]
    )


def _written(prediction: Any) -> list[str]:
    """One line a text, with its score in front; the best one says where it did not come to its end."""
    first, *others = (f"  {one.score:.4f}  {_printable(one.target)}" for one in (prediction, *prediction.others))
    return [first + ("" if prediction.ended else " …"), *others]


def _vectors(prediction: Any) -> list[str]:
    """Shapes and first numbers."""
    lines = []
    for name in ("hidden", "pooled", "vector"):
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


def _fields(value: Any) -> dict[str, Any]:
    """Return what a prediction shows; a field without repr is for whoever works on with it."""
    return {part.name: getattr(value, part.name) for part in fields(value) if part.repr}


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
