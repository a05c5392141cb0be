"""Format predictions for the terminal and as JSON.

The format depends on the fields of a prediction, not on its task: pieces for masks, a label with its probability, spans
of the text, vectors, or any other fields. This module doesn't predict or print.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

from bertie.items import text as items
from bertie.tasks._prediction import plain

_BAR = 24  # columns of the bar for a probability of 1
_NUMBERS = 6  # numbers shown of a vector


def record(item: Any, prediction: Any) -> dict[str, Any]:
    """Return an item and its prediction as one flat dictionary that JSON can hold.

    Predictions for masks are under `masks`, one list for each mask; joint ones for all masks of a text under
    `fillings`; and whole answers for a single mask under `answers`.
    """
    if isinstance(prediction, list):
        joint = "answers" if _holds(prediction, "answer") else "fillings" if _holds(prediction, "tokens") else None
        return {**sides(item), **({joint: plain(prediction)} if joint else {"masks": plain(_masks(prediction))})}
    parts = plain(prediction)
    if hasattr(prediction, "null_score"):  # its `text` is the answer, not the item's text
        question, context = items.sides(item)
        return {"question": question, "context": context, **parts}
    return {**sides(item), **(parts if isinstance(parts, dict) else {"prediction": parts})}


def records(items: Sequence[Any], predictions: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the `record` of each item. An item without a prediction has None in each field of the prediction."""
    rows = [
        sides(item) if prediction is None else record(item, prediction)
        for item, prediction in zip(items, predictions, strict=True)
    ]
    parts = next((row for row, prediction in zip(rows, predictions, strict=True) if prediction is not None), {})
    empty = dict.fromkeys(parts)
    return [{**empty, **row} if prediction is None else row for row, prediction in zip(rows, predictions, strict=True)]


def sides(item: Any) -> dict[str, str]:
    """Return the text of an item, and the second text of a pair."""
    text, pair = items.sides(item)
    return {"text": text} if pair is None else {"text": text, "pair": pair}


def show(items: Sequence[Any], predictions: Sequence[Any], width: int) -> str:
    """Format predictions for the terminal.

    Args:
        items: the items of the predictions.
        predictions: one for each item; None for an item without a prediction, which is left out.
        width: columns of the terminal; texts next to a label are cut to fit.
    """
    present = [both for both in zip(items, predictions, strict=True) if both[1] is not None]
    if len(present) < len(items):
        return show([item for item, _ in present], [prediction for _, prediction in present], width)
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
    if predictions and all(is_dataclass(one) and [*_fields(one)] == ["value"] for one in predictions):
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
            lines = _generated(prediction)
        else:
            parts = _fields(prediction) if is_dataclass(prediction) else {"prediction": prediction}
            lines = [f"  {name}: {value}" for name, value in parts.items()]
        blocks.append("\n".join([_printable(_joined(item)), *lines]))
    return "\n\n".join(blocks)


def _labels(items: Sequence[Any], predictions: Sequence[Any], width: int) -> str:
    """Return one line for each item: label, probability, text."""
    column = max((_columns(prediction.label) for prediction in predictions), default=0)
    lines = []
    for item, prediction in zip(items, predictions, strict=True):
        front = f"{_padded(_printable(prediction.label), column)}  {prediction.score:.4f}  "
        lines.append(front + _cut(_printable(_joined(item)), max(20, width - _columns(front))))
    return "\n".join(lines)


def _likelihoods(items: Sequence[Any], predictions: Sequence[Any], width: int) -> str:
    """Return one line for each item: sum and mean of its log-probabilities, perplexity, text."""
    lines = [f"{'sum':>10}  {'per piece':>9}  {'perplexity':>10}"]
    for item, likelihood in zip(items, predictions, strict=True):
        front = f"{likelihood.sum:>10.3f}  {likelihood.per_piece:>9.3f}  {likelihood.perplexity:>10.4g}  "
        lines.append(front + _cut(_printable(_joined(item)), max(20, width - _columns(front))))
    return "\n".join(lines)


def _numbers(name: str, items: Sequence[Any], predictions: Sequence[Any], width: int) -> str:
    """Return one line for each item: its number, or the similarity of a pair, then its text or both texts."""
    fronts = [f"{getattr(prediction, name): .4f}  " for prediction in predictions]
    return "\n".join(
        front + _cut(_printable(_joined(item)), max(20, width - len(front)))
        for front, item in zip(fronts, items, strict=True)
    )


def show_hits(query: str, hits: Sequence[Mapping[str, Any]], width: int) -> str:
    """Format the results of a search: the query, then one line for each hit with score, line number and text.

    Args:
        query: text of the query.
        hits: score, line and text of each hit.
        width: columns of the terminal; texts are cut to fit.
    """
    column = max([4, *(len(f"{hit['line']:,}") for hit in hits)])
    lines = [_printable(query), f"   score  {'line':>{column}}  text"]
    for hit in hits:
        front = f" {hit['score']: .4f}  {hit['line']:>{column},}  "
        lines.append(front + _cut(_printable(hit["text"]), max(20, width - len(front))))
    return "\n".join(lines)


