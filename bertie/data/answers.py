"""Answers in whatever form a file has them: texts, lists, lists as text, dictionaries, places alone, or none at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bertie.data.cells import is_listed, read_cell
from bertie.data.offsets import CHARACTERS, UNITS, to_characters
from bertie.errors import DataError

Given = tuple[str, int | None]
"""Text of an answer, and where it is said to begin."""

_TEXTS = ("text", "answer", "answer_text", "span", "value")
_STARTS = ("answer_start", "start", "start_offset", "answer_offset", "start_char")
_YES = {"true", "t", "yes", "y", "1", "1.0", "impossible", "unanswerable"}
_NO = {"false", "f", "no", "n", "0", "0.0", "possible", "answerable"}
NO_ANSWER = "CANNOTANSWER"  # what QuAC and its kin write at the end of a context, and as an answer


def says_yes(value: Any, name: str, where: str) -> bool | None:
    """Read a truth value in any spelling; None where nothing is said.

    Raises:
        DataError: something else.
    """
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    said = str(value).strip().lower()
    if said in _YES or said in _NO:
        return said in _YES
    raise DataError(f"{where}: {name!r} is {value!r:.40}; it must be true or false, yes or no, 1 or 0")


def recounted(context: str, text: str, start: int) -> int:
    """Return where an answer stands that was counted in UTF-16 units, bytes, or without carriage returns; else -1."""
    for unit in UNITS:
        place = to_characters(context, start, unit) if unit != CHARACTERS else -1
        if place >= 0 and context.startswith(text, place):
            return place
    if "\r\n" in context and start >= 0:
        kept = [place for place in range(len(context)) if not context.startswith("\r\n", place)]
        if start < len(kept) and context.startswith(text, kept[start]):
            return kept[start]
    return -1


def read_answers(value: Any, starts: Any, context: str, where: str) -> Iterator[Given]:
    """Yield the text and the given offset of every answer.

    Args:
        value: what stands where the answers are: a text, a dictionary, a list of these, or text that holds such.
        starts: what stands in a column of their offsets, if there is one.
        context: the text in which the answers are.
        where: for messages.

    Raises:
        DataError: another form.
    """
    value, starts = _parsed(value, context, where), _parsed(starts, "", where)
    if isinstance(value, dict) and isinstance(texts := _first(value, _TEXTS), list):
        given = _first(value, _STARTS)
        given = [None] * len(texts) if given is None else given
        if not isinstance(given, list) or len(given) != len(texts):
            raise DataError(f"{where}: {len(texts)} answers, and offsets that don't match them: {given!r:.60}")
        value = [{"text": text, "answer_start": place} for text, place in zip(texts, given, strict=True)]
    several = list(value) if isinstance(value, list | tuple) else [value]
    for answer, start in zip(several, _along(starts, len(several), where), strict=True):
        words, place = answer, start
        if isinstance(answer, dict):
            words, place = _first(answer, _TEXTS), _first(answer, _STARTS)
        if isinstance(words, int | float) and not isinstance(words, bool) and words == words:
            words = str(words)
        if not isinstance(words, str):
            said = "is missing" if words is None else f"is {words!r:.60}, which is no text"
            raise DataError(f"{where}: the answer {said}")
        yield words, offset(place, where)


def _is_nothing(value: Any) -> bool:
    return value is None or value == "" or value != value


def _first(values: dict[str, Any], names: Sequence[str]) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _along(value: Any, count: int, where: str) -> list[Any]:
    """Return an offset for each answer; one that stands alone is the first one's, or everyone's."""
    if not isinstance(value, list):
        return [value] * count
    if len(value) != count:
        raise DataError(f"{where}: {count} answers, and offsets that don't match them: {value!r:.60}")
    return value


def _parsed(value: Any, context: str, where: str) -> Any:
    """Read the list or dictionary that a cell holds; a text in brackets that stands in the context is one."""
    if not isinstance(value, str) or (value in context and context):
        return value
    opens = value.lstrip()[:1]
    if not is_listed(value):
        if opens == "{":
            raise DataError(f"{where}: the answers begin with a brace and are no JSON")
        return value
    try:
        return read_cell(value)
    except ValueError as error:
        if opens in ("{", "["):
            raise DataError(f"{where}: the answers can't be read, {error}: {value!r:.60}") from error
        return value


def offset(value: Any, where: str) -> int | None:
    """Return an offset as a number; None where there is none.

    Raises:
        DataError: no whole number.
    """
    if _is_nothing(value):
        return None
    try:
        number = float(value)
        whole = int(number)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{where}: the answer's offset is {value!r:.60}, which is no number") from error
    if isinstance(value, bool) or whole != number:
        raise DataError(f"{where}: the answer's offset is {value!r:.60}, which is no whole number")
    return whole


def ends_at(file: Path, places: Sequence[tuple[str, int, int]]) -> int:
    """Tell whether ends are the last character of an answer (1) or the one after it (0), by where words end.

    Args:
        file: for messages.
        places: context, first character and end of each answer.

    Raises:
        DataError: both ways, or neither, cut the answers where words end.
    """
    able = [past for past in (0, 1) if all(_is_whole(context, start, end + past) for context, start, end in places)]
    if len(able) > 1:  # a full stop behind an answer is no part of it
        ends = [sum(context[end + past - 1].isalnum() for context, _, end in places) for past in able]
        able = [past for past, count in zip(able, ends, strict=True) if count == max(ends)]
    if len(able) == 1:
        return able[0]
    context, start, end = places[0]
    raise DataError(
        f"{file}: can't tell whether answers end before their last character: the first may be "
        f"{context[start:end]!r:.40} or {context[start : end + 1]!r:.40}; give the texts of the answers too"
    )


def _is_whole(context: str, start: int, end: int) -> bool:
    """Tell whether a part of a text begins and ends where words do."""
    inside = context[start:end]
    if not 0 <= start < end <= len(context) or inside != inside.strip():
        return False
    cuts_first = start > 0 and context[start - 1].isalnum() and inside[0].isalnum()
    cuts_last = end < len(context) and inside[-1].isalnum() and context[end].isalnum()
    return not cuts_first and not cuts_last
