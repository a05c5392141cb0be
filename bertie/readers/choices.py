"""Read multiple choice: tables with a text, two or more choices, and the right choice.

Columns are recognised by the names that SWAG, RACE, COPA, ARC and similar data sets use. A question about a text, or
the beginning of a sentence that each choice completes, becomes the `lead` of its item. `choice_labels.py` decides for a
whole file how labels name a choice.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.files.compression import format_suffix
from bertie.items.choice import Choice
from bertie.readers.cells import is_listed, read_cell
from bertie.readers.choice_labels import BASE, Labelled, is_missing, resolve
from bertie.readers.hub import is_dataset, open_dataset
from bertie.readers.json_values import JSON, json_values, objects
from bertie.readers.reading import Reading, Table
from bertie.readers.roles import check_one_role, no_column
from bertie.registry import did_you_mean
from bertie.tables.delimited import OPTIONS
from bertie.tables.table import open_rows, suffixes
from bertie.untrusted import check_whole_characters

# Column names for each part of an item, the most likely first. Names are compared in lower case.
_NAMES = {
    "text": ("context", "text", "article", "passage", "document", "premise", "sent1", "ctx", "goal", "sentence"),
    "question": ("question", "questions", "query", "question_stem"),
    "lead": ("sent2", "lead"),
    "id": ("id", "idx", "guid", "uid", "uuid", "_id", "example_id", "sample_id", "item_id"),
    "choices": ("choices", "options", "endings", "candidates", "choice"),
    "label": (
        *("label", "answer", "answerkey", "answers", "gold", "correct", "target", "answer_key", "answer_idx"),
        *("correct_answer", "correct_option", "answer_index", "gold_label", "correct_choice"),
    ),
}
# Columns with one choice each: ending0, choice_1, OptionA, or a bare letter.
_CHOICE_COLUMN = re.compile(r"(ending|choice|option|answer|solution|sol|alternative|)[ _-]?(\d+|[a-z])")
_NAMED = ("label", "key", "id", "name")  # keys of the name of a choice that is an object
_ASK = "--columns choices=NAME+NAME,text="


@dataclass(frozen=True)
class _Draft:
    """An item with its original label."""

    text: str
    lead: str
    line: int
    row: Labelled
    id: str = ""


def read_choices(
    path: str | Path, *, columns: Mapping[str, str] | None = None, labelled: bool = False
) -> Table[Choice]:
    """Read items with choices into memory.

    Args:
        path: a table (`tables/`), also compressed; or a data set (`readers/hub.py`).
        columns: part (text, question, lead, choices, label) to column name; choices may be several columns, as in
            choices=a+b+c. None: recognise the columns by name. `numbered` says whether labels count from 0 or from 1.
        labelled: whether every item needs a label.

    Raises:
        SettingsError: the file doesn't exist or has another format, or a named column doesn't exist.
        DataError: the file is empty, an item has fewer than two choices, or a label fits none or several of them.
    """
    file, user_columns = Path(path), dict(columns or {})
    base = user_columns.pop(BASE, "")
    file_options = {name: user_columns.pop(name) for name in OPTIONS if name in user_columns}
    header, rows, form = _rows(file, {**user_columns, **file_options})
    part_columns = _named_columns(file, header, user_columns) if user_columns else _columns_by_name(file, header, rows)
    if labelled and header and "label" not in part_columns:
        raise DataError(f"{file}: no column holds labels ({', '.join(header)}); choose one: --columns label=NAME,...")
    drafts: list[_Draft] = []
    for line, row in rows:
        parts = {part: [row.get(name) for name in names] for part, names in part_columns.items()}
        drafts += [_draft(one, f"{file}:{line}", line) for one in _questions(parts, f"{file}:{line}")]
    if not drafts:
        raise DataError(f"{file} holds no rows")
    for draft in drafts:
        if labelled and is_missing(draft.row.label):
            raise DataError(f"{draft.row.where}: no label; complete or remove the row")
    from_zero = all(re.search(r"\d+$", name) for name in part_columns["choices"]) and part_columns["choices"][
        0
    ].endswith("0")
    numbers, way = _numbers(file, drafts, base, labelled=labelled, numbered_columns=from_zero)
    items = [
        Choice(
            draft.text,
            tuple(draft.row.choices),
            None if number is None else str(number),
            draft.line,
            draft.lead,
            draft.id,
        )
        for draft, number in zip(drafts, numbers, strict=True)
    ]
    mapping = {part: "+".join(names) for part, names in part_columns.items()}
    details = [f"{part} from column {name!r}" for part, name in mapping.items()] + ([way] if way else [])
    sizes = sorted({len(item.choices) for item in items})
    span = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    progress.note(f"{file}: {len(items):,} items of {span} choices, {', '.join(details)}")
    numbered = base or ("1" if way.endswith("from 1") else "0" if way.endswith("from 0") else "")
    options = {**file_options, **({BASE: numbered} if numbered else {})}
    reading = Reading(str(file), form=form, columns=mapping, labels=way, rows=len(items), options=options)
    return Table(file, items, mapping, reading)


def _numbers(
    file: Path, drafts: Sequence[_Draft], base: str, *, labelled: bool, numbered_columns: bool
) -> tuple[list[int | None], str]:
    """Resolve the labels; if none is needed, leave out ambiguous ones with a warning."""
    rows = [draft.row for draft in drafts]
    try:
        return resolve(file, rows, base, numbered_columns=numbered_columns)
    except DataError as error:
        if labelled:
            raise
        progress.warn(f"{error}; no labels are read")
        return [None] * len(drafts), ""


def _rows(file: Path, options: Mapping[str, str]) -> tuple[list[str], list[tuple[int, dict[str, Any]]], str]:
    """Read all rows: return the names of the columns, (line, values) of each row, and the format of the file.

    Raises:
        SettingsError: the file has another format.
        DataError: the JSON is not a table.
    """
    suffix = format_suffix(file)
    if suffix in JSON:
        rows = list(objects(file, json_values(file)))
        for line, row in rows:
            check_whole_characters(row, f"{file}:{line}")
        unfolded = [(line, _unfolded(row)) for line, row in rows]
        return list(dict.fromkeys(name for _, row in unfolded for name in row)), unfolded, suffix[1:]
    if not is_dataset(file) and suffix not in suffixes():
        raise SettingsError(f"{file}: items with choices are read from .json, {', '.join(suffixes())}")
    with open_dataset(file) if is_dataset(file) else open_rows(file, columns=options, ask=_ASK) as table:
        names = list(table.columns)
        read = [(line, dict(zip(names, values, strict=True))) for line, values in table.rows(names)]
    return names, read, "dataset" if is_dataset(file) else suffix[1:]


def _unfolded(row: dict[str, Any]) -> dict[str, Any]:
    """Move the choices out of the question, where the original files of ARC and CommonsenseQA have them."""
    question = row.get("question")
    if not isinstance(question, dict) or "stem" not in question or "choices" not in question:
        return row
    return {**row, "question": question["stem"], "choices": question["choices"]}


def _named_columns(file: Path, header: Sequence[str], columns: Mapping[str, str]) -> dict[str, list[str]]:
    """Look up the columns that the user named."""
    chosen = {}
    check_one_role(columns)
    for part, names in columns.items():
        if part not in _NAMES:
            known = ", ".join(_NAMES)
            raise SettingsError(f"--columns {part}={names}: a part is one of {known}; {did_you_mean(part, _NAMES)}")
        chosen[part] = [names] if names in header else names.split("+")
        for name in chosen[part]:
            if name not in header:
                raise no_column(file, name, header)
        if len(chosen[part]) > 1 and part != "choices":
            raise SettingsError(f"--columns {part}={names}: only choices may have several columns")
    if "choices" not in chosen or not {"text", "question"} & set(chosen):
        raise SettingsError("--columns must name text and choices: text=NAME,choices=NAME+NAME")
    return chosen


def _columns_by_name(
    file: Path, header: Sequence[str], rows: Sequence[tuple[int, Mapping[str, Any]]]
) -> dict[str, list[str]]:
    """Find the columns of the parts by name."""
    names = {name.lower(): name for name in reversed(header)}
    chosen = {
        part: [names[next(name for name in known if name in names)]]
        for part, known in _NAMES.items()
        if any(name in names for name in known)
    }
    if "choices" not in chosen and (separate := _choice_columns(header)):
        chosen["choices"] = separate
    if "choices" not in chosen and {"label", "answers"} <= set(names) and rows:  # ReClor's answers are the choices
        first = rows[0][1][names["answers"]]
        if isinstance(first, list) or (isinstance(first, str) and is_listed(first)):
            chosen["choices"] = [names["answers"]]
    if (header or rows) and ("choices" not in chosen or not {"text", "question"} & set(chosen)):
        missing = "the choices" if "choices" not in chosen else "the text"
        raise DataError(
            f"{file}: can't tell which column holds {missing} ({', '.join(header)}); set --columns "
            "text=NAME,choices=NAME+NAME"
        )
    return chosen


def _choice_columns(header: Sequence[str]) -> list[str]:
    """Find columns with one choice each, in the order of their numbers or letters."""
    groups: dict[str, dict[int, str]] = {}
    for name in header:
        match = _CHOICE_COLUMN.fullmatch(name.lower())
        if match and (match[1] or match[2].isalpha()):
            groups.setdefault(match[1], {})[int(match[2]) if match[2].isdecimal() else ord(match[2])] = name
    best = max(groups.values(), key=len, default={})
    return [best[number] for number in sorted(best)] if len(best) > 1 else []


def _questions(parts: dict[str, list[Any]], where: str) -> Iterator[dict[str, list[Any]]]:
    """Split a row with lists of questions, options and answers, as in RACE, into one row for each question."""
    questions = parts.get("question", [None])[0]
    if not isinstance(questions, list):
        yield parts
        return
    several = {part: parts[part][0] for part in ("question", "choices", "label") if part in parts}
    if not all(isinstance(values, list) and len(values) == len(questions) for values in several.values()):
        raise DataError(f"{where}: {len(questions)} questions need as many lists of choices, and as many labels")
    for number in range(len(questions)):
        yield {**parts, **{part: [values[number]] for part, values in several.items()}}


def _draft(parts: dict[str, list[Any]], where: str, line: int) -> _Draft:
    texts = {part: _text(parts[part][0], part, where) for part in ("text", "question", "lead") if part in parts}
    text, lead = texts.get("text", ""), " ".join(texts[part] for part in ("question", "lead") if texts.get(part))
    if not text:
        text, lead = lead, ""
    choices, names = _choices(parts["choices"], where)
    label = parts["label"][0] if "label" in parts else None
    item_id = "" if (value := parts.get("id", [None])[0]) is None else str(value)
    return _Draft(text, lead, line, Labelled(choices, names, label, where), item_id)


def _text(value: Any, part: str, where: str) -> str:
    if isinstance(value, list | dict):
        raise DataError(f"{where}: the {part} is {value!r:.60}; it must be one string")
    return "" if value is None else str(value)


def _choices(values: list[Any], where: str) -> tuple[list[str], list[str]]:
    """Return the choices and their names in the file, if it has any."""
    names: list[str] = []
    whole = values[0] if len(values) == 1 else values
    if isinstance(whole, str):
        try:
            whole = read_cell(whole)
        except ValueError as error:
            reason = f" ({error})" if is_listed(whole) else ""
            raise DataError(
                f"{where}: the choices are {whole!r:.60}; they need a column each, or a JSON list of strings{reason}"
            ) from None
    if isinstance(whole, dict) and isinstance(whole.get("text"), list):
        names, whole = [str(name) for name in whole.get("label") or ()], whole["text"]
    elif isinstance(whole, dict) and len(whole) > 1 and all(isinstance(text, str) for text in whole.values()):
        names, whole = [str(name) for name in whole], list(whole.values())  # {"A": "...", "B": "..."}
    elif isinstance(whole, list) and whole and all(isinstance(one, dict) and "text" in one for one in whole):
        key = next((key for key in _NAMED if all(key in one for one in whole)), "")
        names, whole = [str(one[key]) for one in whole] if key else [], [one["text"] for one in whole]
    if names and len(set(names)) < len(whole):
        raise DataError(f"{where}: {len(whole)} choices with the names {', '.join(names)}; give each a different name")
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
