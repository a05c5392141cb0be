"""Guess from their values which columns of a table hold text, pair and label, if their names don't tell.

Texts are long, read like language and rarely repeat. A label has few values and is never empty. If two columns fit
equally well, report the ambiguity instead of guessing: a wrong guess trains a model on the wrong column.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

Row = tuple[int, list[str]]
"""Line number and fields."""

_SAMPLE_ROWS = 2000
_SHOWN = 12  # columns that a message lists
_FEWEST_ROWS = 5  # with fewer rows, texts of single words look like classes
# Words of a language are separated by spaces, or need no spaces.
_PROSE = re.compile("\\S\\s+\\S|[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]{2}")
# Dates and times, such as 2009-04-06 22:19:45 and Mon Apr 06 22:19:45 PDT 2009, are not language.
_STAMP = re.compile(
    r"(?=.*\d)(?:(?:mon|tue|wed|thu|fri|sat|sun)(?:[a-z]*day)?|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
    r"|[ap]m|utc|gmt|[ecmp][sd]t|(?<=\d)(?:st|nd|rd|th)|[tz]|[\d\s:./,+-])+",
    re.IGNORECASE,
)
_LABEL_WORDS = {
    *("yes", "no", "true", "false", "pos", "neg", "positive", "negative", "neutral", "spam", "ham"),
    *("entailment", "not_entailment", "contradiction", "acceptable", "unacceptable", "paraphrase", "duplicate"),
}


@dataclass(frozen=True)
class GuessedColumns:
    """The roles that columns seem to have."""

    mapping: dict[str, int]
    """Role (text, pair, label) to the index of its column."""
    text_doubt: str = ""
    """Why the text column is ambiguous; empty if it isn't."""
    label_doubt: str = ""
    """Why the label column is ambiguous; empty if it isn't, or if no column looks like a label."""


def guess(rows: Sequence[Row], header: Sequence[str], *, lone: bool = True) -> GuessedColumns:
    """Guess the roles of columns from the first rows.

    Args:
        rows: rows of equal length.
        header: names of the columns, for messages.
        lone: whether to find the text as well; otherwise it is in the first column.
    """
    sample = [fields for _, fields in rows[:_SAMPLE_ROWS]]
    columns = range(len(header))
    if not sample or not header:
        return GuessedColumns({})
    lengths = [sum(len(fields[column]) for fields in sample) / len(sample) for column in columns]
    values = [{fields[column] for fields in sample} for column in columns]
    numbers = [column for column in columns if all(_is_number(value) for value in values[column])]
    prose = [column for column in columns if reads_like_language(sample, column)]
    words = [column for column in columns if column not in numbers] or list(columns)
    longest = max(prose or words, key=lambda column: lengths[column]) if lone else 0
    if lone and not prose and len(words) > 1:
        # Texts of single words rarely repeat; classes do.
        single = [column for column in words if not _repeats(sample, column)]
        rivals = [column for column in single or words if lengths[column] > max(map(lengths.__getitem__, words)) / 2]
        if len(rivals) > 1 or not single or len(sample) < _FEWEST_ROWS:
            named = rivals if len(rivals) > 1 else words
            listed = ", ".join(header[column] for column in named[:_SHOWN]) + (", ..." if named[_SHOWN:] else "")
            return GuessedColumns({}, text_doubt=f"the columns {listed} may all hold the text")
        longest = rivals[0] if rivals else single[0]
    repeated = [
        column
        for column in columns
        if column != longest
        and 2 <= len(values[column]) <= max(2, len(sample) // 4)
        and len(values[column]) < len(sample)
        and "" not in values[column]
    ]
    texts = [
        column
        for column in prose
        if column not in repeated and lengths[column] > lengths[longest] / 3 and len(values[column]) > len(sample) / 2
    ]
    if not lone:
        texts = [longest]
    if len(texts) > 2:
        listed = ", ".join(header[column] for column in texts[:_SHOWN]) + (", ..." if texts[_SHOWN:] else "")
        return GuessedColumns({}, text_doubt=f"the columns {listed} all read like texts")
    mapping = {"text": texts[0], "pair": texts[1]} if len(texts) == 2 else {"text": longest}
    labels = [column for column in repeated if column not in mapping.values()]
    likely = labels if len(labels) == 1 else [column for column in labels if _are_labels(values[column])]
    if len(likely) == 1:
        # In a short table, a second label has too many values to pass the test above.
        others = [
            column for column in columns if column not in (*labels, *mapping.values()) and _repeats(sample, column)
        ]
        rivals = [column for column in others if "" not in values[column] and _are_labels(values[column])]
        if not rivals:
            return GuessedColumns({**mapping, "label": likely[0]})
        labels = sorted([*labels, *rivals])
    listed = ", ".join(
        f"{header[column]} ({len(values[column])} values such as {min(values[column])!r})" for column in labels
    )
    return GuessedColumns(mapping, label_doubt=f"several columns may hold the label: {listed}" if labels else "")


def _is_number(value: str) -> bool:
    return value.strip().replace(",", ".").lstrip("+-").replace(".", "", 1).isdecimal()


def _repeats(sample: Sequence[Sequence[str]], column: int) -> bool:
    """Check whether a column has few different values, like a class."""
    return 2 * len({fields[column] for fields in sample}) <= len(sample)


def reads_like_language(sample: Sequence[Sequence[str]], column: int) -> bool:
    """Check whether at least half of a column's fields have several words; URLs, hashes and dates don't count."""
    fields = [row[column] for row in sample]
    return 2 * sum(_PROSE.search(one) is not None and _STAMP.fullmatch(one) is None for one in fields) >= len(fields)


def _are_labels(values: set[str]) -> bool:
    """Check whether values are 0, 1, 2, ... or typical words for labels."""
    words = {value.strip().lower() for value in values}
    return words <= _LABEL_WORDS or words == {str(number) for number in range(len(words))}