def _guesses(masks: list[list[Any]]) -> list[str]:
    """Return one line for each predicted piece, with a bar for its probability. Several masks are numbered."""
    column = max((_columns(_words(guess)) for guesses in masks for guess in guesses), default=0)
    lines = []
    for number, guesses in enumerate(masks, 1):
        if len(masks) > 1:
            lines.append(f"  [MASK] {number}")
        lines += [_barred(_words(guess), guess.score, column, _sums(guess)) for guess in guesses]
    return lines or ["  nothing found"]


def _choices(item: Any, prediction: Any) -> str:
    """Return the text and one line for each choice, most probable first."""
    choices = [_printable(choice) for choice in item.choices]
    column = max(map(_columns, choices))
    ranked = sorted(zip(choices, prediction.scores, strict=True), key=lambda both: -both[1])
    return "\n".join([_printable(items.sides(item)[0]), *(_barred(*both, column) for both in ranked)])


def _barred(words: str, score: float, column: int, more: str = "") -> str:
    return f"  {_padded(words, column)}  {score:.4f}  {more}{'█' * round(_BAR * score)}".rstrip()


def _sums(guess: Any) -> str:
    """Return the log-probabilities of a whole answer: of all its pieces, and their mean."""
    return f"sum {guess.sum:8.3f}  per piece {guess.per_piece:7.3f}  " if hasattr(guess, "per_piece") else ""


def _words(guess: Any) -> str:
    """Return the text that a prediction puts into one mask, or into all masks of a text."""
    if hasattr(guess, "answer"):
        return _printable(guess.answer)
    return " … ".join(guess.tokens) if hasattr(guess, "tokens") else str(guess.token)


def _holds(prediction: list[Any], name: str) -> bool:
    return bool(prediction) and hasattr(prediction[0], name)


def _spans(prediction: Any) -> list[str]:
    """Return one line for each span: label, text, characters, probability. Without spans return words with tags.

    A span is indented by two columns for each span that it lies within.
    """
    if not prediction.spans:
        tags = zip(getattr(prediction, "words", ()), getattr(prediction, "tags", ()), strict=True)
        tagged = [f"{word}/{tag}" for word, tag in tags if tag != "O"]
        return [f"  {_printable(' '.join(tagged))}" if tagged else "  nothing found"]
    rows = []
    around: list[Any] = []  # the spans that begin before the present one and end within or after it
    for span in prediction.spans:
        around = [one for one in around if one.end > span.start]
        depth = sum(one.end >= span.end and (one.start, one.end) != (span.start, span.end) for one in around)
        text = "  " * depth + _printable(span.text)
        rows.append((_printable(span.label), text, f"{span.start}-{span.end}", f"{span.score:.4f}"))
        around.append(span)
    widths = [max(_columns(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  " + "  ".join(_padded(*cell) for cell in zip(row, widths, strict=True)) for row in rows]


def _answer(item: Any, reply: Any, width: int) -> str:
    """Return the question, the answer with probability and characters, and the answer in its context."""
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


def _generated(prediction: Any) -> list[str]:
    """Return one line for each text, with its score first. A best text that did not end is followed by "…"."""
    first, *others = (f"  {one.score:.4f}  {_printable(one.target)}" for one in (prediction, *prediction.others))
    return [first + ("" if prediction.ended else " …"), *others]


def _vectors(prediction: Any) -> list[str]:
    """Return the shape and the first numbers of each vector."""
    lines = []
    for name in ("hidden", "pooled", "vector"):
        values = getattr(prediction, name, None)
        if values is not None:
            numbers = " ".join(f"{value: .4f}" for value in values.ravel()[:_NUMBERS])
            lines.append(f"  {name} {' x '.join(map(str, values.shape))}: {numbers} ...")
    return lines


def _masks(prediction: list[Any]) -> list[list[Any]]:
    """Return the predictions for each mask. An item with a single mask has no outer list."""
    return prediction if prediction and isinstance(prediction[0], list) else [prediction]


def _joined(item: Any) -> str:
    return "  |  ".join(sides(item).values())


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields that are shown: those with repr."""
    return {part.name: getattr(value, part.name) for part in fields(value) if part.repr}


def _printable(text: str) -> str:
    """Replace characters that control the terminal by spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def _columns(text: str) -> int:
    """Count the columns that a text takes on a terminal. Chinese characters take two.

    >>> _columns("北京 2008")
    9
    """
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - _columns(text))


def _cut(text: str, columns: int) -> str:
    """Shorten a text to at most `columns` columns."""
    if _columns(text) <= columns:
        return text
    used = 0
    for index, character in enumerate(text):
        used += _columns(character)
        if used > columns - 1:
            return text[:index] + "…"
    return text
