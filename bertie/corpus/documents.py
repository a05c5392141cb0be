"""Read files of text as a stream of documents in constant memory, and decide the format of each file.

Here a document is a list of paragraphs. Later stages split it into sentences and token ids.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path

from bertie import addresses, progress
from bertie.corpus.plain_text import (
    DocumentEnd,
    Part,
    Place,
    Separator,
    is_wiki,
    join_wrapped,
    numbered,
    plain_parts,
    wiki_parts,
)
from bertie.errors import DataError, SettingsError
from bertie.files.compression import format_suffix
from bertie.files.text import BadUtf8, TextStream, expand, open_text, shorten
from bertie.registry import did_you_mean
from bertie.tables.table import Rows, open_rows, suffixes

TEXT_COLUMNS = ("text", "sentence", "content", "document", "body", "article")
PART_CHARACTERS = 500_000
_PLAIN = ".txt"


@dataclass(frozen=True, slots=True)
class Document:
    """A document, or one part of a very long document."""

    paragraphs: list[str]
    """Paragraphs without line breaks; none is blank."""

    source: str
    """The file of the document."""

    continues: bool = False
    """Whether this is a further part of the previous document. Long documents come in parts to bound the memory."""

    line: int = 0
    """The line of the file where the document begins, from 1; the row of a table without lines."""


@dataclass
class Tally:
    """Counts that ``read_documents`` updates while it reads."""

    sources: list[tuple[str, int]] = field(default_factory=list)
    """The files opened so far, and their sizes on disk in bytes."""

    bytes_read: int = 0
    """Bytes read from disk so far, over all files."""

    num_replaced: int = 0
    """Invalid UTF-8 sequences replaced by U+FFFD."""

    text_column: str | None = None
    """The detected text column of the last table; None if no column was detected."""

    num_documents: int = 0
    """Documents with text."""

    num_empty: int = 0
    """Skipped documents without text, such as a title alone or a row with an empty column."""

    num_wrapped: int = 0
    """Texts (files, or rows of tables) whose hard-wrapped lines were joined."""

    def count_wrapped(self, name: str, width: int) -> None:
        """Count a text whose lines were joined, and print a note on the first one."""
        if not self.num_wrapped:
            progress.note(
                f"{name}: its lines are wrapped at about {width} characters, so they are joined into paragraphs "
                "(later texts are joined without a note)"
            )
        self.num_wrapped += 1


def read_documents(
    paths: str | Path | Iterable[str | Path],
    *,
    bad_utf8: BadUtf8 = "stop",
    separator: Separator = "blank-line",
    text_column: str | None = None,
    join_lines: bool = True,
    tally: Tally | None = None,
    may_be_empty: bool = False,
) -> Iterator[Document]:
    """Read the documents of text files and tables, file by file, sorted by file name.

    A .txt file that begins with ``<doc `` is in WikiExtractor's format. In any other .txt file each line is a
    paragraph, hard-wrapped lines are joined first, and ``separator`` decides where documents end. In a table each row
    is a document.

    Args:
        paths: files, folders and glob patterns; .txt and tables, compressed or not.
        bad_utf8: ``stop`` at bytes that are not UTF-8, or ``replace`` and count them.
        separator: what separates documents in .txt files: ``blank-line``, or ``file`` for one document per file.
        text_column: the column of tables that holds the text; detected by its name if None.
        join_lines: whether to join hard-wrapped lines; False if each line is one sentence.
        tally: counts to update while reading.
        may_be_empty: whether to accept that no file contains text.

    Yields:
        Documents with at least one paragraph.

    Raises:
        SettingsError: a file or column doesn't exist, or a file has an unknown suffix.
        DataError: a file is damaged or not UTF-8, or no file contains text.
    """
    tally = tally if tally is not None else Tally()
    files = text_files(paths)
    begin = tally.num_documents
    for path in files:
        before = tally.num_documents
        yield from read_file(
            path,
            bad_utf8=bad_utf8,
            separator=separator,
            text_column=text_column,
            join_lines=join_lines,
            tally=tally,
        )
        if tally.num_documents == before:
            progress.warn(f"{path} contains no text")
    if tally.num_documents == begin and not may_be_empty:
        raise DataError(f"no text found in {len(files)} files; the first is {files[0]}")


def read_file(
    path: Path,
    *,
    bad_utf8: BadUtf8,
    separator: Separator,
    text_column: str | None,
    join_lines: bool,
    tally: Tally,
) -> Iterator[Document]:
    """Read the documents of one file; it may have none. See `read_documents` for the arguments and errors."""
    size = path.stat().st_size
    tally.sources.append((addresses.shown(str(path)), size))
    bytes_before, replaced_before = tally.bytes_read, tally.num_replaced
    named = {} if text_column is None else {"text": text_column}
    place = Place()
    with (
        open_text(path, bad_utf8=bad_utf8)
        if _is_plain(path)
        else open_rows(path, columns=named, bad_utf8=bad_utf8, ask="--text-column ")
    ) as source:
        if isinstance(source, Rows):
            parts = _row_parts(source, path, column=text_column, join_lines=join_lines, tally=tally, place=place)
        else:
            parts = _text_parts(source, path, separator=separator, join_lines=join_lines, tally=tally, place=place)
        for document in _assemble(parts, str(path), tally, place):
            tally.num_documents += not document.continues
            tally.bytes_read = bytes_before + source.position
            yield document
        tally.num_replaced += source.num_replaced
    tally.bytes_read = bytes_before + size
    if tally.num_replaced > replaced_before:
        count = tally.num_replaced - replaced_before
        progress.warn(f"{path}: {count} byte sequences are not UTF-8 and were replaced by U+FFFD")


def text_files(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return the text files and tables that files, folders and glob patterns stand for; see `files.text.expand`.

    Raises:
        SettingsError: a path doesn't exist, a pattern matches no file, or a suffix is unknown.
    """
    return expand(paths, suffixes=(_PLAIN, *suffixes()))


