"""Prepare a corpus from raw text: documents, sentences and token ids, in several processes and constant memory.

The bytes written don't depend on the number of processes. ``corpus.shards`` describes the files of a corpus folder.
``bertie.sampling`` draws pairs and masks later.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from bertie import progress
from bertie.corpus.documents import Document, Tally, read_documents, text_files
from bertie.corpus.encoding import TextEncoder
from bertie.corpus.plain_text import Separator
from bertie.corpus.segmentation import (
    Segmentation,
    Words,
    has_words,
    segmentation,
    segmenter,
    warn_of_unfound,
)
from bertie.corpus.selection.select import SelectSettings
from bertie.corpus.selection.step import dropped_documents, selecting
from bertie.corpus.sentences import AUTO, CHINESE, Mode, check_language, detect_language, split
from bertie.corpus.shards import DROPPED, TOKENIZER_FOLDER, Corpus, CorpusWriter, TokenBlock
from bertie.corpus.space import check_space
from bertie.errors import DataError, SettingsError
from bertie.files.atomic import atomic_folder
from bertie.files.text import BadUtf8
from bertie.runners.local import available_processes, run
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.writing import save_tokenizer

# Large enough that sending a chunk to another process is cheap, small enough to occupy many processes.
_CHUNK_CHARACTERS = 500_000
_SHOWN_CHARACTERS = 100  # of a text that can't be split
_LEAST_MEGABYTES_PER_PROCESS = 4  # a process takes half a second to start
_OF_WORDS = ("words", "user_dictionary")  # settings that the manifest lists only if words were found


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """How to read text and split it."""

    language: str = AUTO
    """Language of the sentences: en, zh, another code, or auto to detect Chinese in each document."""

    sentences: Mode = "split"
    """``split`` paragraphs into sentences, or ``line`` if each line is one sentence."""

    documents: Separator = "blank-line"
    """What separates documents in .txt files: ``blank-line``, or ``file`` if each file is one document."""

    bad_utf8: BadUtf8 = "stop"
    """``stop`` at bytes that are not UTF-8, or ``replace`` and count them."""

    text_column: str | None = None
    """The column of tables that holds the text; by default detected by its name."""

    words: Words = "auto"
    """Where to segment Chinese words for whole-word masking: ``auto`` (in Chinese documents, if rjieba is installed),
    ``jieba`` (in all documents) or ``none``."""

    user_dictionary: Path | None = None
    """A file with additional Chinese words, one per line."""


@dataclass(frozen=True)
class _Chunk:
    """Some documents, or parts of documents, for one call of another process."""

    parts: list[list[str]]
    languages: list[str]
    continues: list[bool]


@dataclass(frozen=True)
class _Encoded:
    """A chunk as ids, with its counts."""

    block: TokenBlock
    num_unknown: int
    num_text_bytes: int
    unsplit: list[str]
    """Beginnings of the paragraphs that the sentence splitter failed on; each is kept as one sentence."""
    uncut: list[str]
    """Beginnings of the sentences that the word segmenter failed on; each of their characters counts as a word."""


def prepare(
    paths: list[Path],
    *,
    tokenizer: Path,
    out: Path,
    settings: PrepareSettings | None = None,
    num_processes: int | None = None,
    take: Callable[[int], bool] | None = None,
    select: SelectSettings | None = None,
    list_dropped: bool = False,
) -> Corpus:
    """Create a corpus folder from raw text.

    Args:
        paths: files, folders and glob patterns, see ``corpus.documents``.
        tokenizer: folder or file of the tokenizer; its files are copied into the corpus.
        out: the folder to create; it is written atomically.
        settings: how to read text and split it.
        num_processes: number of processes; by default one per processor, fewer for little text.
        take: returns whether to take a document, by its number from 0; by default all are taken.
        select: which documents to drop; not together with `take`.
        list_dropped: whether to list the dropped documents in dropped.jsonl, see `Selection.list_dropped`.

    Returns:
        The new corpus, opened.

    Raises:
        SettingsError: a path, column or language is unknown, ``out`` exists, or the segmenter of Chinese words that
            the settings require isn't installed.
        DataError: a file is damaged, or there is no text.
        ResourceError: the disk is full, or a process was killed.
    """
    settings = settings or PrepareSettings()
    check_language(settings.language)
    files = text_files(paths)
    chosen = _segmentation(settings)
    loaded = load_tokenizer(tokenizer)
    if num_processes is None:
        num_megabytes = sum(path.stat().st_size for path in files) // 10**6
        num_processes = min(available_processes(), 1 + num_megabytes // _LEAST_MEGABYTES_PER_PROCESS)
    with atomic_folder(out) as folder:
        check_space(files, folder, out)
        save_tokenizer(loaded, folder / TOKENIZER_FOLDER)
        tally = Tally()
        with (
            selecting(files, select, asdict(settings), out, num_processes) as selected,
            closing(CorpusWriter(folder, vocab_size=loaded.vocab_size)) as writer,
        ):
            take = take if selected is None else selected.take
            statistics = _write(writer, files, folder / TOKENIZER_FOLDER, settings, chosen, tally, num_processes, take)
            statistics["dropped_documents"] = dropped_documents(statistics, tally, writer, selected)
            if not writer.num_tokens:
                raise DataError(f"no tokens found in {len(files)} files; the first is {files[0]}")
            if selected is not None and list_dropped:
                selected.list_dropped(folder / DROPPED)
            writer.finish(
                {
                    "tokenizer_fingerprint": loaded.fingerprint,
                    "statistics": statistics,
                    "settings": {name: value for name, value in asdict(settings).items() if name not in _OF_WORDS},
                    "sources": [{"path": path, "bytes": size} for path, size in tally.sources],
                }
                | _words_in_manifest(writer, chosen)
                | ({} if selected is None else {"selection": selected.manifest()})
            )
    return Corpus.open(out)


def _write(
    writer: CorpusWriter,
    files: list[Path],
    tokenizer: Path,
    settings: PrepareSettings,
    chosen: Segmentation | None,
    tally: Tally,
    num_processes: int,
    take: Callable[[int], bool] | None,
) -> dict[str, Any]:
    """Write all blocks in order, and return the statistics."""
    num_unknown = num_text_bytes = num_unsplit = num_uncut = 0
    languages: Counter[str] = Counter()
    positions: deque[int] = deque()
    work = _Encode(str(tokenizer), settings.sentences, chosen)
    chunks = _chunks(files, settings, tally, languages, positions, take)
    total = sum(path.stat().st_size for path in files) / 1e6
    shown = 0
    results = closing(run(work, chunks, num_processes=num_processes))
    with progress.bar("Preparing", total=total, unit="MB") as bar, results as encoded_chunks:
        for encoded in encoded_chunks:
            writer.append(encoded.block)
            num_unknown += encoded.num_unknown
            num_text_bytes += encoded.num_text_bytes
            if encoded.unsplit and not num_unsplit:
                progress.warn(
                    f"the sentence splitter failed on a text ({encoded.unsplit[0]!r:.80}); it is kept as one sentence "
                    "(later such texts are only counted)"
                )
            num_unsplit += len(encoded.unsplit)
            if encoded.uncut and not num_uncut:
                progress.warn(
                    f"the word segmenter failed on a sentence ({encoded.uncut[0]!r:.80}); each of its Chinese "
                    "characters counts as a word (later such sentences are only counted)"
                )
            num_uncut += len(encoded.uncut)
            position = positions.popleft()
            bar.advance((position - shown) / 1e6, tokens=f"{writer.num_tokens:,}")
            shown = position
    writer.end_document()
    return {
        "text_bytes": num_text_bytes,
        "documents_by_language": dict(sorted(languages.items())),
        "num_one_sentence_documents": writer.num_one_sentence_documents,
        "longest_sentence": writer.longest_sentence,
        "num_unknown": num_unknown,
        "num_unsplit": num_unsplit,
        "num_replaced": tally.num_replaced,
        "num_wrapped_texts": tally.num_wrapped,
        "documents_read": tally.num_documents + tally.num_empty,
    } | ({"num_unsegmented": num_uncut} if num_uncut else {})


def _segmentation(settings: PrepareSettings) -> Segmentation | None:
    """Decide how to segment Chinese words, before any text is read.

    Raises:
        SettingsError: the settings contradict each other, or the segmenter isn't installed.
        DataError: the user dictionary can't be read.
    """
    if settings.words == "none" and settings.user_dictionary is not None:
        raise SettingsError("--user-dictionary has no effect with --words none; remove one of them")
    chosen = segmentation(settings.words, settings.user_dictionary)
    if chosen is not None:
        warn_of_unfound(chosen)
    return chosen


def _words_in_manifest(writer: CorpusWriter, chosen: Segmentation | None) -> dict[str, Any]:
    """Return the manifest's entry on the segmentation of words; empty if no words were segmented."""
    if chosen is None or not writer.has_words:
        if chosen is not None and chosen.dictionary is not None:
            hint = "" if chosen.everywhere else " in Chinese documents; --words jieba segments all documents"
            progress.warn(f"{chosen.dictionary.path} was not used: no Chinese words were found{hint}")
        return {}
    dictionary = None if chosen.dictionary is None else asdict(chosen.dictionary)
    return {"words": {"segmenter": chosen.name, "everywhere": chosen.everywhere, "user_dictionary": dictionary}}


