"""Whole words added to the vocabulary of a model that goes on learning; no command.

The run's own corpora lie in OUT/prepared: those that were given, cut by the wider vocabulary. Beside them words.txt
lists the words.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bertie import progress
from bertie.errors import DataError, SettingsError

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.tokenizer.tokenizer import Tokenizer

_SHOWN = 8
_SOURCE, _ASKED = "respelled_from", "added_words"


@dataclass(frozen=True)
class Prepared:
    """What a run learns from and is measured on."""

    corpus: Corpus
    tokenizer: Tokenizer
    dev: Path | None
    said: str = ""
    """What was made of the corpora that were given, a sentence."""


def prepared(
    corpus: Path, dev: Path | None, words: str | None, source: str | None, out: Path, *, resume: bool
) -> Prepared:
    """Open what a run learns from; with `words`, add them to the vocabulary and cut the corpora by it.

    A run that was interrupted, or that failed before its first step, finds its corpora in OUT/prepared.

    Args:
        corpus: prepared text.
        dev: what is measured on, if anything.
        words: how many, or a file with a word a line; None for none.
        source: the model to go on from.
        out: of the run.
        resume: whether it goes on.

    Raises:
        SettingsError: no corpus, random weights, a number that is none, no file, or a folder that is in use.
        DataError: a broken corpus, a file of words that can't be used, or other words or corpora than before.
    """
    from bertie.corpus.shards import Corpus
    from bertie.tokenizer.tokenizer import Tokenizer
    from bertie.training.runfolder import PREPARED, refuse_occupied

    text = Corpus.open(corpus, verify=True)  # seconds for gigabytes, before a run of hours
    given = Prepared(text, Tokenizer.load(text.tokenizer_path), dev)
    if words is None:
        return given
    if source is None:
        raise SettingsError(
            "--add-words widens the vocabulary of a trained model, given by --from; for random weights learn a "
            "vocabulary of your own: bertie train-tokenizer"
        )
    place = out / PREPARED
    if not resume:
        refuse_occupied(out, but=PREPARED)
    if not place.exists():
        _prepare(words, given, place)
    wide = Corpus.open(place / "corpus", verify=True)
    made = [wide.manifest.get(name) for name in (_SOURCE, _ASKED)]
    if made[0] != text.fingerprint or not (resume or made[1] == _asked(words)):
        raise DataError(
            f"{place} was made of another corpus than {corpus}, or with other words; remove it, or choose another --out"
        )
    tokenizer = Tokenizer.load(wide.tokenizer_path)
    return Prepared(wide, tokenizer, place / "dev" if dev is not None else None, _said(given, wide, tokenizer))


def _asked(words: str) -> str:
    """Tell what was asked for: a number, or the content of a file."""
    from bertie.files.atomic import sha256_file

    return words.strip() if words.strip().isdecimal() else sha256_file(words)


def _prepare(words: str, given: Prepared, place: Path) -> None:
    """Choose the words and write OUT/prepared, whole or not at all."""
    from bertie.corpus.respell import respell
    from bertie.corpus.shards import Corpus
    from bertie.files.atomic import atomic_folder, write_text
    from bertie.tokenizer.widen import widened

    chosen = _chosen(words, given)
    wider = widened(given.tokenizer, chosen)
    place.parent.mkdir(parents=True, exist_ok=True)
    with atomic_folder(place) as folder:
        write_text(folder / "words.txt", "".join(f"{word}\n" for word in chosen))
        about = {_SOURCE: given.corpus.fingerprint, _ASKED: _asked(words)}
        respell(given.corpus, given.tokenizer, wider, folder / "corpus", about=about)
        if given.dev is not None:
            dev = Corpus.open(given.dev)
            if dev.tokenizer_fingerprint != given.tokenizer.fingerprint:
                raise DataError(f"{given.dev} was prepared with another tokenizer than {given.corpus.path}")
            respell(dev, given.tokenizer, wider, folder / "dev", about={_SOURCE: dev.fingerprint})


def _chosen(words: str, given: Prepared) -> list[str]:
    """Return the words of the file, or as many as asked for of those that the corpus breaks into most pieces."""
    from bertie.corpus.respell import broken_words
    from bertie.tokenizer.widen import read_words

    try:
        count = int(words)
    except ValueError:
        return read_words(Path(words), given.tokenizer)
    if count < 1:
        raise SettingsError(f"--add-words must be at least 1, or a file with a word a line; got {words}")
    found = broken_words(given.corpus, given.tokenizer, count)
    if not found:
        raise DataError(
            f"{given.corpus.path} has no word of several pieces that occurs often enough; leave --add-words out"
        )
    if len(found) < count:
        progress.note(f"only {len(found):,} words of several pieces occur often enough; these are added")
    return found


def _said(given: Prepared, corpus: Corpus, tokenizer: Tokenizer) -> str:
    added = tokenizer.tokens[given.tokenizer.vocab_size :]
    fewer = 1.0 - corpus.num_tokens / given.corpus.num_tokens
    such = ", ".join(added[:_SHOWN])
    return (
        f"{len(added):,} whole words were added to the vocabulary, such as {such}; with them the corpus has "
        f"{corpus.num_tokens:,} tokens, {fewer:.1%} fewer than without."
    )
