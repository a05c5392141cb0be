"""JSON: one object a line (.jsonl), or one value that holds the whole table (`_json_table.py`)."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.files.text import BAD_UTF8_HINT, open_text
from bertie.tables._json_table import JsonTable, is_json_value
from bertie.tables.table import Format, Opening, Rows, no_value
from bertie.untrusted import parse_json

_HEAD_ROWS = 100
_SURROGATES = re.compile("[\ud800-\udfff]")


class JsonLines(Rows):
    """An open file with one object a line.

    Args:
        path: the file.
        opening: how to open it.
    """

    def __init__(self, path: Path, opening: Opening) -> None:
        super().__init__()
        self._path = path
        self._strict = opening.bad_utf8 == "stop"
        self._num_surrogates = 0
        self._stream = open_text(path, bad_utf8=opening.bad_utf8)
        self._objects = self._read()
        # A row may lack a column that others have, so collect the names from the first rows.
        self._head = list(islice(self._objects, _HEAD_ROWS))
        self.columns = list(dict.fromkeys(name for _, values, _ in self._head for name in values))

    @property
    def position(self) -> int:
        """Bytes of the file on disk, compressed or not, read so far."""
        return self._stream.position

    @property
    def num_replaced(self) -> int:  # type: ignore[override]
        """Invalid UTF-8 sequences and half characters replaced so far."""
        return self._stream.num_replaced + self._num_surrogates

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        """Read the rows from beginning to end, once; see `Rows.rows`."""
        for line, values, escaped in chain(self._head, self._objects):
            missing = [name for name in columns if name not in values]
            if missing:
                raise no_value(f"{self._path}:{line}", missing[0], values)
            wanted = [values[name] for name in columns]
            if escaped:  # a JSON escape can write a lone surrogate, which UTF-8 can't encode
                wanted = [self._checked(value, name, line) for name, value in zip(columns, wanted, strict=True)]
            yield line, wanted

    def sample(self, count: int) -> list[list[Any]]:
        """Read the first rows; see `Rows.sample`."""
        rows = islice(chain(self._head, self._objects), count)
        return [[values.get(name) for name in self.columns] for _, values, _ in rows]

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def _read(self) -> Iterator[tuple[int, dict[str, Any], bool]]:
        for line, text in enumerate(self._stream, 1):
            if text.isspace():
                continue
            try:
                value = parse_json(text, f"{self._path}:{line}", data=True)
            except DataError as error:
                raise DataError(f"{error}; a JSON Lines table has one object per line") from error
            if not isinstance(value, dict):
                raise DataError(f'{self._path}:{line}: each line must be an object such as {{"text": "..."}}')
            yield line, value, "\\u" in text

    def _checked(self, value: Any, name: str, line: int) -> Any:
        """Replace lone surrogates in all strings of a value, nested ones included; or raise, if `bad_utf8` is stop."""
        if isinstance(value, list):
            return [self._checked(part, name, line) for part in value]
        if isinstance(value, dict):
            return {self._checked(key, name, line): self._checked(part, name, line) for key, part in value.items()}
        if not isinstance(value, str) or not _SURROGATES.search(value):
            return value
        if self._strict:
            raise DataError(
                f"{self._path}:{line}: {name!r} contains half a character (a lone surrogate), which is not valid text; "
                f"correct the line ({BAD_UTF8_HINT})"
            )
        text, count = _SURROGATES.subn("\ufffd", value)
        self._num_surrogates += count
        return text


def _open(path: Path, opening: Opening) -> Rows:
    return JsonTable(path, opening) if is_json_value(path) else JsonLines(path, opening)


# Many data sets name a JSON Lines file .json. Other files of that name are settings, or questions in SQuAD's format.
FORMAT = Format((".jsonl",), _open, vague=(".json",))
