"""What a pre-training run learns from: a corpus that was prepared, or one that the run makes for itself; no command.

A run makes its own corpora of text files, and where words are added to the vocabulary of a trained model. They lie in
OUT/prepared::

    request.json   what they were made of
    words.txt      words that were added
    tokenizer/     of text files: the vocabulary learned from them, or that of the model to go on from
    corpus/ dev/   what is learned from, and documents that are held out
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

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.tokenizer.tokenizer import Tokenizer

_HELD_OUT_EVERY = 50  # documents
_SHOWN = 8
_REQUEST, _WORDS, _CORPUS, _DEV, _TOKENIZER = "request.json", "words.txt", "corpus", "dev", "tokenizer"


@dataclass(frozen=True)
class Prepared:
    """What a run learns from and is measured on."""

    corpus: Corpus
    tokenizer: Tokenizer
    dev: Path | None
    said: str = ""
    """What was made of what was given, for the report."""


@dataclass(frozen=True)
class Request:
    """What a user gave to learn from."""

    files: Sequence[str]
    """Text; empty where there is a corpus."""
    corpus: Path | None
    dev: Path | None
    vocab_size: int | None
    words: str | None
    """Words to add: how many, or a file with a word a line."""
    source: str | None
    """The model to go on from."""

    def __post_init__(self) -> None:
        if bool(self.files) == (self.corpus is not None):
            raise SettingsError("give either text files, such as my_texts/*.txt, or --corpus, but not both")
        if self.files and self.dev is not None:
            raise SettingsError(
                "--dev is a prepared corpus and goes with --corpus; of text files every fiftieth document is held out"
            )
        if self.vocab_size is not None and (not self.files or self.source is not None):
            has = f"{self.source} has" if self.source is not None else f"{self.corpus} was prepared with"
            raise SettingsError(f"{has} a vocabulary already; leave --vocab-size out")
        if self.words is not None and self.source is None:
            raise SettingsError(
                "--add-words widens the vocabulary of a trained model, given by --from; for random weights learn a "
                "vocabulary of your own: bertie train-tokenizer"
            )


def prepared(request: Request, out: Path, *, resume: bool) -> Prepared:
    """Open what a run learns from, and make it first where that is the run's own work.

    A run that was interrupted, or that failed before its first step, finds it in OUT/prepared.

    Args:
        request: of the user.
        out: of the run.
        resume: whether it goes on.

    Raises:
        SettingsError: no corpus, no file, a number of words that is none, or a folder that is in use.
        DataError: files that can't be used, or others than before.
    """
    from bertie.corpus.shards import Corpus
    from bertie.tokenizer.tokenizer import Tokenizer
    from bertie.training.runfolder import PREPARED, refuse_occupied

    given = None
    if request.corpus is not None:
        text = Corpus.open(request.corpus, verify=True)  # seconds for gigabytes, before a run of hours
        given = Prepared(text, Tokenizer.load(text.tokenizer_path), request.dev)
        if request.words is None:
            return given
    place = out / PREPARED
    if not resume:
        refuse_occupied(out, but=PREPARED)
    if place.exists():
        made = _made(place)
        # A run that goes on needs its text files no more; that its settings are the same is checked later.
        wanted = _facts(request, given) if not resume else {} if given is None else {"of": given.corpus.fingerprint}
        if not wanted.items() <= made.items():
            raise DataError(
                f"{place} was made of other text or with other settings; remove it, or choose another --out"
            )
    else:
        is_new = not out.exists()
        try:
            made = _make(request, given, place)
        except BaseException:
            if is_new:
                with contextlib.suppress(OSError):  # it holds something
                    out.rmdir()
            raise
    corpus = Corpus.open(place / _CORPUS, verify=True)
    dev = place / _DEV
    return Prepared(corpus, Tokenizer.load(corpus.tokenizer_path), dev if dev.exists() else None, made["said"])


def made_by(parameters: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Return parameters of pretrain for a further run, on the corpora that the run in `out` has made for itself.

    Args:
        parameters: of the first run; nothing comes back where it made none.
        out: its folder.
    """
    from bertie.training.runfolder import PREPARED

    if not parameters["files"] and parameters["add_words"] is None:
        return {}
    place = out.resolve() / PREPARED
    dev = place / _DEV
    said = {"corpus": place / _CORPUS, "dev": dev if dev.exists() else None}
    return {**said, "files": (), "add_words": None, "vocab_size": None}


def _facts(request: Request, given: Prepared | None) -> dict[str, Any]:
    """Collect what decides about the corpora."""
    from bertie.files.atomic import sha256_file

    words = request.words
    if words is not None and not _is_number(words) and Path(words).is_file():
        words = sha256_file(words)
    text = _text(request, given)
    return {"of": text, "words": words, "vocab_size": request.vocab_size, "from": request.source}


