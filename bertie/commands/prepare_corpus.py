"""Prepare a corpus for pre-training: turn raw text into sentences of token ids.

The work is done in ``bertie.corpus``.
"""

import shlex
import time
from pathlib import Path
from typing import Any, Literal

from bertie import progress
from bertie.commands._slices import changed, slice_report
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.corpus.prepare import PrepareSettings, prepare
from bertie.corpus.segmentation import is_installed
from bertie.corpus.selection.select import DuplicatesSetting, LeaksSetting, SelectSettings
from bertie.corpus.sentences import CHINESE
from bertie.corpus.shards import Corpus
from bertie.corpus.slices import COMMAND, prepare_slice
from bertie.errors import DataError, SettingsError
from bertie.runners._place import Place
from bertie.runners.slice import Slice, command_line

_PLAN_LENGTH = 128
_MANY_UNKNOWN = 0.05
_MANY_ONE_SENTENCE_DOCUMENTS = 0.5


def prepare_corpus(
    files: Positional[tuple[Path, ...]],
    *,
    tokenizer: Path,
    out: Path,
    language: str = "auto",
    sentences: Literal["split", "line"] = "split",
    documents: Literal["blank-line", "file"] = "blank-line",
    bad_utf8: Literal["stop", "replace"] = "stop",
    text_column: str | None = None,
    words: Literal["auto", "none", "jieba"] = "auto",
    user_dictionary: Path | None = None,
    duplicates: DuplicatesSetting = "keep",
    similarity: float = 0.7,
    only_languages: tuple[str, ...] = (),
    test_sets: tuple[Path, ...] = (),
    leaks: LeaksSetting = "report",
    list_dropped: bool = False,
    processes: int | None = None,
    runner: Literal["local", "slice", "ray"] = "local",
    index: int | None = None,
    of: int | None = None,
    address: str | None = None,
) -> Report:
    """Turn raw text into a corpus of sentences as token ids, ready for pretrain.

    Args:
        files: .txt files and tables (.csv, .jsonl, .parquet, ...), also compressed as .gz, .xz or .zst; folders; glob
            patterns.
        tokenizer: folder or file of the tokenizer.
        out: folder to write; must not exist.
        language: en, zh or another language code; auto detects Chinese in each document.
        sentences: split (paragraphs are split into sentences) or line (each line is a sentence).
        documents: what separates documents in .txt files: blank-line, or file (each file is one document, and blank
            lines separate its paragraphs).
        bad_utf8: stop at bytes that are not UTF-8, or replace each broken sequence and count it.
        text_column: column of tables that holds the text; detected by its name when not given.
        words: how to mark Chinese words, so that pretrain can mask whole words: auto (in Chinese documents, if rjieba
            is installed), jieba (in documents of any language) or none.
        user_dictionary: file with your own Chinese words, one per line, optionally followed by a frequency.
        duplicates: keep; exact (drop a document with the same text as an earlier one, whatever their case, white space
            and Unicode form); or near (drop similar ones, too).
        similarity: the least share of common runs of five words that makes two documents near duplicates.
        only_languages: codes of the languages to keep, such as en zh; documents in others are dropped.
        test_sets: tables whose rows to look for in the documents.
        leaks: report the rows of test sets that occur in documents, or also drop these documents.
        list_dropped: list the documents dropped for these reasons in OUT/dropped.jsonl: file, line, reason, and the
            copy that was kept.
        processes: number of processes, without effect on the result; one per core when not given, fewer for little
            text.
        runner: local (processes of this machine), slice (one of several parts, by --index and --of; bertie seal joins
            them) or ray (a Ray cluster); without effect on the result.
        index: which slice, from 0; by default as Slurm or Kubernetes numbers the jobs of an array.
        of: number of slices; by default as Slurm sets it.
        address: the Ray cluster: auto, or HOST:PORT; a new one of this machine when not given.

    Returns:
        Counts, speed, and the share of next-sentence pairs that must be random.
    """
    settings = PrepareSettings(
        language=language,
        sentences=sentences,
        documents=documents,
        bad_utf8=bad_utf8,
        text_column=text_column,
        words=words,
        user_dictionary=user_dictionary,
    )
    select = SelectSettings(
        duplicates=duplicates, similarity=similarity, languages=only_languages, test_sets=test_sets, leaks=leaks
    )
    place = Place(runner=runner, index=index, of=of, address=address)
    place.check()
    started = time.perf_counter()
    if runner == "slice":
        if select.selects or list_dropped:
            raise SettingsError(
                "slices can't drop documents, because each is compared with all others; leave out --duplicates, "
                "--only-languages, --test-sets and --list-dropped, or prepare all at once, without --runner slice"
            )
        chosen = Slice.chosen(index, of)
        flags = {"tokenizer": tokenizer, "out": out, **changed(settings), "processes": processes}
        is_new = prepare_slice(
            list(files),
            tokenizer=tokenizer,
            out=out,
            settings=settings,
            place=chosen,
            typed=command_line(COMMAND, files, flags),
            num_processes=processes,
        )
        return slice_report(out, chosen, time.perf_counter() - started, is_new=is_new)
    corpus = prepare(
        list(files),
        tokenizer=tokenizer,
        out=out,
        settings=settings,
        num_processes=processes,
        place=place,
        select=select,
        list_dropped=list_dropped,
    )
    return corpus_report(corpus, time.perf_counter() - started, words=words)


