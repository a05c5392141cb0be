"""Collect documents into chunks, and turn each chunk into ids: the work of the processes that prepare a corpus.

The corpus doesn't depend on where chunks begin.
"""

import io
import json
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain

import numpy as np

from bertie.corpus.documents import Document, Tally
from bertie.corpus.encoding import TextEncoder
from bertie.corpus.segmentation import Segmentation, has_words, segmenter
from bertie.corpus.sentences import AUTO, CHINESE, Mode, detect_language, split
from bertie.corpus.shards import TokenBlock
from bertie.errors import DataError
from bertie.tokenizer.reading import load_tokenizer
from bertie.untrusted import parse_object

# Large enough that sending a chunk to another process is cheap, small enough to occupy many processes.
_CHUNK_CHARACTERS = 500_000
_SHOWN_CHARACTERS = 100  # of a text that can't be split


@dataclass(frozen=True)
class Chunk:
    """Some documents, or parts of documents, for one call of another process."""

    parts: list[list[str]]
    languages: list[str]
    continues: list[bool]
    bytes_read: int = 0
    """Bytes read from disk when the chunk ended, over all files; only for progress."""


@dataclass(frozen=True)
class Encoded:
    """A chunk as ids, with its counts."""

    block: TokenBlock
    num_unknown: int
    num_text_bytes: int
    languages: dict[str, int]
    """Number of documents that begin in this chunk, by language."""
    bytes_read: int
    """As of the chunk."""
    unsplit: list[str]
    """Beginnings of the paragraphs that the sentence splitter failed on; each is kept as one sentence."""
    uncut: list[str]
    """Beginnings of the sentences that the word segmenter failed on; each of their characters counts as a word."""

    def to_bytes(self) -> bytes:
        """Return the chunk as an archive of numpy arrays, as a slice of a corpus stores it."""
        counts = {name: value for name, value in vars(self).items() if name != "block"}
        arrays = {name: value for name, value in vars(self.block).items() if value is not None}
        stream = io.BytesIO()
        np.savez(stream, allow_pickle=False, counts=np.frombuffer(json.dumps(counts).encode(), np.uint8), **arrays)
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, place: str) -> "Encoded":
        """Read what `to_bytes` wrote.

        Args:
            content: the archive.
            place: where it is, for errors.

        Raises:
            DataError: it is damaged, or written by another version.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = dict(archive)
            counts = parse_object(arrays.pop("counts").tobytes(), place)
            return cls(TokenBlock(**arrays), **counts)
        except (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{place} is damaged: {error}") from error


@dataclass(frozen=True)
class Encode:
    """The work of one process: it turns a chunk of documents into a block of ids."""

    tokenizer: str
    mode: Mode
    segmentation: Segmentation | None = None

    def __call__(self, chunk: Chunk) -> Encoded:
        """Split and encode a chunk; drop sentences without a token."""
        encoder = _encoder(self.tokenizer)
        sentences: list[str] = []
        unsplit: list[str] = []
        uncut: list[str] = []
        ends = []
        chosen: list[bool] = []
        for paragraphs, language in zip(chunk.parts, chunk.languages, strict=True):
            for paragraph in paragraphs:
                sentences += split(paragraph, language=language, mode=self.mode, unsplit=unsplit)
            segmented = self._segments(language)
            chosen += [segmented and has_words(sentence) for sentence in sentences[len(chosen) :]]
            ends.append(len(sentences))
        goes_on = None
        if self.segmentation is not None and any(chosen):
            finder = segmenter(self.segmentation)
            tokens, lengths, goes_on = encoder.encode_with_words(sentences, finder, chosen, uncut)
        else:
            tokens, lengths = encoder.encode(sentences)
        num_kept = np.concatenate([[0], np.cumsum(lengths > 0)])
        block = TokenBlock(
            tokens=tokens,
            sentence_lengths=lengths[lengths > 0],
            num_sentences=np.diff(num_kept[[0, *ends]]),
            continues=np.array(chunk.continues),
            goes_on=goes_on,
        )
        num_text_bytes = sum(len(paragraph.encode()) for paragraph in chain.from_iterable(chunk.parts))
        num_unknown = int(np.count_nonzero(tokens == encoder.tokenizer.unknown))
        begins = (name for name, goes_on in zip(chunk.languages, chunk.continues, strict=True) if not goes_on)
        languages = dict(Counter(begins))
        shown = ([text[:_SHOWN_CHARACTERS] for text in texts] for texts in (unsplit, uncut))
        return Encoded(block, num_unknown, num_text_bytes, languages, chunk.bytes_read, *shown)

    def _segments(self, language: str) -> bool:
        """Return whether to segment words in the documents of a language."""
        return self.segmentation is not None and (self.segmentation.everywhere or language == CHINESE)


@lru_cache(maxsize=1)
def _encoder(tokenizer: str) -> TextEncoder:
    # Kept as long as the process, with its cache of words.
    return TextEncoder(load_tokenizer(tokenizer))


def chunks(
    documents: Iterable[Document],
    *,
    language: str,
    tally: Tally,
    take: Callable[[int], bool] | None = None,
) -> Iterator[Chunk]:
    """Collect documents into chunks.

    Args:
        documents: read one after the other.
        language: of all documents; auto to detect Chinese in each.
        tally: counts how far the documents are read.
        take: returns whether to take a document, by its number from 0; by default all are taken.
    """
    chunk = Chunk([], [], [])
    num_characters = 0
    of_document, number = language, -1
    for document in documents:
        number += not document.continues
        if take is not None and not take(number):
            continue
        if not document.continues and language == AUTO:
            of_document = detect_language(document.paragraphs)
        chunk.parts.append(document.paragraphs)
        chunk.languages.append(of_document)
        chunk.continues.append(document.continues)
        num_characters += sum(map(len, document.paragraphs))
        if num_characters >= _CHUNK_CHARACTERS:
            yield replace(chunk, bytes_read=tally.bytes_read)
            chunk, num_characters = Chunk([], [], []), 0
    if chunk.parts:
        yield replace(chunk, bytes_read=tally.bytes_read)