def _text(request: Request, given: Prepared | None) -> Any:
    """Tell one text from another: by a corpus' fingerprint, or by names, sizes and times of files."""
    from bertie.files.text import expand

    if given is not None:
        return given.corpus.fingerprint
    return [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in expand(request.files)]


def _made(place: Path) -> dict[str, Any]:
    """Read what the corpora of a run were made of.

    Raises:
        DataError: they are not whole.
    """
    from bertie.untrusted import read_json

    found: Any = read_json(place / _REQUEST) if (place / _REQUEST).is_file() else None
    if not isinstance(found, dict) or not {"of", "said"} <= found.keys():
        raise DataError(f"{place} holds no corpora that a run has made; choose another --out")
    return found


def _make(request: Request, given: Prepared | None, place: Path) -> dict[str, Any]:
    """Write OUT/prepared, whole or not at all; return what it was made of."""
    from bertie.files.atomic import atomic_folder, write_text

    facts = _facts(request, given)
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(place) as folder:
        said = []
        if given is None:
            plain = folder if request.words is None else folder / "narrow"
            given = _from_text(request, plain)
            said.append(given.said)
        if request.words is not None:
            said.append(_widen(request.words, given, folder))
            shutil.rmtree(folder / "narrow", ignore_errors=True)
        made = {**facts, "said": " ".join(said)}
        write_text(folder / _REQUEST, json.dumps(made, indent=1, ensure_ascii=False) + "\n")
    return made


def _from_text(request: Request, folder: Path) -> Prepared:
    """Learn a vocabulary, or take the model's, and cut text files by it; every fiftieth document is held out."""
    from bertie.commands.train_tokenizer import VOCAB_SIZE, train_tokenizer
    from bertie.corpus.prepare import prepare
    from bertie.files.text import expand
    from bertie.formats.huggingface import resolve
    from bertie.tokenizer.tokenizer import Tokenizer

    folder.mkdir(exist_ok=True)
    if request.source is None:
        size = VOCAB_SIZE if request.vocab_size is None else request.vocab_size
        train_tokenizer(tuple(request.files), out=folder / _TOKENIZER, vocab_size=size)
    else:
        (folder / _TOKENIZER).mkdir()
        Tokenizer.load(resolve(request.source)).save(folder / _TOKENIZER)
    files, tokenizer = [Path(name) for name in request.files], folder / _TOKENIZER
    kept_back = partial(is_held_out, every=_HELD_OUT_EVERY)
    corpus = prepare(files, tokenizer=tokenizer, out=folder / _CORPUS, take=lambda number: not kept_back(number))
    dev = None
    if corpus.num_documents >= _HELD_OUT_EVERY:
        held = prepare(files, tokenizer=tokenizer, out=folder / _DEV, take=kept_back)
        dev, kept = folder / _DEV, f"{held.num_documents:,} documents were held out to measure on"
    else:
        kept = f"there are fewer than {_HELD_OUT_EVERY} documents, so none was held out to measure on"
        progress.note(kept)
    count = len(expand(files))
    said = f"{count:,} files of text became {corpus.num_tokens:,} tokens of {corpus.vocab_size:,} pieces; {kept}."
    return Prepared(corpus, Tokenizer.load(tokenizer), dev, said)


def _widen(words: str, given: Prepared, folder: Path) -> str:
    """Choose the words, and write the corpora as the wider vocabulary cuts them; say what came of it."""
    from bertie.corpus.respell import respell
    from bertie.corpus.shards import Corpus
    from bertie.files.atomic import write_text
    from bertie.tokenizer.widen import widened

    chosen = _chosen(words, given)
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
        f"{len(chosen):,} whole words were added to the vocabulary, such as {', '.join(chosen[:_SHOWN])}; with them "
        f"the corpus has {tokens:,} tokens, {1.0 - tokens / given.corpus.num_tokens:.1%} fewer than without."
    )


def _is_number(words: str) -> bool:
    return words.strip().lstrip("-").isdecimal()


def _chosen(words: str, given: Prepared) -> list[str]:
    """Return the words of the file, or as many as asked for of those that the corpus breaks into most pieces."""
    from bertie.corpus.respell import broken_words
    from bertie.tokenizer.widen import read_words

    if not _is_number(words):
        return read_words(Path(words), given.tokenizer)
    count = int(words)
    if count < 1:
        raise SettingsError(f"--add-words must be at least 1, or a file with a word a line; got {words}")
    found = broken_words(given.corpus, given.tokenizer, count)
    if not found:
        raise DataError("the text has no word of several pieces that occurs often enough; leave --add-words out")
    if len(found) < count:
        progress.note(f"only {len(found):,} words of several pieces occur often enough; these are added")
    return found
