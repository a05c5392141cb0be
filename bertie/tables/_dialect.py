"""Detect the delimiter of a text table, and whether its fields are in quotes.

The suffix suggests a delimiter (comma for .csv, tab for .tsv), but the lines decide. If two readings fit equally well,
the error asks the user to choose.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bertie.errors import DataError
from bertie.files.text import shorten
from bertie.tables._header import has_header

Record = tuple[int, list[str]]
"""The number of the line where a record begins, and its fields."""

MARKS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
PRIOR = {",": 4.0, "\t": 1.5, ";": 4.0, "|": 4.0}
"""Prior odds of a header, by delimiter: the number of tables with a header for each table without one."""
_FIT = 0.9
_SEP_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_FEWEST = 3  # rows needed to distinguish a delimiter from punctuation in texts


@dataclass(frozen=True)
class Dialect:
    """How the lines of a table become fields."""

    delimiter: str
    quoted: bool
    """Whether fields may be enclosed in quotes; quotes inside are then doubled."""
    skipped: int = 0
    """Lines before the table, such as Excel's `sep=;`."""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Trial:
    """The sample, read with one delimiter, with or without quotes."""

    delimiter: str
    quoted: bool
    records: list[Record] = field(default_factory=list)
    error: str = ""

    @cached_property
    def width(self) -> int:
        """The most frequent number of fields."""
        counts = Counter(len(fields) for _, fields in self.records)
        return counts.most_common(1)[0][0] if counts else 0

    @cached_property
    def fits(self) -> bool:
        """Whether all records have the same number of fields, and more than one."""
        return not self.error and self.width > 1 and all(len(fields) == self.width for _, fields in self.records)

    @cached_property
    def nearly_fits(self) -> bool:
        """Whether the first record and nearly all others have the same number of fields, and more than one."""
        if self.error or self.width < 2 or len(self.records[0][1]) != self.width:
            return False
        return sum(len(fields) == self.width for _, fields in self.records) >= _FIT * len(self.records)


def sniff(
    lines: Sequence[str],
    path: object,
    usual: str,
    *,
    whole: bool,
    delimiter: str = "",
    quotes: bool | None = None,
    likely: str = "",
) -> Dialect:
    """Detect the dialect of a table from its first lines.

    Args:
        lines: the first lines, with their line ends.
        path: for messages.
        usual: the delimiter that the file's suffix suggests.
        whole: whether these are all lines of the file.
        delimiter: the user's setting; detected if empty.
        quotes: the user's setting: whether fields are in quotes; detected if None.
        likely: the delimiter of a similar file; decides if two fit.

    Raises:
        DataError: two readings fit equally well, or the quotes can't be read.
    """
    skipped = 0
    if lines and (sep_line := _SEP_LINE.fullmatch(lines[0].rstrip("\n"))):
        skipped, delimiter = 1, delimiter or sep_line[1]
    lines = lines[skipped:]
    if not delimiter:
        delimiter = _delimiter(lines, path, usual, likely, whole=whole)
    quoted, remarks = _quoted(lines, path, delimiter, whole=whole) if quotes is None else (quotes, ())
    return Dialect(delimiter, quoted, skipped, remarks)


def _delimiter(lines: Sequence[str], path: object, usual: str, likely: str, *, whole: bool) -> str:
    """Choose the delimiter that gives all lines the same number of fields."""
    trials = {mark: _try(lines, mark, whole=whole) for mark in dict.fromkeys((usual, *MARKS.values()))}
    expected, others = trials[usual], [trial for mark, trial in trials.items() if mark != usual]
    fitting = [trial for trial in others if trial.fits]
    if likely in trials and trials[likely].fits:
        return likely
    if expected.fits:
        # Texts contain no tabs, so tabs are always delimiters. Commas may be decimal commas: "a film;1,5".
        rivals = [trial for trial in fitting if not any(f"{trial.delimiter} " in line for line in lines)]
        if usual == "," and rivals and len(expected.records) > 1 and not _has_header(expected):
            raise _ambiguous(path, expected, rivals[0])
        return usual
    fitting = fitting or ([] if expected.nearly_fits else [trial for trial in others if trial.nearly_fits])
    if not fitting:
        return usual
    if len(fitting) > 1:
        named = [trial for trial in fitting if _has_header(trial)]
        if len(named) != 1:
            raise _ambiguous(path, fitting[0], fitting[1])
        fitting = named
    best = fitting[0]
    if _has_header(best) or _is_delimiter(best, lines):
        return best.delimiter
    if expected.width == 1 and len(expected.records) > 0 and not expected.error and not _is_delimiter(best, lines):
        raise _ambiguous(path, expected, best)
    return usual


def _is_delimiter(trial: _Trial, lines: Sequence[str]) -> bool:
    """Return whether an unusual delimiter is convincing: in enough rows, and not used as punctuation in texts."""
    if len(trial.records) < _FEWEST:
        return False
    return not any(f"{trial.delimiter} " in line for line in lines) or trial.width > 2


