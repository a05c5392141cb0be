"""Read text tables (.csv, .tsv) row by row. All parts of bertie read such files here.

Delimiter, quotes and header are detected from the first lines (`_dialect.py`, `_header.py`). The user's settings take
precedence. If the lines can be read in two ways, the error names the option that decides.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bertie.errors import DataError, SettingsError
from bertie.files.compression import format_suffix
from bertie.files.text import MAX_LINE_BYTES, open_text, shorten
from bertie.tables._dialect import MARKS, PRIOR, Record, sniff
from bertie.tables._header import has_header
from bertie.tables.table import Format, Hints, Opening, Rows

OPTIONS = ("header", "delimiter", "quotes")
"""Options of a text table that a user can set, besides its columns."""
_SAMPLE_LINES = 5000
_FEWEST_ROWS = 2
_UNQUOTED = "; or set --columns quotes=no if quotes are ordinary characters here"
_YES_NO = {"yes": True, "no": False, "true": True, "false": False}


class Delimited(Rows):
    """An open text table.

    Args:
        path: the file.
        opening: how to open it. Names of columns mean that there is a header. Numbers mean that there is none, unless
            the first line is clearly one.

    Raises:
        DataError: the lines can be read in two ways.
        SettingsError: an option has an invalid value.
    """

    def __init__(self, path: Path, opening: Opening) -> None:
        super().__init__()
        self._path, self._ask = path, opening.ask
        columns, hints = opening.columns, opening.hints
        usual = "\t" if format_suffix(path) == ".tsv" else ","
        options = options_of(columns)
        names = [name for role, name in columns.items() if role not in OPTIONS]
        by_number = bool(names) and all(part.isdecimal() for name in names for part in name.split("+"))
        # Raise the csv module's limit of 131,072 characters a field; the stream already limits the length of a line.
        csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
        self._stream = open_text(path, bad_utf8=opening.bad_utf8)
        try:
            sample = list(islice(self._stream, _SAMPLE_LINES))
            whole = len(sample) < _SAMPLE_LINES
            known = {"delimiter": options.get("delimiter", ""), "quotes": options.get("quotes")}
            known["likely"] = "" if hints is None else hints.delimiter
            dialect = sniff(sample, path, usual, whole=whole, **known)
            self.delimiter, self.quoted, self.remarks = dialect.delimiter, dialect.quoted, dialect.remarks
            self._spaced = self.quoted and _is_spaced(sample[dialect.skipped + 1 :], self.delimiter)
            lines = chain(sample[dialect.skipped :], self._stream)
            read = self._read_quoted if self.quoted else self._read_plain
            self._records = read(lines, dialect.skipped)
            head = list(islice(self._records, _SAMPLE_LINES))
            while head and not any(value.strip() for value in head[0][1]):
                self.empty.append(head.pop(0)[0])
            self.width = len(head[0][1]) if head else 0
            self.names = [name.strip() for name in head[0][1]] if head else []
            named = bool(names) and not by_number
            if hints is not None and hints.header and not names and self.names:
                named = all(name in self.names for name in hints.names)
            self.header = self._find_header(head, options.get("header"), named=named, by_number=by_number, hints=hints)
        except BaseException:
            self._stream.close()
            raise
        self._trailing_delimiter = False
        if self.header:
            self._widen_header(head[1:])
        self._records = chain(head[1:] if self.header else head, self._records)
        self.columns = self.names if self.header and not by_number else [str(number) for number in range(self.width)]

    @property
    def position(self) -> int:
        """Bytes of the file on disk, compressed or not, read so far."""
        return self._stream.position

    @property
    def num_replaced(self) -> int:  # type: ignore[override]
        """Invalid UTF-8 sequences replaced so far."""
        return self._stream.num_replaced

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        """Read the rows from beginning to end, once; see `Rows.rows`."""
        indices = [self.columns.index(name) for name in columns]
        for line, fields in self.records():
            if len(fields) != self.width:
                raise DataError(f"{self.uneven(line, len(fields))}; correct the line")
            yield line, [fields[index] for index in indices]

    def records(self, *, empty: bool = False) -> Iterator[Record]:
        """Read the rows unchanged, including those with another number of fields.

        Args:
            empty: whether to yield rows without content. If not, skip them and list them in `self.empty`. Empty rows at
                the end of the file are always skipped, and so are lines without a delimiter if the table has several
                columns.
        """
        waiting: list[Record] = []
        for line, fields in self._records:
            if self._trailing_delimiter and len(fields) == self.width + 1 and not fields[-1].strip():
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
                        f"{self._path}:{line}: the header appears again (were files concatenated?); remove this line"
                    )
                yield line, fields
        self.empty += [line for line, _ in waiting]

    def _widen_header(self, head: Sequence[Record]) -> None:
        """Accept rows with one field more than the header: a trailing delimiter, or row numbers as R writes them."""
        rows = [fields for _, fields in head if any(map(str.strip, fields))]
        if len(rows) < _FEWEST_ROWS or any(len(fields) != self.width + 1 for fields in rows):
            return
        if not any(fields[-1].strip() for fields in rows):
            self._trailing_delimiter = True
            self.remarks = (*self.remarks, "each row ends in a delimiter")
        elif [fields[0].strip() for fields in rows] == [str(number) for number in range(1, len(rows) + 1)]:
            self.names, self.width = ["", *self.names], self.width + 1
            self.remarks = (*self.remarks, "the header lacks a name for the first column, which numbers the rows")

    def uneven(self, line: int, count: int) -> str:
        """Return the message for a row whose number of fields differs from the first row's."""
        first = (
            f"but the header names {self.width} ({', '.join(self.names)})"
            if self.header
            else (f"the first line has {self.width}")
        )
        return f"{self._path}:{line}: {count} fields, {first}; columns are separated by {_named(self.delimiter)}"

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _find_header(
        self, head: Sequence[Record], chosen: bool | None, *, named: bool, by_number: bool, hints: Hints | None
    ) -> bool:
        """Decide whether the first line is the header; `chosen` is the user's setting."""
        if chosen is not None or named or not head:
            return named if chosen is None else chosen
        first = head[0][1]
        rest = [fields for _, fields in head[1:] if len(fields) == len(first) and any(map(str.strip, fields))]
        is_header = has_header(first, rest, prior=PRIOR.get(self.delimiter, 4.0))
        if is_header is None and hints is not None and not hints.header:
            is_header = False
        if is_header is None and not by_number:
            shown = ", ".join(repr(shorten(value, 40)) for value in first[:6])
            raise DataError(
                f"{self._path}: can't tell whether the first line ({shown}) is a header or a data row; type "
                f"{self._ask}{shorten(self.names[0], 40)!r} (a name) if it is a header, {self._ask}0 (a number) if it "
                "is a data row"
            )
        return bool(is_header)

    def _read_quoted(self, lines: Iterable[str], skipped: int) -> Iterator[Record]:
        # Without strict=True, a quote that is never closed silently swallows the rest of the file.
        reader = csv.reader(lines, delimiter=self.delimiter, strict=True, skipinitialspace=self._spaced)
        while True:
            line = reader.line_num + 1 + skipped
            try:
                fields = next(reader, None)
            except csv.Error as error:
                raise DataError(
                    f"{self._path}:{line}: this row is not valid CSV ({error}); double the quotes inside a quoted "
                    f"field{_UNQUOTED if self._ask.startswith('--columns') else ''}"
                ) from error
            if fields is None:
                return
            yield line, fields

    def _read_plain(self, lines: Iterable[str], skipped: int) -> Iterator[Record]:
        for line, text in enumerate(lines, 1 + skipped):
            yield line, text.rstrip("\n").split(self.delimiter)


