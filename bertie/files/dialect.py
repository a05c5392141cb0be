"""Find out what separates the columns of a text table, and whether its fields are in quotes.

The suffix says what is usual (commas in a .csv, tabs in a .tsv); the lines themselves say what is true. Where two
readings fit, the reader asks its user.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from bertie.errors import DataError
from bertie.files.header import has_header
from bertie.files.text import shorten

Record = tuple[int, list[str]]
"""Line where a record begins, and its fields."""

MARKS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
PRIOR = {",": 4.0, "\t": 1.5, ";": 4.0, "|": 4.0}
"""Tables of a kind with a header for each one without."""
_FIT = 0.9
_SEP_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)
_FEWEST = 3  # rows that tell a separator of columns from a mark in texts


@dataclass(frozen=True)
class Dialect:
    """How the lines of a table become fields."""

    delimiter: str
    quoted: bool
    """Whether fields may stand in quotes, with quotes inside doubled."""
    skipped: int = 0
    """Lines before the table, such as Excel's `sep=;`."""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Hints:
    """How another file was read, that this one is like: decides where the lines themselves leave it open."""

    delimiter: str
    header: bool
    names: tuple[str, ...]
    """Columns that it had, by name or number."""


@dataclass(frozen=True)
class _Trial:
    """A sample, read in one way."""

    delimiter: str
    quoted: bool
    records: list[Record] = field(default_factory=list)
    error: str = ""

    @cached_property
    def width(self) -> int:
        """The commonest number of fields."""
        counts = Counter(len(fields) for _, fields in self.records)
        return counts.most_common(1)[0][0] if counts else 0

    @cached_property
    def fits(self) -> bool:
        """Whether every record has as many fields, and more than one."""
        return not self.error and self.width > 1 and all(len(fields) == self.width for _, fields in self.records)

    @cached_property
    def nearly_fits(self) -> bool:
        """Whether the first record and nearly all others have as many fields, and more than one."""
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
    """Find the dialect of a table from its first lines.

    Args:
        lines: with their ends.
        path: for messages.
        usual: the delimiter that the file's suffix stands for.
        whole: whether these are all lines of the file.
        delimiter: what the user says; found out when empty.
        quotes: whether fields stand in quotes, as the user says; found out when None.
        likely: the delimiter of a file that this one is like; decides between two that fit.

    Raises:
        DataError: two readings that fit equally well, or quotes that can't be read.
    """
    skipped = 0
    if lines and (said := _SEP_LINE.fullmatch(lines[0].rstrip("\n"))):
        skipped, delimiter = 1, delimiter or said[1]
    lines = lines[skipped:]
    if not delimiter:
        delimiter = _delimiter(lines, path, usual, likely, whole=whole)
    quoted, remarks = _quoted(lines, path, delimiter, whole=whole) if quotes is None else (quotes, ())
    return Dialect(delimiter, quoted, skipped, remarks)


def _delimiter(lines: Sequence[str], path: object, usual: str, likely: str, *, whole: bool) -> str:
    """Choose the mark by which the lines fall into as many fields each."""
    trials = {mark: _tried(lines, mark, whole=whole) for mark in dict.fromkeys((usual, *MARKS.values()))}
    own, others = trials[usual], [trial for mark, trial in trials.items() if mark != usual]
    fitting = [trial for trial in others if trial.fits]
    if likely in trials and trials[likely].fits:
        return likely
    if own.fits:
        # Tabs stand in no texts. Commas may be those of decimals: "a film;1,5".
        rivals = [trial for trial in fitting if not any(f"{trial.delimiter} " in line for line in lines)]
        if usual == "," and rivals and len(own.records) > 1 and not _has_header(own):
            raise _two_ways(path, own, rivals[0])
        return usual
    fitting = fitting or ([] if own.nearly_fits else [trial for trial in others if trial.nearly_fits])
    if not fitting:
        return usual
    if len(fitting) > 1:
        named = [trial for trial in fitting if _has_header(trial)]
        if len(named) != 1:
            raise _two_ways(path, fitting[0], fitting[1])
        fitting = named
    best = fitting[0]
    if _has_header(best) or _is_plain(best, lines):
        return best.delimiter
    if own.width == 1 and len(own.records) > 0 and not own.error and not _is_plain(best, lines):
        raise _two_ways(path, own, best)
    return usual


def _is_plain(trial: _Trial, lines: Sequence[str]) -> bool:
    """Tell whether a mark that isn't the usual one parts columns: in enough rows, and not as texts have it."""
    if len(trial.records) < _FEWEST:
        return False
    return not any(f"{trial.delimiter} " in line for line in lines) or trial.width > 2


