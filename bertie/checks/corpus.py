"""Survey raw text before it becomes a corpus: count its content, and find problems. Memory is bounded.

No file is written. With a tokenizer, text is encoded to count the pieces of each sentence; without one, the pieces are
estimated from the words.
"""

import codecs
import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie import progress
from bertie.corpus.documents import Document, Tally, read_documents, text_files
from bertie.corpus.encoding import TextEncoder
from bertie.corpus.plain_text import Separator
from bertie.corpus.sentences import CHINESE, detect_language, split
from bertie.errors import DataError, SettingsError
from bertie.files.compression import ByteStream
from bertie.findings import Finding, places
from bertie.tables.table import format_of
from bertie.tokenizer.marks import count_script_marks

PLANNED_SENTENCES = 2**22
"""The largest number of sentences whose lengths are kept for the plan of pairs."""
_PIECES_PER_WORD = 4 / 3  # in English, with a vocabulary of 30,000 pieces
_CHUNK_BYTES = 256 * 1024
_REMEMBERED_LINES = 20_000  # distinct lines whose text is kept to count repetitions
_SHOWN_CHARACTERS, _SHOWN_OFFSETS = 60, 5
_HEADING_WORDS, _HEADING_CHARACTERS = 6, 60
_ASCII_LETTERS = bytes(range(65, 91)) + bytes(range(97, 123))
_WORDS = re.compile(r"[^\W\d_]+")
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")
# UTF-8 that was read as Latin-1 or Windows-1252 and written as UTF-8 again.
_MOJIBAKE = re.compile("[\u00c2\u00c3][\u0080-\u00bf\u20ac\u2122\u0153\u0161]|\u00e2\u20ac|\u00ef\u00bb\u00bf")
_TAG = re.compile(r"</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]{0,200})?/?>")


@dataclass
class Counts:
    """Counts over all files."""

    documents: int = 0
    empty_documents: int = 0
    one_sentence_documents: int = 0
    lines: int = 0
    sentences: int = 0
    characters: int = 0
    letters: int = 0
    spaces: int = 0
    chinese: int = 0
    words: int = 0
    heading_like_lines: int = 0
    lines_with_tags: int = 0
    lines_of_mojibake: int = 0
    replaced: int = 0
    """Byte sequences that are not UTF-8."""
    pieces: int = 0
    """Exact with a tokenizer, otherwise an estimate."""
    unknown: int = 0
    longest_sentence: int = 0
    """In characters."""
    longest_where: str = ""
    """The file and the beginning of the longest sentence."""


@dataclass(frozen=True, eq=False)
class CorpusSurvey:
    """The results of a survey."""

    counts: Counts
    findings: list[Finding]
    duplicate_lines: int
    """Lines that repeat an earlier line."""
    duplicate_documents: int
    most_repeated: list[tuple[str, int]]
    """Beginnings of the most frequent lines, each with a lower bound of its count."""
    sentence_starts: NDArray[np.int64]
    """Starts of the first `PLANNED_SENTENCES` sentences, in pieces; `data.plan` needs this and the next two fields."""
    document_offsets: NDArray[np.int64]
    num_documents: int
    exact: bool
    """Whether pieces were counted by a tokenizer, not estimated."""

    def figures(self) -> dict[str, Any]:
        """Return the counts and shares by name; shares are left out if there are no sentences."""
        counts = self.counts
        figures: dict[str, Any] = {
            "documents": counts.documents,
            "one_sentence_documents": counts.one_sentence_documents,
            "empty_documents": counts.empty_documents,
            "duplicate_documents": self.duplicate_documents,
            "lines": counts.lines,
            "duplicate_lines": self.duplicate_lines,
            "heading_like_lines": counts.heading_like_lines,
            "sentences": counts.sentences,
            "characters": counts.characters,
            "words": counts.words,
            "pieces" if self.exact else "estimated_pieces": counts.pieces,
            "longest_sentence_characters": counts.longest_sentence,
            "broken_byte_sequences": counts.replaced,
        }
        if counts.sentences:
            visible = max(1, counts.characters - counts.spaces)
            figures |= {
                "words_per_sentence": counts.words / counts.sentences,
                "characters_per_sentence": counts.characters / counts.sentences,
                "non_letter_share": 1 - counts.letters / visible,
                "chinese_share": counts.chinese / visible,
            }
        if self.exact:
            figures["unknown_share"] = counts.unknown / max(1, counts.pieces)
        return figures


