"""Read text tables (.csv, .tsv) row by row: the one reader of such files, whoever asks.

Delimiter, quotes and header are found out from the first lines (`dialect.py`, `header.py`); what a user says about
them wins. Where the lines can be read in two ways the file is refused, with what to type.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bertie.errors import DataError, SettingsError
from bertie.files.compression import format_suffix
from bertie.files.dialect import MARKS, PRIOR, Hints, Record, sniff
from bertie.files.header import has_header
from bertie.files.rows import Rows
from bertie.files.text import MAX_LINE_BYTES, BadUtf8, open_text, shorten

OPTIONS = ("header", "delimiter", "quotes")
"""What a user can say about a text table beside its columns."""
_SAMPLE_LINES = 5000
_FEWEST_ROWS = 2
_UNQUOTED = "; --columns quotes=no where quotes are characters like others"
_YES_NO = {"yes": True, "no": False, "true": True, "false": False}


class Delimited(Rows):
    """A text table that is being read.

    Args:
        path: the file.
        columns: what the user says: role to column, and `OPTIONS`. Columns by name mean that there is a header;
            columns by number that there is none, unless the first line plainly is one.
        bad_utf8: what to do with bytes that are not UTF-8.
        ask: the flag that a message tells the user to type.
        hints: how a file that this one is like was read.

    Raises:
        DataError: lines that can be read in two ways.
        SettingsError: an option that isn't known.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        columns: Mapping[str, str],
        bad_utf8: BadUtf8,
        ask: str = "--columns text=",
        hints: Hints | None = None,
    ) -> None:
        super().__init__()
        self._path, self._ask = path, ask
        usual = "\t" if format_suffix(path) == ".tsv" else ","
        options = options_of(columns)
        names = [name for role, name in columns.items() if role not in OPTIONS]
        by_number = bool(names) and all(part.isdecimal() for name in names for part in name.split("+"))
        # The package's own limit is 131,072 characters a field; the stream bounds its lines already.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
        self._stream = open_text(path, bad_utf8=bad_utf8)
        try:
            sample = list(islice(self._stream, _SAMPLE_LINES))
            whole = len(sample) < _SAMPLE_LINES
            said = {"delimiter": options.get("delimiter", ""), "quotes": options.get("quotes")}
            said["likely"] = "" if hints is None else hints.delimiter
            found = sniff(sample, path, usual, whole=whole, **said)
            self.delimiter, self.quoted, self.remarks = found.delimiter, found.quoted, found.remarks
            self._spaced = self.quoted and _is_spaced(sample[found.skipped + 1 :], self.delimiter)
            lines = chain(sample[found.skipped :], self._stream)
            self._records = self._quoted(lines, found.skipped) if self.quoted else self._plain(lines, found.skipped)
            head = list(islice(self._records, _SAMPLE_LINES))
            while head and not any(value.strip() for value in head[0][1]):
                self.empty.append(head.pop(0)[0])
            self.width = len(head[0][1]) if head else 0
            self.names = [name.strip() for name in head[0][1]] if head else []
            named = bool(names) and not by_number
            if hints is not None and hints.header and not names and self.names:
                named = all(name in self.names for name in hints.names)
            self.header = self._settled(head, options.get("header"), named=named, by_number=by_number, hints=hints)
        except BaseException:
            self._stream.close()
            raise
        self._ends_in_mark = False
        if self.header:
            self._mend_header(head[1:])
        self._records = chain(head[1:] if self.header else head, self._records)
        self.columns = self.names if self.header and not by_number else [str(number) for number in range(self.width)]

    @property
    def position(self) -> int:
        """Bytes of the file, as it lies on disk, read so far."""
        return self._stream.position

    @property
    def num_replaced(self) -> int:  # type: ignore[override]
        """Broken UTF-8 sequences replaced so far."""
        return self._stream.num_replaced

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        """Read the rows from beginning to end, once; see `Rows.rows`."""
        places = [self.columns.index(name) for name in columns]
        for line, fields in self.records():
            if len(fields) != self.width:
                raise DataError(f"{self.uneven(line, len(fields))}; mend the line")
            yield line, [fields[place] for place in places]

    def records(self, *, empty: bool = False) -> Iterator[Record]:
        """Read the rows as they are, also those of another width.

        Args:
            empty: whether rows without content are rows too, unless the file ends in them; else they are left out and
                counted. A line without any delimiter is left out where the table has several columns.
        """
        waiting: list[Record] = []
        for line, fields in self._records:
            if self._ends_in_mark and len(fields) == self.width + 1 and not fields[-1].strip():
                fields = fields[:-1]
            if not any(map(str.strip, fields)):
                if empty and (self.width == 1 or len(fields) == self.width):
                    waiting.append((line, fields or [""]))
                else:
                    self.empty.append(line)
            else:
                yield from waiting
                waiting.clear()
                again = self.header and self.width > 1 and fields[0].strip() == self.names[0]
                if again and [value.strip() for value in fields] == self.names:
                    raise DataError(
                        f"{self._path}:{line}: the header appears again (were files concatenated?); remove the line"
                    )
                yield line, fields
        self.empty += [line for line, _ in waiting]

    def _mend_header(self, head: Sequence[Record]) -> None:
        """Read rows with one field more than the header: delimiters at their ends, or numbers of rows as R has them."""
        rows = [fields for _, fields in head if any(map(str.strip, fields))]
        if len(rows) < _FEWEST_ROWS or any(len(fields) != self.width + 1 for fields in rows):
            return
        if not any(fields[-1].strip() for fields in rows):
            self._ends_in_mark = True
            self.remarks = (*self.remarks, "each row ends in a delimiter")
        elif [fields[0].strip() for fields in rows] == [str(number) for number in range(1, len(rows) + 1)]:
            self.names, self.width = ["", *self.names], self.width + 1
            self.remarks = (*self.remarks, "the header lacks a name for the first column, which numbers the rows")

    def uneven(self, line: int, count: int) -> str:
        """Say that a row has another number of fields than the first."""
        first = (
            f"but the header names {self.width} ({', '.join(self.names)})"
            if self.header
            else (f"the first line has {self.width}")
        )
        return f"{self._path}:{line}: {count} fields, {first}; columns are separated by {_named(self.delimiter)}"

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _settled(
        self, head: Sequence[Record], said: bool | None, *, named: bool, by_number: bool, hints: Hints | None
    ) -> bool:
        """Decide whether the first line is the header."""
        if said is not None or named or not head:
            return named if said is None else said
        first = head[0][1]
        rest = [fields for _, fields in head[1:] if len(fields) == len(first) and any(map(str.strip, fields))]
        found = has_header(first, rest, prior=PRIOR.get(self.delimiter, 4.0))
        if found is None and hints is not None and not hints.header:
            found = False
        if found is None and not by_number:
            shown = ", ".join(repr(shorten(value, 40)) for value in first[:6])
            raise DataError(
                f"{self._path}: can't tell whether the first line ({shown}) names the columns or is a row like the "
                f"others; say {self._ask}{shorten(self.names[0], 40)!r} if it names them, {self._ask}0 (a number) if "
                "it is a row"
            )
        return bool(found)

    def _quoted(self, lines: Iterable[str], skipped: int) -> Iterator[Record]:
        # strict: without it, a quote that is never closed swallows the rest of the file in silence.
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True, skipinitialspace=self._spaced)
        while True:
            line = reader.line_num + 1 + skipped
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise DataError(
                    f"{self._path}:{line}: this row is no valid CSV ({error}); quotes inside a field in quotes are "
                    f"doubled{_UNQUOTED if self._ask.startswith('--columns') else ''}"
                ) from error
            if fields is None:
                return
            yield line, fields

    def _plain(self, lines: Iterable[str], skipped: int) -> Iterator[Record]:
        for line, text in enumerate(lines, 1 + skipped):
            yield line, text.rstrip("\n").split(self.delimiter)


