"""Guess which columns of a table hold text, pair and label by what is in them, where their names don't say it.

Texts are long, read like language and rarely repeat; a label has few values and is never empty. Where two columns
answer equally well nothing is guessed, for a wrong guess trains a model on the wrong thing: the doubt is said instead.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

Row = tuple[int, list[str]]
"""Line and fields."""

_SAMPLE_ROWS = 2000
_SHOWN = 12  # columns that a doubt lists
_FEWEST_ROWS = 5  # with fewer, texts of single words look like classes
# A language's words are parted by spaces, or need none.
_PROSE = re.compile("\\S\\s+\\S|[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]{2}")
# Dates and times, such as 2009-04-06 22:19:45 and Mon Apr 06 22:19:45 PDT 2009, are nothing that anybody said.
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
class Guess:
    """What seems to be where."""

    mapping: dict[str, int]
    """Role (text, pair, label) to the number of its column."""
    text_doubt: str = ""
    """Why the text can't be told; empty when it can."""
    label_doubt: str = ""
    """Why the label can't be told; empty when it can, or when no column looks like one."""


def guess(rows: Sequence[Row], header: Sequence[str], *, lone: bool = True) -> Guess:
    """Look at the first rows.

    Args:
        rows: all of one length.
        header: names of the columns, for the words of a doubt.
        lone: whether the text is to be found as well; else it is in the first column.
    """
    sample = [fields for _, fields in rows[:_SAMPLE_ROWS]]
    places = range(len(header))
    if not sample or not header:
        return Guess({})
    lengths = [sum(len(fields[place]) for fields in sample) / len(sample) for place in places]
    values = [{fields[place] for fields in sample} for place in places]
    numbers = [place for place in places if all(_is_number(value) for value in values[place])]
    prose = [place for place in places if reads_like_language(sample, place)]
    words = [place for place in places if place not in numbers] or list(places)
    longest = max(prose or words, key=lambda place: lengths[place]) if lone else 0
    if lone and not prose and len(words) > 1:
        # Texts of single words hardly repeat, and classes do.
        single = [place for place in words if not _repeats(sample, place)]
        rivals = [place for place in single or words if lengths[place] > max(map(lengths.__getitem__, words)) / 2]
        if len(rivals) > 1 or not single or len(sample) < _FEWEST_ROWS:
            named = rivals if len(rivals) > 1 else words
            listed = ", ".join(header[place] for place in named[:_SHOWN]) + (", ..." if named[_SHOWN:] else "")
            return Guess({}, text_doubt=f"the columns {listed} may all hold the text")
        longest = rivals[0] if rivals else single[0]
    repeated = [
        place
        for place in places
        if place != longest
        and 2 <= len(values[place]) <= max(2, len(sample) // 4)
        and len(values[place]) < len(sample)
        and "" not in values[place]
    ]
    texts = [
        place
        for place in prose
        if place not in repeated and lengths[place] > lengths[longest] / 3 and len(values[place]) > len(sample) / 2
    ]
    if not lone:
        texts = [longest]
    if len(texts) > 2:
        listed = ", ".join(header[place] for place in texts[:_SHOWN]) + (", ..." if texts[_SHOWN:] else "")
        return Guess({}, text_doubt=f"the columns {listed} all read like texts")
    mapping = {"text": texts[0], "pair": texts[1]} if len(texts) == 2 else {"text": longest}
    labels = [place for place in repeated if place not in mapping.values()]
    likely = labels if len(labels) == 1 else [place for place in labels if _are_labels(values[place])]
    if len(likely) == 1:
        # In a short table a second label has too many values to be repeated much.
        others = [place for place in places if place not in (*labels, *mapping.values()) and _repeats(sample, place)]
        rivals = [place for place in others if "" not in values[place] and _are_labels(values[place])]
        if not rivals:
            return Guess({**mapping, "label": likely[0]})
        labels = sorted([*labels, *rivals])
    listed = ", ".join(
        f"{header[place]} ({len(values[place])} values such as {min(values[place])!r})" for place in labels
    )
    return Guess(mapping, label_doubt=f"several columns may hold the label: {listed}" if labels else "")


def _is_number(value: str) -> bool:
    return value.strip().replace(",", ".").lstrip("+-").replace(".", "", 1).isdecimal()


def _repeats(sample: Sequence[Sequence[str]], place: int) -> bool:
    """Tell whether few values fill a column, as of a class."""
    return 2 * len({fields[place] for fields in sample}) <= len(sample)


def reads_like_language(sample: Sequence[Sequence[str]], place: int) -> bool:
    """Tell whether half of a column's fields are of several words; addresses and hashes are of one, dates of none."""
    fields = [row[place] for row in sample]
    return 2 * sum(_PROSE.search(one) is not None and _STAMP.fullmatch(one) is None for one in fields) >= len(fields)


def _are_labels(values: set[str]) -> bool:
    """Tell whether values are 0, 1, 2, ... or words that are used for nothing else."""
    words = {value.strip().lower() for value in values}
    return words <= _LABEL_WORDS or words == {str(number) for number in range(len(words))}
