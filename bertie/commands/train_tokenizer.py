"""Learn a WordPiece vocabulary from text files."""

import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import progress
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError
from bertie.tokenizer.writing import save_tokenizer

if TYPE_CHECKING:
    from bertie.tokenizer.tokenizer import Tokenizer

VOCAB_SIZE = 8192
_SAMPLE_CHARACTERS = 1_000_000
_CHARACTERS_CHECKED = 1_000_000  # the first characters decide whether vowel signs are kept
_MANY_SIGNS = 0.01


def train_tokenizer(
    files: Positional[tuple[str, ...]],
    *,
    out: Path,
    vocab_size: int = VOCAB_SIZE,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    min_frequency: int = 2,
    alphabet_limit: int | None = None,
    bad_utf8: Literal["stop", "replace"] = "stop",
    text_column: str | None = None,
) -> Report:
    """Learn a WordPiece vocabulary from text files.

    Args:
        files: text files, folders or globs.
        out: folder for vocab.txt, tokenizer.json and their settings; must not exist.
        vocab_size: number of pieces to learn, including special tokens; 8,192 by default. Predicting tokens takes more
            time with a larger vocabulary; BERT has 30,522.
        lowercase: lower-case all text (as bert-base-uncased) or not (as the cased models).
        strip_accents: drop accents; by default only with lower-casing, and not in scripts whose vowels are marks.
        min_frequency: lowest frequency of a merge.
        alphabet_limit: largest number of characters that may become pieces, the most frequent first.
        bad_utf8: stop at bytes that are not UTF-8, or replace them.
        text_column: column of tables that holds the text; detected when not given.

    Returns:
        The size of the vocabulary, and its coverage of a sample of the text.
    """
    from bertie.corpus.documents import read_documents
    from bertie.files.atomic import atomic_folder, sha256_file
    from bertie.tokenizer.marks import count_vowel_signs
    from bertie.tokenizer.train import train

    if out.exists():
        raise SettingsError(f"--out {out} exists; remove it or choose another folder")
    started = time.monotonic()
    sample: list[str] = []
    counted = 0

    signs = 0

    def paragraphs() -> Iterator[str]:
        nonlocal counted, signs
        for document in read_documents(files, bad_utf8=bad_utf8, text_column=text_column):
            for paragraph in document.paragraphs:
                if counted < _SAMPLE_CHARACTERS:
                    sample.append(paragraph)
                counted += len(paragraph)
                signs += count_vowel_signs(paragraph)
                bar.advance(len(paragraph) / 1e6)
                yield paragraph

    with progress.bar("Reading", unit="million characters") as bar:
        texts, first_texts = paragraphs(), []
        while counted < _CHARACTERS_CHECKED and (text := next(texts, None)) is not None:
            first_texts.append(text)
        if strip_accents is None and lowercase and _keeps_signs(signs, counted):
            strip_accents = False
        tokenizer = train(
            chain(first_texts, texts),
            vocab_size=vocab_size,
            lowercase=lowercase,
            strip_accents=strip_accents,
            min_frequency=min_frequency,
            alphabet_limit=alphabet_limit,
        )
    if signs and (lowercase if strip_accents is None else strip_accents):
        progress.warn(
            f"{signs:,} vowel signs of scripts such as Devanagari or Thai were dropped with the accents, so that "
            "different words become the same; keep them with --no-strip-accents"
        )
    with atomic_folder(out) as folder:
        save_tokenizer(tokenizer, folder)
    values = {
        "folder": str(out),
        "pieces": tokenizer.vocab_size,
        "characters_read": counted,
        "seconds": round(time.monotonic() - started, 1),
        **_coverage(tokenizer, sample),
        "sha256": sha256_file(out / "vocab.txt"),
    }
    return Report(
        title=f"A vocabulary of {tokenizer.vocab_size:,} pieces",
        values=values,
        next_command=f"bertie prepare-corpus {' '.join(files)} --tokenizer {out} --out {out.parent / 'corpus'}",
    )


def _coverage(tokenizer: "Tokenizer", sample: list[str]) -> dict[str, Any]:
    """Return the pieces per word and the share of unknown tokens in a sample."""
    ids = tokenizer.encode_batch(sample)
    pieces = sum(len(row) for row in ids)
    words = sum(len(text.split()) for text in sample)
    return {
        "pieces_per_word": round(pieces / max(1, words), 3),
        "unknown_share": round(sum(row.count(tokenizer.unknown) for row in ids) / max(1, pieces), 6),
    }


def _keeps_signs(signs: int, characters: int) -> bool:
    """Check whether the text has so many vowel signs that dropping them would lose words, and warn if it has."""
    if signs <= _MANY_SIGNS * characters:
        return False
    progress.warn(
        f"{signs / characters:.0%} of the characters are vowel signs and other marks that words of this script need, "
        "so they are kept; drop them, and accents, with --strip-accents"
    )
    return True
