"""Decide whether the first line of a table names its columns, in any language.

For each column, compare how likely its first cell is as a name and as one more of the cells below. The product of these
odds decides. If neither reading is much more likely, the answer is None, and the caller asks the user.
"""

import re
from collections import Counter
from collections.abc import Sequence

# Column names that are usual in data sets, in lower case and without a trailing number.
_NAMES = frozenset(
    """
    id idx guid uid uuid index row_id text texts sentence content review body comment document article passage paragraph
    tweet message utterance question query title premise hypothesis anchor source target summary
    headline dialogue input output answer answers answer_start context label labels class category gold_label quality
    sentiment is_duplicate tag tags score similarity similarity_score rating stars polarity emotion intent topic words
    tokens word token lemma ner ner_tags pos_tags entities spans choices options is_impossible pair text_a
    text_b #1_string #2_string sentence_#
    """.split()  # noqa: SIM905
)
# How often a column name has this form.
_FORM_OF_NAMES = {
    "empty": 0.02,
    "number": 0.003,
    "code": 0.06,
    "long": 0.00002,
    "sentence": 0.0005,
    "phrase": 0.005,
    "few words": 0.08,
    "lower": 0.45,
    "joined": 0.15,
    "capital": 0.2,
    "upper": 0.05,
    "word": 0.45,
}
# Pseudo-counts of a form, added to the counts of a column (0.5 for other forms); lower for forms that are rare in texts
# and classes.
_PSEUDO_COUNTS = {"joined": 0.1, "capital": 0.25, "upper": 0.25}
_NAME_BONUS = 30.0
_CAP = 200.0
_FLOOR = 1e-5
_SURE = 30.0
_SURE_OF_FEW = 100.0
_FEW_ROWS = 5
_UNSURE = 0.1
_SAMPLE = 2000
_LONG_WORDS = 8
_FEW_WORDS = 3
_LONGEST_NUMBER = 40  # characters

_LONGEST = 200  # characters of a cell to match: the time of some patterns grows with the square of the length
_NUMBER = re.compile(r"[-+]?[\d.,\s]*\d[\d.,]*\s?%?([eE][-+]?\d+)?")
_CODE = re.compile(r"\w+://\S*|\S*\d\S*")
# Scripts without spaces between words; three characters count as one word.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_SENTENCE_END = re.compile("[.!?…。！？।؟。]['\"”’」』)]*$")
_JOINED = re.compile(r"[^\W\d_]+([_.-][^\W_]+)+|[a-z]+([A-Z][a-z]+)+")


def has_header(first: Sequence[str], rows: Sequence[Sequence[str]], *, prior: float) -> bool | None:
    """Return whether the first line names the columns.

    Args:
        first: the cells of the first line.
        rows: the lines below it, each with the same number of cells.
        prior: the number of similar tables with a header for each one without.

    Returns:
        True for a header, False for a data row, None if it may be either.
    """
    cells = [cell.strip() for cell in first]
    others = [row for row in rows[:_SAMPLE] if [cell.strip() for cell in row] != cells]
    # Without an anchor column, "positive" and "negative" may be labels in a data row.
    triples = any(cell.lower() in ("anchor", "query", "question") for cell in cells)
    named = [
        index
        for index, cell in enumerate(cells)
        if is_known_name(cell) or (triples and cell.lower().rstrip("_0123456789") in ("positive", "negative"))
    ]
    if named and len(named) == sum(map(bool, cells)):
        values = [{row[index].strip() for row in others} for index in named]
        if not any(cells[index] in known for index, known in zip(named, values, strict=True)):
            return True
    odds = prior
    if cells == [str(number) for number in range(len(cells))] and len(cells) > 1:
        columns = list(zip(*others, strict=True)) or [()] * len(cells)
        texts = sum(2 * sum(_form(cell) == "number" for cell in column) < len(column) for column in columns)
        return True if texts else None
    odds *= _NAME_BONUS if _are_counted(cells) else 1.0
    for index, cell in enumerate(cells):
        odds *= min(_CAP, max(_FLOOR, _ratio(cell, [row[index].strip() for row in others])))
    sure = _SURE if len(others) >= _FEW_ROWS else _SURE_OF_FEW
    return True if odds >= sure else False if odds <= _UNSURE else None


def _are_counted(cells: Sequence[str]) -> bool:
    """Return whether the cells are one word with consecutive numbers, such as v1, v2 or column_0, column_1."""
    parts = [re.fullmatch(r"(\D*[^\W\d]\D*)(\d+)", cell) for cell in cells if cell and len(cell) <= _LONGEST]
    stems = {part[1] for part in parts if part}
    numbers = [int(part[2]) for part in parts if part]
    return (
        len(parts) > 1 and all(parts) and len(stems) == 1 and numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    )


def is_known_name(cell: str) -> bool:
    """Return whether a word is a usual column name in data sets, such as "Gold Label" or "text2"."""
    name = "_".join(cell.strip().lower().split())
    return name in _NAMES or name.rstrip("0123456789").rstrip("_") in _NAMES


def _ratio(cell: str, below: Sequence[str]) -> float:
    """Return the odds that a cell is the name of a column rather than one more of its values."""
    size = len(below)
    if not cell and 2 * sum(not value for value in below) >= size:
        return 1.0  # spreadsheets often end in empty columns
    counts = Counter(below)
    form, forms = _form(cell), Counter(map(_form, below))
    by_form = _FORM_OF_NAMES[form] * (size + 3.0) / (forms[form] + _PSEUDO_COUNTS.get(form, 0.5))
    known = is_known_name(cell)
    if counts[cell]:  # a column's name is very rarely one of its values
        return by_form * (0.05 if known else 0.0003) * (size + 1.0) / counts[cell]
    by_value = 1.0
    if 2 * len(counts) <= size or (size > 2 and len(counts) < size):
        once = sum(count == 1 for count in counts.values())
        by_value = (size + 1.0) / (once + 1.0)
    # A new form and a new value are often the same evidence, so they do not multiply.
    both = max(by_form, by_value) if min(by_form, by_value) > 1.0 else by_form * by_value
    return both * (_NAME_BONUS if known else 1.0)


def _form(cell: str) -> str:
    """Return the form of a cell, a key of `_FORM_OF_NAMES`."""
    cell = cell[:_LONGEST]
    text = cell.strip()
    if not text:
        return "empty"
    if len(text) < _LONGEST_NUMBER and _NUMBER.fullmatch(text):
        return "number"
    words = text.split()
    count = len(words) + len(_UNSPACED.findall(text)) / 3.0
    if len(words) == 1 and count < _FEW_WORDS and not _UNSPACED.search(text) and _CODE.fullmatch(text):
        return "code"
    if count > 2 * _LONG_WORDS:
        return "long"
    if count > _LONG_WORDS or (count >= 2.0 and _SENTENCE_END.search(text)):
        return "sentence"
    if count > _FEW_WORDS + 0.5:
        return "phrase"
    if len(words) > 1 or count >= 3.0:
        return "few words"
    if _JOINED.fullmatch(text):
        return "joined"
    if text.islower():
        return "lower"
    if text.isupper():
        return "upper"
    return "capital" if text[:1].isupper() else "word"
