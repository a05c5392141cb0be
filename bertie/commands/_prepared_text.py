"""The corpora of a pre-training run: prepared by the user, or by the run itself in OUT/prepared.

A run prepares corpora from text files, and when it adds words to the vocabulary of a trained model. OUT/prepared has::

    request.json   the text and settings from which the corpora were made
    words.txt      the added words
    tokenizer/     for text files: the vocabulary learned from them, or that of the model to continue from
    corpus/ dev/   the training corpus, and the held-out documents
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.commands._held_out import is_held_out
from bertie.errors import DataError, SettingsError
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.writing import save_tokenizer

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.tokenizer.tokenizer import Tokenizer

_HELD_OUT_EVERY = 50  # documents
_NUM_SHOWN = 8
_REQUEST, _WORDS, _CORPUS, _DEV, _TOKENIZER = "request.json", "words.txt", "corpus", "dev", "tokenizer"


@dataclass(frozen=True)
class Prepared:
    """The training corpus and the dev corpus of a run."""

    corpus: Corpus
    tokenizer: Tokenizer
    dev: Path | None
    said: str = ""
    """How the run prepared them, for the report; empty if the user did."""


@dataclass(frozen=True)
class Request:
    """The text and vocabulary settings that the user gave."""

    files: Sequence[str]
    """Text files; empty with a corpus."""
    corpus: Path | None
    dev: Path | None
    vocab_size: int | None
    words: str | None
    """Words to add: their number, or a file with one word per line."""
    source: str | None
    """The model to continue from."""

    def __post_init__(self) -> None:
        if bool(self.files) == (self.corpus is not None):
            raise SettingsError("give either text files, such as my_texts/*.txt, or --corpus, but not both")
        if self.files and self.dev is not None:
            raise SettingsError(
                "--dev is a prepared corpus and needs --corpus; with text files, every fiftieth document is held out"
            )
        if self.vocab_size is not None and (not self.files or self.source is not None):
            has = f"{self.source} has" if self.source is not None else f"{self.corpus} was prepared with"
            raise SettingsError(f"{has} a vocabulary already; leave out --vocab-size")
        if self.words is not None and self.source is None:
            raise SettingsError(
                "--add-words extends the vocabulary of a trained model and needs --from; for random weights learn a "
                "vocabulary of your own with: bertie train-tokenizer"
            )


def prepared(request: Request, out: Path, *, resume: bool) -> Prepared:
    """Open the corpora of a run, and prepare them first if the user gave text files or words to add.

    A run that was interrupted, or that failed before its first step, reuses the corpora in OUT/prepared.

    Args:
        request: what the user gave.
        out: the run folder.
        resume: whether the run is resumed.

    Raises:
        SettingsError: a missing corpus or file, an invalid number of words, or a folder in use.
        DataError: files that can't be used, or that differ from those in OUT/prepared.
    """
    from bertie.corpus.shards import Corpus
    from bertie.training.runfolder import PREPARED, refuse_occupied

    user_text = None
    if request.corpus is not None:
        text = Corpus.open(request.corpus, verify=True)  # takes seconds for gigabytes, before a run of hours
        user_text = Prepared(text, load_tokenizer(text.tokenizer_path), request.dev)
        if request.words is None:
            return user_text
    folder = out / PREPARED
    if not resume:
        refuse_occupied(out, but=PREPARED)
    if folder.exists():
        stored = _read_request(folder)
        # A resumed run no longer needs its text files; its settings are compared later.
        facts = _request_facts(request, user_text) if not resume else {}
        if resume and user_text is not None:
            facts = {"of": user_text.corpus.fingerprint}
        if not facts.items() <= stored.items():
            raise DataError(
                f"{folder} was made from other text or with other settings; remove it, or choose another --out"
            )
    else:
        is_new = not out.exists()
        try:
            stored = _prepare(request, user_text, folder)
        except BaseException:
            if is_new:
                with contextlib.suppress(OSError):  # the folder isn't empty
                    out.rmdir()
            raise
    corpus = Corpus.open(folder / _CORPUS, verify=True)
    dev = folder / _DEV
    return Prepared(corpus, load_tokenizer(corpus.tokenizer_path), dev if dev.exists() else None, stored["said"])


def reusing(parameters: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Return parameters of pretrain with which a further run uses the corpora that the run in `out` prepared.

    Args:
        parameters: the parameters of the first run; the result is empty if it prepared no corpora.
        out: its folder.
    """
    from bertie.training.runfolder import PREPARED

    if not parameters["files"] and parameters["add_words"] is None:
        return {}
    folder = out.resolve() / PREPARED
    dev = folder / _DEV
    paths = {"corpus": folder / _CORPUS, "dev": dev if dev.exists() else None}
    return {**paths, "files": (), "add_words": None, "vocab_size": None}


def _request_facts(request: Request, given: Prepared | None) -> dict[str, Any]:
    """Return the facts that determine the corpora."""
    from bertie.files.atomic import sha256_file

    words = request.words
    if words is not None and not _is_number(words) and Path(words).is_file():
        words = sha256_file(words)
    text = _text_identity(request, given)
    return {"of": text, "words": words, "vocab_size": request.vocab_size, "from": request.source}