def _is_plain(path: Path) -> bool:
    return format_suffix(path) == _PLAIN


def _text_parts(
    stream: TextStream, path: Path, *, separator: Separator, join_lines: bool, tally: Tally, place: Place
) -> Iterator[Part]:
    first = next(stream, "")
    lines: Iterable[str] = chain([first], stream)
    if is_wiki(first):
        return wiki_parts(numbered(lines, place), name=str(path))
    if join_lines:
        lines = join_wrapped(lines, found=partial(tally.count_wrapped, str(path)), place=place)
    else:
        lines = numbered(lines, place)
    return plain_parts(lines, separator=separator)


def _row_parts(
    table: Rows, path: Path, *, column: str | None, join_lines: bool, tally: Tally, place: Place
) -> Iterator[Part]:
    if not table.columns:
        return
    if column is None:
        column = _find_column(table.columns, path)
        if column != tally.text_column:
            progress.note(f"{path}: text from column {column!r} (columns: {', '.join(table.columns)})")
            tally.text_column = column
    elif column not in table.columns:
        raise SettingsError(f"{path}: no column {column!r}; {did_you_mean(column, table.columns)}")
    for line, (text,) in table.rows([column]):
        place.line = line
        if text is None or (isinstance(text, str) and not text.strip()):
            tally.num_empty += 1
            continue
        if not isinstance(text, str):
            raise DataError(f"{path}:{line}: column {column!r} holds {shorten(repr(text), 41)}, which is not text")
        lines: Iterable[str] = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        if join_lines:
            lines = join_wrapped(lines, found=partial(tally.count_wrapped, f"{path}:{line}"))
        yield from plain_parts(lines, separator="file")


def _find_column(columns: list[str], path: Path) -> str:
    by_lower_name = {name.strip().lower(): name for name in reversed(columns)}
    for name in TEXT_COLUMNS:
        if name in by_lower_name:
            return by_lower_name[name]
    if columns == ["0"]:  # one column without a name
        return columns[0]
    raise SettingsError(
        f"{path}: can't tell which column holds the text (columns: {', '.join(columns)}); use --text-column NAME"
    )


def _assemble(parts: Iterator[Part], source: str, tally: Tally, place: Place) -> Iterator[Document]:
    """Collect paragraphs into documents, and split very long documents into parts."""
    paragraphs: list[str] = []
    num_characters = line = 0
    continues = False
    for part in parts:
        if isinstance(part, DocumentEnd):
            if paragraphs:
                yield Document(paragraphs, source, continues, line)
            else:
                tally.num_empty += 1
            paragraphs, num_characters, continues = [], 0, False
            continue
        if paragraphs and num_characters + len(part) > PART_CHARACTERS:
            yield Document(paragraphs, source, continues, line)
            paragraphs, num_characters, continues = [], 0, True
        if not paragraphs and not continues:
            line = place.line
        paragraphs.append(part)
        num_characters += len(part)
    assert not paragraphs, "the last part is a DocumentEnd"
