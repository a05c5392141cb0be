"""Learn a WordPiece vocabulary from text files."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from bertie import progress
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError

_SAMPLE_CHARACTERS = 1_000_000


def train_tokenizer(
    files: Positional[tuple[str, ...]],
    *,
    out: Path,
    vocab_size: int = 30522,
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
        vocab_size: pieces to learn, special ones counted.
        lowercase: lower-case everything (bert-base-uncased) or not (cased).
        strip_accents: drop accents; with lower-casing only when not given.
        min_frequency: merges rarer than this are not made.
        alphabet_limit: characters that may become pieces, commonest first.
        bad_utf8: stop at bytes that are not UTF-8, or replace them.
        text_column: column of tables that holds the text; found out when not given.

    Returns:
        What was learnt, and how well it covers a sample of the text.
    """
    from bertie.corpus.documents import read_documents
    from bertie.files.atomic import atomic_folder, sha256_file
    from bertie.tokenizer.train import train

    if out.exists():
        raise SettingsError(f"--out {out} exists; remove it or choose another folder")
    started = time.monotonic()
    sample: list[str] = []
    counted = 0

    def paragraphs() -> Iterator[str]:
        nonlocal counted
        for document in read_documents(files, bad_utf8=bad_utf8, text_column=text_column):
            for paragraph in document.paragraphs:
                if counted < _SAMPLE_CHARACTERS:
                    sample.append(paragraph)
                counted += len(paragraph)
                bar.advance(len(paragraph) / 1e6)
                yield paragraph

    with progress.bar("Reading", unit="million characters") as bar:
        tokenizer = train(
            paragraphs(),
            vocab_size=vocab_size,
            lowercase=lowercase,
            strip_accents=strip_accents,
            min_frequency=min_frequency,
            alphabet_limit=alphabet_limit,
        )
    with atomic_folder(out) as folder:
        tokenizer.save(folder)
    ids = tokenizer.encode_batch(sample)
    pieces = sum(len(row) for row in ids)
    words = sum(len(text.split()) for text in sample)
    values = {
        "folder": str(out),
        "pieces": tokenizer.vocab_size,
        "characters_read": counted,
        "seconds": round(time.monotonic() - started, 1),
        "pieces_per_word": round(pieces / max(1, words), 3),
        "unknown_share": round(sum(row.count(tokenizer.unknown) for row in ids) / max(1, pieces), 6),
        "sha256": sha256_file(out / "vocab.txt"),
    }
    return Report(
        title=f"A vocabulary of {tokenizer.vocab_size:,} pieces",
        values=values,
        next_command=f"bertie prepare-corpus {' '.join(files)} --tokenizer {out} --out {out.parent / 'corpus'}",
    )