def _named(delimiter: str) -> str:
    return next((f"{name}s" for name, mark in MARKS.items() if mark == delimiter), repr(delimiter))


def _is_spaced(lines: Sequence[str], delimiter: str) -> bool:
    """Return whether every line has a quoted field after a delimiter and a space, as in "a b", "c"."""
    field = re.compile(rf'{re.escape(delimiter)} +"(?:[^"]|"")*"\s*(?:{re.escape(delimiter)}|$)')
    filled = [line for line in lines if line.strip()]
    return delimiter != " " and len(filled) >= _FEWEST_ROWS and all(field.search(line) for line in filled)


def options_of(columns: Mapping[str, str]) -> dict[str, Any]:
    """Return the `OPTIONS` among the user's settings for columns, their values parsed.

    >>> options_of({"text": "body", "delimiter": "semicolon", "header": "yes"})
    {'header': True, 'delimiter': ';'}

    Raises:
        SettingsError: an option has an invalid value.
    """
    options: dict[str, Any] = {}
    for name in OPTIONS:
        if name not in columns:
            continue
        value = columns[name]
        if name == "delimiter":
            if value not in MARKS and len(value) != 1:
                raise SettingsError(f"--columns delimiter={value}: use one character or one of {', '.join(MARKS)}")
            options[name] = MARKS.get(value, value)
        elif value.lower() not in _YES_NO:
            raise SettingsError(f"--columns {name}={value}: use {name}=yes or {name}=no")
        else:
            options[name] = _YES_NO[value.lower()]
    return options


FORMAT = Format((".csv", ".tsv"), Delimited)