def _chunks(
    files: list[Path],
    settings: PrepareSettings,
    tally: Tally,
    languages: Counter[str],
    positions: deque[int],
    take: Callable[[int], bool] | None,
) -> Iterator[_Chunk]:
    """Collect documents into chunks; count languages, and append the bytes read for each chunk to `positions`."""
    documents = read_documents(
        files,
        bad_utf8=settings.bad_utf8,
        separator=settings.documents,
        text_column=settings.text_column,
        join_lines=settings.sentences == "split",
        tally=tally,
    )
    chunk = _Chunk([], [], [])
    num_characters = 0
    language, number = settings.language, -1
    for document in documents:
        number += not document.continues
        if take is not None and not take(number):
            continue
        if not document.continues:
            language = _language(document, settings)
            languages[language] += 1
        chunk.parts.append(document.paragraphs)
        chunk.languages.append(language)
        chunk.continues.append(document.continues)
        num_characters += sum(map(len, document.paragraphs))
        if num_characters >= _CHUNK_CHARACTERS:
            positions.append(tally.bytes_read)
            yield chunk
            chunk, num_characters = _Chunk([], [], []), 0
    if chunk.parts:
        positions.append(tally.bytes_read)
        yield chunk


def _language(document: Document, settings: PrepareSettings) -> str:
    return detect_language(document.paragraphs) if settings.language == AUTO else settings.language


@dataclass(frozen=True)
class _Encode:
    """The work of one process: it turns a chunk of documents into a block of ids."""

    tokenizer: str
    mode: Mode
    segmentation: Segmentation | None = None

    def __call__(self, chunk: _Chunk) -> _Encoded:
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
        shown = ([text[:_SHOWN_CHARACTERS] for text in texts] for texts in (unsplit, uncut))
        return _Encoded(block, num_unknown, num_text_bytes, *shown)

    def _segments(self, language: str) -> bool:
        """Return whether to segment words in the documents of a language."""
        return self.segmentation is not None and (self.segmentation.everywhere or language == CHINESE)


@lru_cache(maxsize=1)
def _encoder(tokenizer: str) -> TextEncoder:
    # Kept as long as the process, with its cache of words.
    return TextEncoder(load_tokenizer(tokenizer))
