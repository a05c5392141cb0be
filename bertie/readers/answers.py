"""Read answers in any form: texts, lists, lists as text, dictionaries, offsets alone, or none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.readers.cells import is_listed, read_cell
from bertie.readers.offsets import CHARACTERS, UNITS, to_characters

Given = tuple[str, int | None]
"""Text of an answer and its start in the file, if any."""

_TEXTS = ("text", "answer", "answer_text", "span", "value")
_STARTS = ("answer_start", "start", "start_offset", "answer_offset", "start_char")
_YES = {"true", "t", "yes", "y", "1", "1.0", "impossible", "unanswerable"}
_NO = {"false", "f", "no", "n", "0", "0.0", "possible", "answerable"}
NO_ANSWER = "CANNOTANSWER"  # QuAC and similar data sets write it at the end of a context, and as an answer


def says_yes(value: Any, name: str, where: str) -> bool | None:
    """Read a boolean in any spelling; None if it is missing.

    Raises:
        DataError: the value is not a boolean.
    """
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    spelling = str(value).strip().lower()
    if spelling in _YES or spelling in _NO:
        return spelling in _YES
    raise DataError(f"{where}: {name!r} is {value!r:.40}; it must be true or false, yes or no, 1 or 0")


def recounted(context: str, text: str, start: int) -> int:
    """Return the start of an answer whose offset counts UTF-16 units, bytes, or no carriage returns; -1 otherwise."""
    for unit in UNITS:
        position = to_characters(context, start, unit) if unit != CHARACTERS else -1
        if position >= 0 and context.startswith(text, position):
            return position
    if "\r\n" in context and start >= 0:
        kept = [position for position in range(len(context)) if not context.startswith("\r\n", position)]
        if start < len(kept) and context.startswith(text, kept[start]):
            return kept[start]
    return -1


def read_answers(value: Any, starts: Any, context: str, where: str) -> Iterator[Given]:
    """Yield the text and the original offset of every answer.

    Args:
        value: the answers: a text, a dictionary, a list of these, or a text that holds such a list.
        starts: value of the column of offsets, if there is one.
        context: the text that contains the answers.
        where: file and line, for messages.

    Raises:
        DataError: the answers have another form.
    """
    value, starts = _parsed(value, context, where), _parsed(starts, "", where)
    if isinstance(value, dict) and isinstance(texts := _first(value, _TEXTS), list):
        offsets = _first(value, _STARTS)
        offsets = [None] * len(texts) if offsets is None else offsets
        if not isinstance(offsets, list) or len(offsets) != len(texts):
            raise DataError(f"{where}: {len(texts)} answers need as many offsets; got {offsets!r:.60}")
        value = [{"text": text, "answer_start": start} for text, start in zip(texts, offsets, strict=True)]
    several = list(value) if isinstance(value, list | tuple) else [value]
    for answer, start in zip(several, _along(starts, len(several), where), strict=True):
        words, position = answer, start
        if isinstance(answer, dict):
            words, position = _first(answer, _TEXTS), _first(answer, _STARTS)
        if isinstance(words, int | float) and not isinstance(words, bool) and words == words:
            words = str(words)
        if not isinstance(words, str):
            problem = "is missing" if words is None else f"is {words!r:.60}, which is not text"
            raise DataError(f"{where}: the answer {problem}")
        yield words, offset(position, where)


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value


def _first(values: dict[str, Any], names: Sequence[str]) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _along(value: Any, count: int, where: str) -> list[Any]:
    """Return one offset for each answer; a single offset applies to all of them."""
    if not isinstance(value, list):
        return [value] * count
    if len(value) != count:
        raise DataError(f"{where}: {count} answers need as many offsets; got {value!r:.60}")
    return value


def _parsed(value: Any, context: str, where: str) -> Any:
    """Read the list or dictionary in a cell; a text in brackets that is in the context is an answer itself."""
    if not isinstance(value, str) or (value in context and context):
        return value
    opens = value.lstrip()[:1]
    if not is_listed(value):
        if opens == "{":
            raise DataError(f"{where}: the answers begin with a brace, but are not JSON")
        return value
    try:
        return read_cell(value)
    except ValueError as error:
        if opens in ("{", "["):
            raise DataError(f"{where}: the answers can't be read, {error}: {value!r:.60}") from error
        return value


def offset(value: Any, where: str) -> int | None:
    """Return an offset as an integer; None if it is missing.

    Raises:
        DataError: the value is not a whole number.
    """
    if _is_missing(value):
        return None
    try:
        number = float(value)
        whole = int(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: the answer's offset is {value!r:.60}, which is not a number") from error
    if isinstance(value, bool) or whole != number:
        raise DataError(f"{where}: the answer's offset is {value!r:.60}, which is not a whole number")
    return whole


def ends_at(file: Path, places: Sequence[tuple[str, int, int]]) -> int:
    """Return 1 if ends are inclusive and 0 if they are exclusive, judged by where words end.

    Args:
        file: file name for messages.
        places: context, first character and end of each answer.

    Raises:
        DataError: both readings, or neither, end all answers where words end.
    """
    candidates = [
        past for past in (0, 1) if all(_is_whole(context, start, end + past) for context, start, end in places)
    ]
    if len(candidates) > 1:  # a full stop after an answer is not part of it
        ends = [sum(context[end + past - 1].isalnum() for context, _, end in places) for past in candidates]
        candidates = [past for past, count in zip(candidates, ends, strict=True) if count == max(ends)]
    if len(candidates) == 1:
        return candidates[0]
    context, start, end = places[0]
    raise DataError(
        f"{file}: can't tell whether ends are inclusive: the first answer may be "
        f"{context[start:end]!r:.40} or {context[start : end + 1]!r:.40}; add the texts of the answers"
    )


def _is_whole(context: str, start: int, end: int) -> bool:
    """Check whether a part of a text begins and ends where words do."""
    inside = context[start:end]
    if not 0 <= start < end <= len(context) or inside != inside.strip():
        return False
    cuts_first = start > 0 and context[start - 1].isalnum() and inside[0].isalnum()
    cuts_last = end < len(context) and inside[-1].isalnum() and context[end].isalnum()
    return not cuts_first and not cuts_last
