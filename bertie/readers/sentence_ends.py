"""Find where sentences end in a table with one word a row: one column numbers or names the sentence of each word.

The number may be in every row or, as in spreadsheets, only in the first row of a sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from bertie.errors import DataError
from bertie.readers.word_columns import DOCUMENT_NAMES, SENTENCE_NAMES, Row

_NUMBERED = re.compile(r"\D*?(\d+)(?:\.0)?")  # 7, "Sentence: 7", 7.0
_MIN_SENTENCES = 3  # fewest sentences of a column of numbers that is recognised without a name

_MOST_DIGITS = 10  # of a sentence number


def end_column(sentences: Sequence[Sequence[Row]], names: Sequence[str]) -> int:
    """Find the column that gives each word's sentence, by its name or its values, and return its index, or -1."""
    lower = [name.strip().lower() for name in names]
    if named := [lower.index(name) for name in SENTENCE_NAMES if name in lower]:
        return named[0]
    if len(sentences) > 1:  # blank lines separate them already
        return -1
    candidates = [
        index for index in range(len(names)) if _counts_sentences([fields[index] for _, fields in sentences[0]])
    ]
    return candidates[0] if len(candidates) == 1 else -1


def _counts_sentences(values: Sequence[str]) -> bool:
    """Check that values are numbers that rise by one every few words, in every row or in first rows only."""
    filled = [value for value in values if value.strip()]
    matches = [_NUMBERED.fullmatch(value.strip()) for value in filled]
    numbers = [int(match[1]) for match in matches if match and len(match[1]) < _MOST_DIGITS]
    if len(numbers) != len(values) and (len(numbers) != len(filled) or not values[0].strip()):
        return False
    steps = {after - before for before, after in pairwise(numbers)}
    num_sentences = len(set(numbers))
    return steps <= {0, 1} and num_sentences >= _MIN_SENTENCES and num_sentences < len(values) and numbers[0] in (0, 1)


def break_at(file: Path, sentences: Sequence[Sequence[Row]], column: int, names: Sequence[str]) -> list[list[Row]]:
    """Cut rows into sentences where the value of a column changes.

    Raises:
        DataError: a sentence continues after another one.
    """
    documents = [number for number, name in enumerate(names) if name.strip().lower() in DOCUMENT_NAMES]
    cut: list[list[Row]] = []
    seen: dict[tuple[str, ...], int] = {}
    before: tuple[str, ...] | None = None
    for line, fields, key in _keys(sentences, [*documents, column]):
        if key != before:
            if key in seen and not _starts_over(key, before, seen):
                raise DataError(
                    f"{file}:{line}: sentence {fields[column]!r} continues here after another one (it began in line "
                    f"{seen[key]}); sort the rows by sentence, or put blank lines between sentences"
                )
            seen[key] = line
            cut.append([])
        cut[-1].append((line, fields))
        before = key
    return cut


def _keys(
    sentences: Sequence[Sequence[Row]], columns: Sequence[int]
) -> Iterator[tuple[int, list[str], tuple[str, ...]]]:
    """Yield each row with the key of its sentence; an empty field repeats the value of the row above."""
    last = ["" for _ in columns]
    for rows in sentences:
        for line, fields in rows:
            last = [fields[column].strip() or old for column, old in zip(columns, last, strict=True)]
            yield line, fields, tuple(last)


def _starts_over(key: tuple[str, ...], before: tuple[str, ...] | None, seen: dict[tuple[str, ...], int]) -> bool:
    """Check whether the numbering restarts at its first number or rises by one, as in a further document."""
    first = next(iter(seen))
    numbers = [_NUMBERED.fullmatch(one[-1]) for one in (key, before or key, first)]
    if not all(numbers):
        return False
    now, last, start = (int(match[1]) for match in numbers if match)
    return now in (start, last + 1)