def _has_header(trial: _Trial) -> bool | None:
    if not trial.records:
        return None
    first, *rest = (fields for _, fields in trial.records)
    even = [fields for fields in rest if len(fields) == len(first)]
    return has_header(first, even, prior=PRIOR.get(trial.delimiter, 4.0))


def _two_ways(path: object, one: _Trial, other: _Trial) -> DataError:
    names = {mark: name for name, mark in MARKS.items()}
    shown = " or ".join(
        f"{names[trial.delimiter]} (the first line is then {_listed(trial.records[0][1])})" for trial in (one, other)
    )
    return DataError(
        f"{path}: can't tell what separates its columns: {shown}; say which, such as --columns "
        f"delimiter={names[other.delimiter]}"
    )


def _listed(fields: Sequence[str]) -> str:
    return ", ".join(repr(shorten(name, 21)) for name in fields[:4])


def _tried(lines: Sequence[str], mark: str, *, whole: bool) -> _Trial:
    """Read a sample with one mark: with quotes, or without where quotes can't be read or are part of the texts."""
    quoted = parse_quoted(lines, mark, whole=whole)
    if mark != "\t" and not quoted.error:
        return quoted
    plain = parse_plain(lines, mark)
    return quoted if quoted.fits and not plain.fits else plain if plain.fits or mark == "\t" else quoted


def parse_plain(lines: Iterable[str], mark: str) -> _Trial:
    """Cut lines at every mark."""
    stripped = ((number, line.rstrip("\n")) for number, line in enumerate(lines, 1))
    return _Trial(mark, False, [(number, line.split(mark)) for number, line in stripped if line])


def parse_quoted(lines: Sequence[str], mark: str, *, whole: bool) -> _Trial:
    """Read lines whose fields may stand in quotes."""
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
            records.pop()  # it may go on behind the sample
    return _Trial(mark, True, records)


def _quoted(lines: Sequence[str], path: object, mark: str, *, whole: bool) -> tuple[bool, tuple[str, ...]]:
    """Tell whether fields stand in quotes."""
    if not any('"' in line for line in lines):
        return mark != "\t", ()
    plain, quoted = parse_plain(lines, mark), parse_quoted(lines, mark, whole=whole)
    even = plain.fits or (plain.width == 1 and all(len(fields) == 1 for _, fields in plain.records))
    if mark == "\t":
        return _quoted_at_tabs(plain, quoted, even=even)
    if quoted.error and any('\\"' in line for line in lines):
        raise DataError(
            f'{path}: quotes inside its fields are escaped by a backslash (\\"); write them doubled (""), as '
            "a .csv has them"
        )
    if not quoted.error and even and plain.width == quoted.width and len(plain.records) > len(quoted.records):
        line = next(line for line, fields in quoted.records if any("\n" in value for value in fields))
        raise DataError(
            f"{path}:{line}: a quote opens here and is closed in a later line, but every line is a whole row as well; "
            "say which is meant: --columns quotes=yes where fields stand in quotes, quotes=no where they don't"
        )
    return True, ()


def _quoted_at_tabs(plain: _Trial, quoted: _Trial, *, even: bool) -> tuple[bool, tuple[str, ...]]:
    """Tell quotes that a program put around fields from those that belong to texts."""
    if quoted.error:
        return False, ()
    if not even and quoted.fits:
        return True, ()  # only quotes hold tabs and ends of lines together
    rows = [fields for _, fields in plain.records]
    if len({len(fields) for fields in rows}) > 1:
        return False, ()
    wrapped = [value for fields in rows for value in fields if _is_wrapped(value)]
    bare = [value for fields in rows for value in fields if '"' in value and not _is_wrapped(value)]
    doubled = [value for value in wrapped if '""' in value[1:-1]]
    if bare or not wrapped:
        return False, ()
    if len(doubled) == len(wrapped):
        return True, ()  # fields with quotes, and no others, stand in quotes, as most programs write them
    columns = list(zip(*rows, strict=True))
    whole = [all(_is_wrapped(value) for value in column) for column in columns]
    numbers = [all(value.replace(".", "").lstrip("-").isdecimal() for value in column[1:]) for column in columns]
    if len(rows) > 1 and any(whole) and all(a or b for a, b in zip(whole, numbers, strict=True)):
        return True, ()  # every field, or every one that is no number
    return False, (f"{len(wrapped)} fields stand in quotes, which were kept",)


def _is_wrapped(value: str) -> bool:
    """Tell whether a field stands in quotes, and those inside are doubled."""
    inner = value[1:-1]
    return len(value) > 1 and value[0] == value[-1] == '"' and '"' not in inner.replace('""', "")