def _text_identity(request: Request, given: Prepared | None) -> Any:
    """Return the identity of the text: a corpus's fingerprint, or the names, sizes and times of its files."""
    from bertie.corpus.documents import text_files

    if given is not None:
        return given.corpus.fingerprint
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in text_files(request.files)]


def _read_request(folder: Path) -> dict[str, Any]:
    """Read the request from which the corpora of a run were made.

    Raises:
        DataError: it is missing or incomplete.
    """
    from bertie.untrusted import read_json

    stored: Any = read_json(folder / _REQUEST) if (folder / _REQUEST).is_file() else None
    if not isinstance(stored, dict) or not {"of", "said"} <= stored.keys():
        raise DataError(f"{folder} has no complete corpora of a run; choose another --out")
    return stored


def _prepare(request: Request, user_text: Prepared | None, path: Path) -> dict[str, Any]:
    """Write OUT/prepared atomically, and return its request."""
    from bertie.files.atomic import atomic_folder, write_text

    facts = _request_facts(request, user_text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(path) as folder:
        sentences = []
        if user_text is None:
            text_folder = folder if request.words is None else folder / "narrow"
            user_text = _from_text(request, text_folder)
            sentences.append(user_text.said)
        if request.words is not None:
            sentences.append(_widen(request.words, user_text, folder))
            shutil.rmtree(folder / "narrow", ignore_errors=True)
        record = {**facts, "said": " ".join(sentences)}
        write_text(folder / _REQUEST, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    return record


def _from_text(request: Request, folder: Path) -> Prepared:
    """Prepare text files with a new vocabulary or the model's, and hold out every fiftieth document."""
    from bertie.commands.train_tokenizer import VOCAB_SIZE, train_tokenizer
    from bertie.corpus.documents import text_files
    from bertie.corpus.prepare import prepare
    from bertie.formats.huggingface import resolve

    folder.mkdir(exist_ok=True)
    if request.source is None:
        size = VOCAB_SIZE if request.vocab_size is None else request.vocab_size
        train_tokenizer(tuple(request.files), out=folder / _TOKENIZER, vocab_size=size)
    else:
        (folder / _TOKENIZER).mkdir()
        save_tokenizer(load_tokenizer(resolve(request.source)), folder / _TOKENIZER)
    files, tokenizer = [Path(name) for name in request.files], folder / _TOKENIZER
    is_kept_back = partial(is_held_out, every=_HELD_OUT_EVERY)
    corpus = prepare(files, tokenizer=tokenizer, out=folder / _CORPUS, take=lambda number: not is_kept_back(number))
    dev = None
    if corpus.num_documents >= _HELD_OUT_EVERY:
        held_out = prepare(files, tokenizer=tokenizer, out=folder / _DEV, take=is_kept_back)
        dev, held_out_note = folder / _DEV, f"{held_out.num_documents:,} documents were held out for evaluation"
    else:
        held_out_note = f"there are fewer than {_HELD_OUT_EVERY} documents, so none was held out for evaluation"
        progress.note(held_out_note)
    count = len(text_files(files))
    summary = (
        f"{count:,} text files have {corpus.num_tokens:,} tokens with {corpus.vocab_size:,} pieces; {held_out_note}."
    )
    return Prepared(corpus, load_tokenizer(tokenizer), dev, summary)


def _widen(words: str, given: Prepared, folder: Path) -> str:
    """Choose the words, write the corpora with the extended vocabulary, and return a summary."""
    from bertie.corpus.respell import respell
    from bertie.corpus.shards import Corpus
    from bertie.files.atomic import write_text
    from bertie.tokenizer.widen import widened

    chosen = _choose_words(words, given)
    wider = widened(given.tokenizer, chosen)
    write_text(folder / _WORDS, "".join(f"{word}\n" for word in chosen))
    respell(given.corpus, given.tokenizer, wider, folder / _CORPUS)
    if given.dev is not None:
        dev = Corpus.open(given.dev)
        if dev.tokenizer_fingerprint != given.tokenizer.fingerprint:
            raise DataError(f"{given.dev} was prepared with another tokenizer than {given.corpus.path}")
        respell(dev, given.tokenizer, wider, folder / _DEV)
    tokens = Corpus.open(folder / _CORPUS).num_tokens
    return (
        f"{len(chosen):,} whole words were added to the vocabulary, such as {', '.join(chosen[:_NUM_SHOWN])}; with "
        f"them the corpus has {tokens:,} tokens, {1.0 - tokens / given.corpus.num_tokens:.1%} fewer than without."
    )


def _is_number(words: str) -> bool:
    return words.strip().lstrip("-").isdecimal()


def _choose_words(words: str, given: Prepared) -> list[str]:
    """Return the words of the file, or the requested number of the corpus's words that have several pieces."""
    from bertie.corpus.respell import broken_words
    from bertie.tokenizer.widen import read_words

    if not _is_number(words):
        return read_words(Path(words), given.tokenizer)
    count = int(words)
    if count < 1:
        raise SettingsError(f"--add-words must be at least 1, or a file with one word per line; got {words}")
    candidates = broken_words(given.corpus, given.tokenizer, count)
    if not candidates:
        raise DataError("no word of several pieces occurs often enough in the text; leave out --add-words")
    if len(candidates) < count:
        progress.note(f"only {len(candidates):,} words of several pieces occur often enough; these are added")
    return candidates