def corpus_report(corpus: Corpus, seconds: float, *, words: str) -> Report:
    """Return the figures of a new corpus, after warnings about what is unusual in it.

    Args:
        corpus: the corpus.
        seconds: how long it took to write it.
        words: the setting of this name.
    """
    values, out = _figures(corpus, seconds), corpus.path
    _warn(corpus, values, words)
    quoted_out = shlex.quote(str(out))
    return Report(
        title=f"Corpus {out}",
        values=values,
        next_command=f"bertie pretrain --corpus {quoted_out} --budget 20m --out out/model",
    )


def _figures(corpus: Corpus, seconds: float) -> dict[str, Any]:
    statistics = corpus.manifest["statistics"]
    return {
        "documents": corpus.num_documents,
        "dropped_documents": statistics["dropped_documents"],
        "documents_by_language": statistics["documents_by_language"],
        "sentences": corpus.num_sentences,
        "tokens": corpus.num_tokens,
        "longest_sentence": statistics["longest_sentence"],
        "one_sentence_document_share": statistics["num_one_sentence_documents"] / corpus.num_documents,
        "random_next_share": _random_next_share(corpus),
        "unknown_rate": statistics["num_unknown"] / corpus.num_tokens,
        "replaced_byte_sequences": statistics["num_replaced"],
        "text_megabytes": statistics["text_bytes"] / 1e6,
        "seconds": seconds,
        "megabytes_per_second": statistics["text_bytes"] / 1e6 / seconds,
        "tokens_per_second": corpus.num_tokens / seconds,
        "fingerprint": corpus.fingerprint,
        **_leaks(corpus),
        **({"words_by": corpus.manifest["words"]["segmenter"]} if corpus.has_words else {}),
    }


def _leaks(corpus: Corpus) -> dict[str, Any]:
    """Return what was found of the test sets: a table of the sets, and one of examples."""
    found = corpus.manifest.get("selection", {}).get("test_sets", [])
    examples = [{"test_set": one["path"], **example} for one in found for example in one["examples"]]
    sets = [{name: value for name, value in one.items() if name != "examples"} for one in found]
    return {name: rows for name, rows in {"test_sets": sets, "leaks": examples}.items() if rows}


def _random_next_share(corpus: Corpus) -> float | None:
    """Return the share of random pairs: half of the chunks, and all chunks of a single sentence; None without pairs."""
    from bertie.sampling.plan import pair_plan

    try:
        return float(pair_plan(corpus, seed=0, epoch=0, length=_PLAN_LENGTH).labels.mean())
    except DataError as error:
        # The corpus can still be used for objectives without pairs.
        progress.warn(str(error))
        return None


def _warn(corpus: Corpus, values: dict[str, Any], words: str) -> None:
    by_blank_line = corpus.manifest["settings"]["documents"] == "blank-line"
    share = values["one_sentence_document_share"]
    if share > _MANY_ONE_SENTENCE_DOCUMENTS:
        hint = "; if each .txt file is one document, use --documents file" if by_blank_line else ""
        progress.warn(f"{share:.0%} of the documents have a single sentence and so no true sentence pair{hint}")
    if values["unknown_rate"] > _MANY_UNKNOWN:
        progress.warn(f"{values['unknown_rate']:.1%} of the tokens are unknown: is this tokenizer for this language?")
    if words == "auto" and CHINESE in values["documents_by_language"] and not is_installed():
        progress.note(
            "Chinese words are not marked, so whole-word masking will mask single characters; to mark words run: "
            "pip install 'bertie[zh]', then prepare the corpus again"
        )