def survey(
    paths: list[Path],
    *,
    separator: Separator = "blank-line",
    text_column: str | None = None,
    encoder: TextEncoder | None = None,
) -> CorpusSurvey:
    """Read raw text from beginning to end, and count its content.

    A file that can't be read becomes a finding; the other files are still read.

    Args:
        paths: files, folders and glob patterns, see `corpus.documents`.
        separator: what separates documents in .txt files.
        text_column: the column of tables that holds the text; detected by its name if None.
        encoder: the encoder to count pieces with; without one, pieces are estimated.

    Raises:
        SettingsError: a path doesn't exist.
    """
    with progress.collected() as messages:
        files = text_files(paths)
    findings = [Finding("warning", line, "") for line in messages]
    reader = _Reader(encoder)
    total = sum(file.stat().st_size for file in files) / 1e6
    with progress.bar("Reading", total=total, unit="MB") as bar:
        for file in files:
            tally, shown = Tally(), 0
            with progress.collected() as messages:
                try:
                    documents = read_documents(
                        file, bad_utf8="replace", separator=separator, text_column=text_column, tally=tally
                    )
                    for document in documents:
                        reader.add(document)
                        bar.advance((tally.bytes_read - shown) / 1e6, sentences=f"{reader.counts.sentences:,}")
                        shown = tally.bytes_read
                except (DataError, SettingsError) as error:
                    findings.append(Finding("error", str(error), str(file)))
                    messages.clear()
            reader.end_document()
            reader.counts.empty_documents += tally.num_empty
            findings += [Finding("warning", line, str(file)) for line in messages if "U+FFFD" not in line]
            findings += _encoding(file, tally.num_replaced)
            reader.counts.replaced += tally.num_replaced
            bar.advance((file.stat().st_size - shown) / 1e6)
    return reader.result(findings)


