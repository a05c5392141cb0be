"""Read the labels of a table in their form: one a row, lists, lists written as text, 0/1 columns, decimal commas.

A form applies only if every row has it. An ambiguous form (0/1 vectors without names, separators in only some labels)
raises an error that states what to type.
"""

import ast
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertie.errors import DataError
from bertie.untrusted import parse_json

Labels = str | tuple[str, ...] | None
Where = Callable[[int], str]
"""Number of a row to "file:line"."""

SEVERAL = "any number of labels each"
SEPARATORS = {"bar": "|", "semicolon": ";", "comma": ",", "none": ""}
_SHOWN = 60
_YES = {"1", "1.0", "true"}
_NO = {"0", "0.0", "false"}
_STRING = r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
_PART = rf"(?:{_STRING}|[^\s,\[\](){{}}'\"]+)"
_LIST = re.compile(rf"\s*[\[({{]\s*(?:{_PART}(?:\s*,\s*{_PART})*\s*,?)?\s*[\])}}]\s*")
_ARRAY = re.compile(rf"\s*\[\s*{_PART}(?:\s+{_PART})*\s*\]\s*")  # as numpy prints it
_EMPTY = {"[]", "()", "{}", "set()"}
_VECTOR_TEXT = re.compile(r"[01](?:\.0)?([,; ])\s*[01](?:\.0)?(?:\1\s*[01](?:\.0)?)+")


@dataclass(frozen=True)
class TableLabels:
    """The labels of a table, and their form."""

    labels: list[Labels]
    form: str = ""
    """Form for the reading plan; empty if each row has one label."""


def read_labels(values: Sequence[Any], where: Where, name: str, options: Mapping[str, str]) -> TableLabels:
    """Read the labels of all rows.

    Args:
        values: values of the label column.
        where: function from the number of a row to "file:line", for messages.
        name: name of the column, for messages.
        options: `names` (of the elements of 0/1 vectors, joined by "+") and `separator` (of labels in one field).

    Raises:
        DataError: the form is ambiguous, or some rows don't have it.
    """
    if any(isinstance(value, list | tuple) for value in values):
        return _listed(values, where, name, options)
    texts = [_text(value, where(number), name) for number, value in enumerate(values)]
    if "separator" in options:
        return _split(texts, SEPARATORS.get(options["separator"], options["separator"]))
    filled = [text for text in texts if text]
    bracketed = sum((text[0] in "[({" and text[-1] in "])}") or text == "set()" for text in filled)
    if bracketed and bracketed == len(filled):
        return _listed_as_text(texts, where, name, options)
    if bracketed > 0 and any(_LIST.fullmatch(text) for text in filled) and 2 * bracketed > len(filled):
        number = next(number for number, text in enumerate(texts) if text and text[0] not in "[({")
        raise DataError(
            f"{where(number)}: {name!r} holds {texts[number]!r:.{_SHOWN}}, but other rows hold lists written as text"
        )
    if filled and all(_VECTOR_TEXT.fullmatch(text) for text in filled) and len({len(text) for text in filled}) == 1:
        vectors = [re.split(r"[,; ]\s*", text) if text else [] for text in texts]
        return _vectors(vectors, where, name, options)
    return _by_signs(texts, where, name)


def hot_columns(rows: Sequence[Sequence[Any]], names: Sequence[str], where: Where) -> TableLabels:
    """Read labels with one column each, which is 1 in the rows that have the label.

    Raises:
        DataError: a cell is neither 0 nor 1.
    """
    labels: list[Labels] = []
    for number, values in enumerate(rows):
        switched = [switch(value) for value in values]
        if None in switched:
            index = switched.index(None)
            raise DataError(f"{where(number)}: {names[index]!r} holds {values[index]!r:.{_SHOWN}}; it must be 0 or 1")
        labels.append(tuple(name for name, is_set in zip(names, switched, strict=True) if is_set))
    return TableLabels(labels, f"{SEVERAL} (0 or 1 in {len(names)} columns)")


def switch(value: Any) -> bool | None:
    """Read 0 or 1 in any spelling; return None for anything else."""
    text = str(value).strip().lower()
    return True if text in _YES else False if text in _NO else None


def decimal_commas(labels: Sequence[Labels], where: Where) -> TableLabels | None:
    """Read numbers with decimal commas, such as 1,5, if all labels are numbers; return None if none has a comma.

    Raises:
        DataError: some numbers have a comma and others a point, or the commas may separate thousands.
    """
    texts = [label.strip() for label in labels if isinstance(label, str)]
    with_comma = [text for text in texts if re.fullmatch(r"[-+]?\d+,\d+", text)]
    if not with_comma or len(texts) < len(labels):
        return None
    others = [number for number, text in enumerate(texts) if not re.fullmatch(r"[-+]?\d+(,\d+)?", text)]
    if others:
        raise DataError(
            f"{where(others[0])} has label {texts[others[0]]!r}, but others have a decimal comma, such as "
            f"{with_comma[0]!r}; write all numbers in one way, with a point"
        )
    if all(re.fullmatch(r"[-+]?\d{1,3},\d{3}", text) for text in with_comma):
        raise DataError(
            f"{where(texts.index(with_comma[0]))} has label {with_comma[0]!r}: its comma may separate thousands or "
            "decimals; write the numbers without it, or with a point"
        )
    return TableLabels([text.replace(",", ".") for text in texts], "numbers with decimal commas")