def _has_header(trial: _Trial) -> bool | None:
    if not trial.records:
        return None
    first, *rest = (fields for _, fields in trial.records)
    even = [fields for fields in rest if len(fields) == len(first)]
    return has_header(first, even, prior=PRIOR.get(trial.delimiter, 4.0))


def _ambiguous(path: object, one: _Trial, other: _Trial) -> DataError:
    names = {mark: name for name, mark in MARKS.items()}
    shown = " or ".join(
        f"{names[trial.delimiter]} (the first line is then {_listed(trial.records[0][1])})" for trial in (one, other)
    )
    return DataError(
        f"{path}: can't tell which delimiter separates its columns: {shown}; choose one, for example --columns "
        f"delimiter={names[other.delimiter]}"
    )


def _listed(fields: Sequence[str]) -> str:
    return ", ".join(repr(shorten(name, 21)) for name in fields[:4])


def _try(lines: Sequence[str], mark: str, *, whole: bool) -> _Trial:
    """Read the sample with one delimiter: with quotes, or without if quotes can't be read or belong to the texts."""
    quoted = parse_quoted(lines, mark, whole=whole)
    if mark != "\t" and not quoted.error:
        return quoted
    plain = parse_plain(lines, mark)
    return quoted if quoted.fits and not plain.fits else plain if plain.fits or mark == "\t" else quoted


def parse_plain(lines: Iterable[str], mark: str) -> _Trial:
    """Split lines at every delimiter."""
    stripped = ((number, line.rstrip("\n")) for number, line in enumerate(lines, 1))
    return _Trial(mark, False, [(number, line.split(mark)) for number, line in stripped if line])


def parse_quoted(lines: Sequence[str], mark: str, *, whole: bool) -> _Trial:
    """Read lines whose fields may be enclosed in quotes."""
    reader = csv.reader(lines, delimiter=mark, strict=True)
    records: list[Record] = []
    before = 0
    try:
        for fields in reader:
            if fields:
                records.append((before + 1, fields))
            before = reader.line_num
    except csv.Error as error:
        if whole or reader.line_num < len(lines):
            return _Trial(mark, True, records, f"line {reader.line_num}: {error}")
    else:
        if not whole and before >= len(lines) and records:
            records.pop()  # it may continue after the sample
    return _Trial(mark, True, records)


def _quoted(lines: Sequence[str], path: object, mark: str, *, whole: bool) -> tuple[bool, tuple[str, ...]]:
    """Return whether fields are enclosed in quotes, and remarks for the user."""
    if not any('"' in line for line in lines):
        return mark != "\t", ()
    plain, quoted = parse_plain(lines, mark), parse_quoted(lines, mark, whole=whole)
    even = plain.fits or (plain.width == 1 and all(len(fields) == 1 for _, fields in plain.records))
    if mark == "\t":
        return _quoted_at_tabs(plain, quoted, even=even)
    if quoted.error and any('\\"' in line for line in lines):
        raise DataError(
            f'{path}: quotes inside its fields are escaped by a backslash (\\"); double them ("") instead, as CSV '
            "requires"
        )
    if not quoted.error and even and plain.width == quoted.width and len(plain.records) > len(quoted.records):
        line = next(line for line, fields in quoted.records if any("\n" in value for value in fields))
        raise DataError(
            f"{path}:{line}: a quote opens here and closes on a later line, but every line is also a complete row; "
            "type --columns quotes=yes if fields are enclosed in quotes, --columns quotes=no if they are not"
        )
    return True, ()


def _quoted_at_tabs(plain: _Trial, quoted: _Trial, *, even: bool) -> tuple[bool, tuple[str, ...]]:
    """Distinguish quotes that a program put around fields from quotes that belong to the texts."""
    if quoted.error:
        return False, ()
    if not even and quoted.fits:
        return True, ()  # the rows fit only if quoted fields may contain tabs and line ends
    rows = [fields for _, fields in plain.records]
    if len({len(fields) for fields in rows}) > 1:
        return False, ()
    wrapped = [value for fields in rows for value in fields if _is_wrapped(value)]
    bare = [value for fields in rows for value in fields if '"' in value and not _is_wrapped(value)]
    doubled = [value for value in wrapped if '""' in value[1:-1]]
    if bare or not wrapped:
        return False, ()
    if len(doubled) == len(wrapped):
        return True, ()  # exactly the fields that contain quotes are quoted, as most programs write them
    columns = list(zip(*rows, strict=True))
    all_wrapped = [all(_is_wrapped(value) for value in column) for column in columns]
    numbers = [all(value.replace(".", "").lstrip("-").isdecimal() for value in column[1:]) for column in columns]
    if len(rows) > 1 and any(all_wrapped) and all(a or b for a, b in zip(all_wrapped, numbers, strict=True)):
        return True, ()  # every field is quoted, or every field except numbers
    return False, (f"{len(wrapped)} fields are enclosed in quotes, which were kept",)


def _is_wrapped(value: str) -> bool:
    """Return whether a field is enclosed in quotes, with all quotes inside doubled."""
    inner = value[1:-1]
    return len(value) > 1 and value[0] == value[-1] == '"' and '"' not in inner.replace('""', "")