@dataclass
class _Reader:
    """A counter of documents."""

    encoder: TextEncoder | None
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        # Eight bytes per line and document, four per sentence: little enough for a corpus of any size.
        self._line_hashes, self._document_hashes = array("q"), array("q")
        self._lengths, self._ends = array("i"), array("q")
        self._repeated: Counter[str] = Counter()
        self._language = CHINESE
        self._sentences, self._hash = 0, 0

    def add(self, document: Document) -> None:
        """Count a document, or a further part of the current document."""
        if not document.continues:
            self.end_document()
            self._language = detect_language(document.paragraphs)
        hashes = [hash(line) for line in document.paragraphs]
        self._line_hashes.extend(hashes)
        self._hash = hash((self._hash, *hashes))
        sentences: list[str] = []
        for line in document.paragraphs:
            self._count_line(line)
            sentences += split(line, language=self._language)
        self._count_sentences(sentences, document.source)

    def end_document(self) -> None:
        """Finish the current document, if any; a document without sentences is not counted."""
        if self._sentences:
            self.counts.documents += 1
            self.counts.one_sentence_documents += self._sentences == 1
            self._document_hashes.append(self._hash)
            if len(self._lengths) > (self._ends[-1] if self._ends else 0):
                self._ends.append(len(self._lengths))
        self._sentences, self._hash = 0, 0

    def _count_line(self, line: str) -> None:
        counts = self.counts
        counts.lines += 1
        counts.characters += len(line)
        counts.spaces += line.count(" ")
        if line.isascii():
            counts.letters += len(line) - len(line.encode().translate(None, _ASCII_LETTERS))
        else:
            counts.letters += sum(map(len, _WORDS.findall(line))) + count_script_marks(line)
            counts.chinese += len(_CHINESE.findall(line))
            counts.lines_of_mojibake += _MOJIBAKE.search(line) is not None
        counts.lines_with_tags += "<" in line and _TAG.search(line) is not None
        counts.heading_like_lines += _is_heading(line)
        self._repeated[line[:_SHOWN_CHARACTERS]] += 1
        if len(self._repeated) > _REMEMBERED_LINES:
            self._repeated = Counter({line: count for line, count in self._repeated.items() if count > 1})
            if len(self._repeated) > _REMEMBERED_LINES // 2:
                self._repeated = Counter(dict(self._repeated.most_common(_REMEMBERED_LINES // 4)))

    def _count_sentences(self, sentences: list[str], source: str) -> None:
        counts = self.counts
        counts.sentences += len(sentences)
        self._sentences += len(sentences)
        words = [sentence.count(" ") + 1 for sentence in sentences]
        counts.words += sum(words)
        longest = max(sentences, key=len, default="")
        if len(longest) > counts.longest_sentence:
            counts.longest_sentence = len(longest)
            counts.longest_where = f"{source}: {longest[:_SHOWN_CHARACTERS]}..."
        if self.encoder is not None:
            tokens, exact = self.encoder.encode(sentences)
            counts.unknown += int(np.count_nonzero(tokens == self.encoder.tokenizer.unknown))
            lengths = [length for length in exact.tolist() if length]
        elif self._language == CHINESE:
            lengths = [len(sentence) for sentence in sentences]
        else:
            lengths = [round(_PIECES_PER_WORD * count) for count in words]
        counts.pieces += sum(lengths)
        if len(self._lengths) + len(lengths) <= PLANNED_SENTENCES:
            self._lengths.extend(lengths)

    def result(self, findings: list[Finding]) -> CorpusSurvey:
        """Return the survey of all documents."""
        if not self.counts.documents and not any(found.severity == "error" for found in findings):
            findings.append(Finding("error", "these files contain no text", ""))
        starts = np.concatenate([[0], np.cumsum(np.frombuffer(self._lengths, np.int32), dtype=np.int64)])
        return CorpusSurvey(
            counts=self.counts,
            findings=findings,
            duplicate_lines=_num_repeated(self._line_hashes),
            duplicate_documents=_num_repeated(self._document_hashes),
            most_repeated=[(line, count) for line, count in self._repeated.most_common(3) if count > 1],
            sentence_starts=starts,
            document_offsets=np.concatenate([[0], np.frombuffer(self._ends, np.int64)]),
            num_documents=len(self._ends),
            exact=self.encoder is not None,
        )


def _num_repeated(hashes: "array[int]") -> int:
    return len(hashes) - len(np.unique(np.frombuffer(hashes, np.int64)))


def _is_heading(line: str) -> bool:
    """Return whether a line is as short as a heading, and not speech, a question or part of a list."""
    if len(line) > _HEADING_CHARACTERS or line[-1] in ",;:?!\"'”’，；：？！。”’":
        return False
    num_words = line.count(" ") + 1
    return num_words <= _HEADING_WORDS and (line.isascii() or num_words > 1 or len(line) <= _HEADING_WORDS * 2)


def _encoding(file: Path, num_replaced: int) -> list[Finding]:
    """Return a finding on the bytes of a file that are not UTF-8, if there are any."""
    if not num_replaced:
        return []
    offsets = islice(broken_bytes(file), _SHOWN_OFFSETS) if format_of(file).is_text else []
    problem = f"{num_replaced:,} byte sequences are not UTF-8"
    remedy = "convert the file (iconv -f CP1252 -t UTF-8), or prepare it with --bad-utf8 replace"
    return [Finding("warning", problem, places(file, offsets, unit="byte offset", total=num_replaced), remedy)]


def broken_bytes(path: Path) -> Iterator[int]:
    """Find the bytes that are not UTF-8.

    Yields:
        The offset of each invalid sequence in the decompressed file.
    """
    pending, offset = b"", 0
    with ByteStream(path) as stream:
        while True:
            chunk = stream.read(_CHUNK_BYTES) or b""
            data, position = pending + chunk, 0
            while position < len(data):
                try:
                    _, used = codecs.utf_8_decode(data[position:], "strict", not chunk)
                except UnicodeDecodeError as error:
                    yield offset + position + error.start
                    position += error.end
                    continue
                position += used
                break
            if not chunk:
                return
            offset, pending = offset + position, data[position:]