def _text(value: Any, where: str, name: str) -> str:
    """Return a single label as a string."""
    if isinstance(value, dict):
        raise DataError(
            f"{where}: {name!r} holds {value!r:.{_SHOWN}}; a label must be one string or number, or a list of them"
        )
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise DataError(f"{where}: {name!r} holds bytes that are not UTF-8 text ({value!r:.40})") from None
    return "" if value is None else str(value).strip()


def _listed(values: Sequence[Any], where: Where, name: str, options: Mapping[str, str]) -> TableLabels:
    """Read labels that are lists."""
    rows: list[list[Any]] = []
    for number, value in enumerate(values):
        parts = list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
        if not all(isinstance(part, str | int | float) for part in parts):
            raise DataError(
                f"{where(number)}: {name!r} holds {value!r:.{_SHOWN}}; labels must be a list of strings or numbers"
            )
        rows.append(parts)
    return _lists(rows, where, name, options)


def _lists(
    rows: Sequence[Sequence[Any]], where: Where, name: str, options: Mapping[str, str], form: str = ""
) -> TableLabels:
    sizes = {len(parts) for parts in rows if parts}
    if len(sizes) == 1 and sizes != {1} and all(switch(part) is not None for parts in rows for part in parts):
        return _vectors(rows, where, name, options)
    labels: list[Labels] = []
    for number, parts in enumerate(rows):
        if any(isinstance(part, float) for part in parts):
            raise DataError(f"{where(number)}: {name!r} holds {list(parts)!r:.{_SHOWN}}; listed labels must be names")
        if any("," in str(part) for part in parts):
            raise DataError(
                f"{where(number)}: {name!r} holds {list(parts)!r:.{_SHOWN}}; a label in a list can't have a comma"
            )
        labels.append(tuple(str(part).strip() for part in parts))
    if labels and all(isinstance(label, tuple) and len(label) == 1 for label in labels):
        return TableLabels([label[0] if label else "" for label in labels])  # one label in each list
    return TableLabels(labels, f"{SEVERAL}{form}")


def _vectors(rows: Sequence[Sequence[Any]], where: Where, name: str, options: Mapping[str, str]) -> TableLabels:
    """Read lists of 0 and 1, whose elements the user must name."""
    size = max(map(len, rows))
    names = [part.strip() for part in options.get("names", "").split("+") if part.strip()]
    if not names:
        raise DataError(
            f"{where(0)}: {name!r} holds {list(rows[0])!r:.{_SHOWN}}: {size} values of 0 or 1 whose names the file "
            f"doesn't have; name them: --columns text=NAME,label={name},names={'+'.join('ABCDEFGH'[: min(size, 4)])}"
            f"{'+...' if size > 4 else ''}"
        )
    if len(names) != size:
        raise DataError(
            f"{where(0)}: {name!r} has {size} values in a row, but names={'+'.join(names)} gives {len(names)} names"
        )
    columns = hot_columns([parts or [0] * size for parts in rows], names, where)
    return TableLabels(columns.labels, f"{SEVERAL} (vectors of 0 and 1)")


def _listed_as_text(texts: Sequence[str], where: Where, name: str, options: Mapping[str, str]) -> TableLabels:
    """Read lists written as text, in the notation of JSON, Python or numpy."""
    rows = []
    for number, text in enumerate(texts):
        parts = _parts(text)
        if parts is None:
            raise DataError(
                f"{where(number)}: {name!r} holds {text!r:.{_SHOWN}}, a list written as text that can't be read; write "
                'it as JSON, such as ["a", "b"]'
            )
        rows.append(parts)
    return _lists(rows, where, name, options, " (lists written as text)")


def _parts(text: str) -> list[Any] | None:
    """Read a list written as text; return None if it isn't one."""
    if not text or text in _EMPTY:
        return []
    try:
        value = parse_json(text, "a cell", data=True)
    except DataError:
        pass
    else:
        flat = isinstance(value, list) and all(isinstance(part, str | int | float) for part in value)
        return value if flat else None
    if not (_LIST.fullmatch(text) or _ARRAY.fullmatch(text)):
        return None
    return [_unquoted(part) for part in re.findall(_PART, text.strip()[1:-1])]


def _unquoted(part: str) -> Any:
    try:
        return ast.literal_eval(part)
    except (ValueError, SyntaxError):
        return part  # a bare word, as in [billing, building]


def _split(texts: Sequence[str], sign: str) -> TableLabels:
    """Split labels at the separator that the user sets."""
    if not sign:
        return TableLabels(list(texts))
    labels: list[Labels] = [tuple(part.strip() for part in text.split(sign) if part.strip()) for text in texts]
    return TableLabels(labels, f"{SEVERAL} (separated by {sign!r})")


def _by_signs(texts: Sequence[str], where: Where, name: str) -> TableLabels:
    """Split labels at | or ; if the parts occur as labels themselves; otherwise each text is one label."""
    for word in ("bar", "semicolon"):
        sign = SEPARATORS[word]
        holding = [number for number, text in enumerate(texts) if sign in text]
        if not holding:
            continue
        whole = {text for text in texts if text}
        parts = Counter(part.strip() for text in whole for part in text.split(sign))
        shared = sum(count > 1 for part, count in parts.items() if part)
        if "" not in parts and len(parts) <= len(whole) and 2 * shared >= len(parts):
            return _split(texts, sign)
        if shared:
            raise DataError(
                f"{where(holding[0])}: {name!r} holds {texts[holding[0]]!r:.{_SHOWN}}: one label or several? Set "
                f"--columns text=NAME,label={name},separator={word} for several, separator=none for one"
            )
    return TableLabels(list(texts))