def _named(delimiter: str) -> str:
    return next((f"{name}s" for name, mark in MARKS.items() if mark == delimiter), repr(delimiter))


def _is_spaced(lines: Sequence[str], delimiter: str) -> bool:
    """Tell whether a field in quotes follows a delimiter and a space in every line, as in "a b", "c"."""
    field = re.compile(rf'{re.escape(delimiter)} +"(?:[^"]|"")*"\s*(?:{re.escape(delimiter)}|$)')
    filled = [line for line in lines if line.strip()]
    return delimiter != " " and len(filled) >= _FEWEST_ROWS and all(field.search(line) for line in filled)


def options_of(columns: Mapping[str, str]) -> dict[str, Any]:
    """Pick what says how a text table is read out of what says what its columns hold.

    Raises:
        SettingsError: a value that the option can't have.
    """
    found: dict[str, Any] = {}
    for name in OPTIONS:
        if name not in columns:
            continue
        value = columns[name]
        if name == "delimiter":
            if value not in MARKS and len(value) != 1:
                raise SettingsError(
                    f"--columns delimiter={value}: a delimiter is one character or one of {', '.join(MARKS)}"
                )
            found[name] = MARKS.get(value, value)
        elif value.lower() not in _YES_NO:
            raise SettingsError(f"--columns {name}={value}: say {name}=yes or {name}=no")
        else:
            found[name] = _YES_NO[value.lower()]
    return found
