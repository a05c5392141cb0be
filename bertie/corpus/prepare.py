"""Prepare a corpus from raw text: documents, sentences and token ids, in several processes and constant memory.

The bytes written don't depend on the number of processes. ``corpus.shards`` describes the files of a corpus folder.
``bertie.sampling`` draws pairs and masks later.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.corpus.chunks import Encode, Encoded, chunks
from bertie.corpus.documents import Tally, read_documents, text_files
from bertie.corpus.plain_text import Separator
from bertie.corpus.segmentation import Segmentation, Words, segmentation, warn_of_unfound
from bertie.corpus.selection.select import SelectSettings
from bertie.corpus.selection.step import Selecting, dropped_documents, selecting
from bertie.corpus.sentences import AUTO, Mode, check_language
from bertie.corpus.shards import DROPPED, TOKENIZER_FOLDER, Corpus, CorpusWriter
from bertie.corpus.space import check_space
from bertie.errors import DataError, SettingsError
from bertie.files.atomic import atomic_folder
from bertie.files.text import BadUtf8
from bertie.runners._place import Place
from bertie.runners.local import available_processes
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.writing import save_tokenizer

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

    def reading(self) -> dict[str, Any]:
        """Return the arguments of ``read_documents``."""
        return {
            "bad_utf8": self.bad_utf8,
            "separator": self.documents,
            "text_column": self.text_column,
            "join_lines": self.sentences == "split",
        }


def prepare(
    paths: list[Path],
    *,
    tokenizer: Path,
    out: Path,
    settings: PrepareSettings | None = None,
    num_processes: int | None = None,
    place: Place | None = None,
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
        place: where to run; by default processes of this machine.
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
    chosen = chosen_segmentation(settings)
    loaded = load_tokenizer(tokenizer)
    with atomic_folder(out) as folder:
        check_space(files, folder, out)
        save_tokenizer(loaded, folder / TOKENIZER_FOLDER)
        tally = Tally()
        number = processes_for(files, num_processes)
        with selecting(files, select, settings.reading(), out, number) as selected:
            take = take if selected is None else selected.take
            documents = read_documents(files, **settings.reading(), tally=tally)
            encode = Encode(str((folder / TOKENIZER_FOLDER).resolve()), settings.sentences, chosen)
            items = chunks(documents, language=settings.language, tally=tally, take=take)
            with closing((place or Place()).run(encode, items, num_processes=number)) as encoded:
                write_corpus(
                    folder,
                    encoded,
                    fingerprint=loaded.fingerprint,
                    vocab_size=loaded.vocab_size,
                    settings=asdict(settings),
                    words=words_entry(chosen),
                    read=lambda: tally,
                    selected=selected,
                    total=sum(path.stat().st_size for path in files) / 1e6,
                    shown=f"{len(files)} files; the first is {files[0]}",
                )
            if selected is not None and list_dropped:
                selected.list_dropped(folder / DROPPED)
    return Corpus.open(out)


def processes_for(files: list[Path], num_processes: int | None) -> int:
    """Return the number of processes: the given one, or one per processor and fewer for little text."""
    if num_processes is not None:
        return num_processes
    num_megabytes = sum(path.stat().st_size for path in files) // 10**6
    return min(available_processes(), 1 + num_megabytes // _LEAST_MEGABYTES_PER_PROCESS)


def write_corpus(
    folder: Path,
    encoded_chunks: Iterable[Encoded],
    *,
    fingerprint: str,
    vocab_size: int,
    settings: Mapping[str, Any],
    words: Mapping[str, Any] | None,
    read: Callable[[], Tally],
    total: float,
    shown: str,
    selected: Selecting | None = None,
) -> None:
    """Write all files of a corpus but the tokenizer's.

    Args:
        folder: an empty folder, or one with the tokenizer.
        encoded_chunks: the chunks in order.
        fingerprint: of the tokenizer.
        vocab_size: of the tokenizer.
        settings: the fields of `PrepareSettings`.
        words: see `words_entry`.
        read: called after the last chunk; returns what was read.
        total: size of the files in megabytes, for progress.
        shown: names the files in errors.
        selected: the selection of documents, if any.

    Raises:
        DataError: there are no tokens.
        ResourceError: the disk is full.
    """
    writer = CorpusWriter(folder, vocab_size=vocab_size)
    try:
        statistics = _write(writer, encoded_chunks, total)
        tally = read()
        statistics |= {
            "num_replaced": tally.num_replaced,
            "num_wrapped_texts": tally.num_wrapped,
            "documents_read": tally.num_documents + tally.num_empty,
        }
        statistics["dropped_documents"] = dropped_documents(statistics, tally, writer, selected)
        if not writer.num_tokens:
            raise DataError(f"no tokens found in {shown}")
        writer.finish(
            {
                "tokenizer_fingerprint": fingerprint,
                "statistics": statistics,
                "settings": {name: value for name, value in settings.items() if name not in _OF_WORDS},
                "sources": [{"path": path, "bytes": size} for path, size in tally.sources],
            }
            | _words_in_manifest(writer, words)
            | ({} if selected is None else {"selection": selected.manifest()})
        )
    finally:
        writer.close()


def _write(writer: CorpusWriter, encoded_chunks: Iterable[Encoded], total: float) -> dict[str, Any]:
    """Write all blocks in order, and return the statistics."""
    num_unknown = num_text_bytes = num_unsplit = num_uncut = shown = 0
    languages: Counter[str] = Counter()
    with progress.bar("Preparing", total=total, unit="MB") as bar:
        for encoded in encoded_chunks:
            writer.append(encoded.block)
            num_unknown += encoded.num_unknown
            num_text_bytes += encoded.num_text_bytes
            languages.update(encoded.languages)
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
            bar.advance((encoded.bytes_read - shown) / 1e6, tokens=f"{writer.num_tokens:,}")
            shown = encoded.bytes_read
    writer.end_document()
    return {
        "text_bytes": num_text_bytes,
        "documents_by_language": dict(sorted(languages.items())),
        "num_one_sentence_documents": writer.num_one_sentence_documents,
        "longest_sentence": writer.longest_sentence,
        "num_unknown": num_unknown,
        "num_unsplit": num_unsplit,
    } | ({"num_unsegmented": num_uncut} if num_uncut else {})


def chosen_segmentation(settings: PrepareSettings) -> Segmentation | None:
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


def words_entry(chosen: Segmentation | None) -> dict[str, Any] | None:
    """Return the manifest's entry on the segmentation of words; None without segmentation."""
    if chosen is None:
        return None
    dictionary = None if chosen.dictionary is None else asdict(chosen.dictionary)
    return {"segmenter": chosen.name, "everywhere": chosen.everywhere, "user_dictionary": dictionary}


def _words_in_manifest(writer: CorpusWriter, words: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the manifest's entry on the segmentation of words; empty if no words were segmented."""
    if words is None or not writer.has_words:
        if words is not None and words["user_dictionary"] is not None:
            hint = "" if words["everywhere"] else " in Chinese documents; --words jieba segments all documents"
            progress.warn(f"{words['user_dictionary']['path']} was not used: no Chinese words were found{hint}")
        return {}
    return {"words": words}
