"""Multiple choice: tables with a text, two choices or more, and which of them is right.

Names of columns are found as SWAG, RACE, COPA, ARC and their like have them. A question about a text, or the beginning
of a sentence that each choice completes, becomes the `lead` of its item. Labels are numbers from 0, letters, or the
text of the right choice; what can be read in two ways stops the reading.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.data.hub import is_dataset, open_dataset
from bertie.data.items import Choice, Table
from bertie.errors import DataError, SettingsError
from bertie.files.compression import format_suffix
from bertie.files.rows import SUFFIXES, open_rows
from bertie.registry import did_you_mean

# What a part of an item is called in files, the likeliest name first; compared in lower case.
_NAMES = {
    "text": ("context", "text", "article", "passage", "document", "premise", "sent1", "ctx", "goal", "sentence"),
    "question": ("question", "questions", "query"),
    "lead": ("sent2", "lead"),
    "choices": ("choices", "options", "endings", "candidates", "choice"),
    "label": ("label", "answer", "answerkey", "answers", "gold", "correct", "target"),
}
# Choices in columns of their own: ending0, choice_1, OptionA, or a bare letter.
_OWN_COLUMN = re.compile(r"(ending|choice|option|answer|solution|sol|alternative|)[ _-]?(\d+|[a-z])")
_MISSING = (None, "", "-1", -1)  # -1 is what data sets put where a label is kept secret


def read_choices(
    path: str | Path, *, columns: Mapping[str, str] | None = None, labelled: bool = False
) -> Table[Choice]:
    """Read items with choices into memory.

    Args:
        path: .jsonl, .parquet, .csv or .tsv, also compressed; or a data set (`data/hub.py`).
        columns: part (text, question, lead, choices, label) to column name; choices may be several columns, as in
            choices=a+b+c. Found by their names when None.
        labelled: whether every item needs a label.

    Raises:
        SettingsError: no such file, another kind of file, or a column it doesn't have.
        DataError: an empty file, an item of fewer than two choices, or a label that is none of them.
    """
    file = Path(path)
    if not is_dataset(file) and format_suffix(file) not in SUFFIXES:
        raise SettingsError(f"{file}: items with choices are read from {', '.join(SUFFIXES)}")
    items: list[Choice] = []
    with open_dataset(file) if is_dataset(file) else open_rows(file) as table:
        places = _chosen(file, table.columns, columns) if columns else _found(file, table.columns)
        if labelled and "label" not in places:
            raise DataError(
                f"{file}: no column holds labels ({', '.join(table.columns)}); say which by --columns label=NAME,..."
            )
        wanted = list(dict.fromkeys(name for names in places.values() for name in names))
        for line, values in table.rows(wanted):
            row, where = dict(zip(wanted, values, strict=True)), f"{file}:{line}"
            parts = {part: [row[name] for name in names] for part, names in places.items()}
            items += [_item(one, where, line, labelled=labelled) for one in _questions(parts, where)]
    if not items:
        raise DataError(f"{file} holds no rows")
    mapping = {part: "+".join(names) for part, names in places.items()}
    said = ", ".join(f"{part} from column {name!r}" for part, name in mapping.items())
    numbers = sorted({len(item.choices) for item in items})
    span = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    progress.note(f"{file}: {len(items):,} items of {span} choices, {said}")
    return Table(file, items, mapping)


def _chosen(file: Path, header: Sequence[str], columns: Mapping[str, str]) -> dict[str, list[str]]:
    """Look up the columns that the user named."""
    places = {}
    for part, names in columns.items():
        if part not in _NAMES:
            known = ", ".join(_NAMES)
            raise SettingsError(f"--columns {part}={names}: a part is one of {known}; {did_you_mean(part, _NAMES)}")
        places[part] = [names] if names in header else names.split("+")
        for name in places[part]:
            if name not in header:
                raise SettingsError(
                    f"{file} has no column {name!r}; it has {', '.join(header)}; {did_you_mean(name, header)}"
                )
        if len(places[part]) > 1 and part != "choices":
            raise SettingsError(f"--columns {part}={names}: only choices may stand in several columns")
    if "choices" not in places or not {"text", "question"} & set(places):
        raise SettingsError("--columns must say where text and choices are: text=NAME,choices=NAME+NAME")
    return places


def _found(file: Path, header: Sequence[str]) -> dict[str, list[str]]:
    """Find the parts by the names of the columns."""
    names = {name.lower(): name for name in reversed(header)}
    places = {
        part: [names[next(name for name in known if name in names)]]
        for part, known in _NAMES.items()
        if any(name in names for name in known)
    }
    if "choices" not in places and (own := _own_columns(header)):
        places["choices"] = own
    if header and ("choices" not in places or not {"text", "question"} & set(places)):
        lacking = "the choices" if "choices" not in places else "the text"
        raise DataError(
            f"{file}: can't tell which column holds {lacking} ({', '.join(header)}); say --columns "
            "text=NAME,choices=NAME+NAME"
        )
    return places


def _own_columns(header: Sequence[str]) -> list[str]:
    """Find choices that have a column each, in the order of their numbers or letters."""
    groups: dict[str, dict[int, str]] = {}
    for name in header:
        match = _OWN_COLUMN.fullmatch(name.lower())
        if match and (match[1] or match[2].isalpha()):
            groups.setdefault(match[1], {})[int(match[2]) if match[2].isdecimal() else ord(match[2])] = name
    best = max(groups.values(), key=len, default={})
    return [best[number] for number in sorted(best)] if len(best) > 1 else []


def _questions(parts: dict[str, list[Any]], where: str) -> Iterator[dict[str, list[Any]]]:
    """Part a row that holds lists of questions, options and answers, as RACE has them."""
    asked = parts.get("question", [None])[0]
    if not isinstance(asked, list):
        yield parts
        return
    several = {part: parts[part][0] for part in ("question", "choices", "label") if part in parts}
    if not all(isinstance(values, list) and len(values) == len(asked) for values in several.values()):
        raise DataError(f"{where}: {len(asked)} questions need as many lists of choices, and as many labels")
    for number in range(len(asked)):
        yield {**parts, **{part: [values[number]] for part, values in several.items()}}


def _item(parts: dict[str, list[Any]], where: str, line: int, *, labelled: bool) -> Choice:
    texts = {part: _text(parts[part][0], part, where) for part in ("text", "question", "lead") if part in parts}
    text, lead = texts.get("text", ""), " ".join(texts[part] for part in ("question", "lead") if texts.get(part))
    if not text:
        text, lead = lead, ""
    choices, names = _choices(parts["choices"], where)
    label = parts["label"][0] if "label" in parts else None
    label = None if label in _MISSING or label != label else label  # nan, where a parquet has no number
    if label is None and labelled:
        raise DataError(f"{where}: no label; complete or remove the row")
    number = None if label is None else str(_number(label, choices, names, where))
    return Choice(text, tuple(choices), number, line, lead)


def _text(value: Any, part: str, where: str) -> str:
    if isinstance(value, list | dict):
        raise DataError(f"{where}: the {part} is {value!r:.60}; it must be one string")
    return "" if value is None else str(value)


def _choices(values: list[Any], where: str) -> tuple[list[str], list[str]]:
    """Return the choices, and what the file itself calls them, if it does."""
    names: list[str] = []
    whole = values[0] if len(values) == 1 else values
    if isinstance(whole, str):
        try:
            whole = json.loads(whole)
        except ValueError:
            raise DataError(
                f"{where}: the choices are {whole!r:.60}; they need a column each, or a JSON list of strings"
            ) from None
    if isinstance(whole, dict) and isinstance(whole.get("text"), list):
        names, whole = [str(name) for name in whole.get("label") or ()], whole["text"]
    if not isinstance(whole, list) or not all(isinstance(one, str | int | float | None) for one in whole):
        raise DataError(f"{where}: the choices are {whole!r:.60}; they must be a list of strings")
    texts = ["" if one is None else str(one) for one in whole]
    while len(values) > 1 and texts and not texts[-1].strip():
        texts.pop()  # a table has as many columns as its longest row has choices
    if len(texts) < 2:
        raise DataError(f"{where}: {len(texts)} choices; an item needs two or more")
    for number, text in enumerate(texts):
        if not text.strip():
            raise DataError(f"{where}: choice {number} is empty; complete or remove the row")
    return texts, names


def _number(label: Any, choices: Sequence[str], names: Sequence[str], where: str) -> int:
    """Read a label as a number from 0, a letter, or a text."""
    said = str(int(label)) if isinstance(label, float) and label.is_integer() else str(label).strip()
    if names:
        readings = {number for number, name in enumerate(names) if name == said}
    else:
        texts = choices if isinstance(label, str) else ()  # the number 2 is no text, "2" may be one
        readings = {number for number, choice in enumerate(texts) if choice.strip() == said}
        if said.isdecimal():
            readings.add(int(said))
        elif len(said) == 1 and said.isascii() and said.isalpha():
            readings.add(ord(said.upper()) - ord("A"))
    readings = {number for number in readings if number < len(choices)}
    if not readings:
        raise DataError(
            f"{where}: label {said!r} is none of the {len(choices)} choices; give its number from 0, its letter, or "
            "its text"
        )
    if len(readings) > 1:
        found = " or ".join(f"{number} ({choices[number]!r})" for number in sorted(readings))
        raise DataError(
            f"{where}: label {said!r} may mean choice {found}; give a letter, or in JSON a number without quotes"
        )
    return readings.pop()
