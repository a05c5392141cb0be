"""Add whole words to a trained WordPiece vocabulary; ids that are there already keep their pieces."""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import DataError, SettingsError
from bertie.files.text import open_text, shorten
from bertie.tokenizer.rust import readable
from bertie.tokenizer.tokenizer import Tokenizer

LONGEST = 100
"""Characters of a word; WordPiece makes longer ones [UNK]."""


def widened(tokenizer: Tokenizer, words: Sequence[str]) -> Tokenizer:
    """Append words behind the vocabulary.

    Args:
        tokenizer: one that marks pieces inside a word, as BERT's WordPiece does with ##.
        words: as the tokenizer's normalizer leaves them, each one word, none in the vocabulary.

    Raises:
        SettingsError: another kind of tokenizer.
        DataError: one whose ids would move.
    """
    check_kind(tokenizer)
    size = tokenizer.vocab_size
    model = tokenizer.state["model"]
    vocabulary = {**model["vocab"], **{word: size + number for number, word in enumerate(words)}}
    state = {**tokenizer.state, "model": {**model, "vocab": vocabulary}}
    with readable(tokenizer.source):
        rust = RustTokenizer.from_str(json.dumps(state))
    wider = Tokenizer(rust, source=tokenizer.source, specials=tokenizer.specials, settings=tokenizer.config)
    if wider.tokens[:size] != tokenizer.tokens or wider.tokens[size:] != list(words):
        raise DataError(f"{tokenizer.source} has added tokens whose ids would move, so it can't take further words")
    return wider


def is_widened(wider: Tokenizer, tokenizer: Tokenizer) -> bool:
    """Tell whether a tokenizer is another one with whole words appended, and nothing else changed."""
    if wider.vocab_size <= tokenizer.vocab_size or not tokenizer.inner or type(tokenizer) is not Tokenizer:
        return False
    try:
        return widened(tokenizer, wider.tokens[tokenizer.vocab_size :]).fingerprint == wider.fingerprint
    except DataError:
        return False


def check_kind(tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer that whole words can't be appended to.

    Raises:
        SettingsError: one that doesn't mark the pieces inside a word.
    """
    if type(tokenizer) is not Tokenizer or not tokenizer.inner:
        raise SettingsError(
            f"--add-words appends whole words to a WordPiece vocabulary such as BERT's; {tokenizer.source} has another "
            "kind, whose pieces follow from merges or scores"
        )


def read_words(path: Path, tokenizer: Tokenizer) -> list[str]:
    """Read words to add, one a line; empty lines are skipped, and so is what is there already.

    Raises:
        SettingsError: no such file, or a tokenizer that can't take whole words.
        DataError: a line that is not one word, or a file without a new word.
    """
    check_kind(tokenizer)
    rust, known, words = RustTokenizer.from_str(tokenizer.as_json), set(tokenizer.tokens), dict[str, None]()
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            text = line.strip()
            found = _words(rust, text)
            if len(found) > 1 or any(len(word) > LONGEST for word in found):
                told = "longer than" if len(found) == 1 else "not one word for this vocabulary, which reads"
                raise DataError(
                    f"{path}:{number}: {shorten(text, 80)!r} is {told} "
                    f"{f'{LONGEST} characters' if len(found) == 1 else shorten(' | '.join(found), 80)}; "
                    "give one word a line"
                )
            words |= dict.fromkeys(word for word in found if word not in known)
    if not words:
        raise DataError(f"{path} has no word that the vocabulary of {tokenizer.source} lacks, so none can be added")
    return list(words)


def _words(rust: RustTokenizer, text: str) -> list[str]:
    """Return what a text is before words are cut into pieces."""
    normal = rust.normalizer.normalize_str(text) if rust.normalizer else text
    return [word for word, _ in rust.pre_tokenizer.pre_tokenize_str(normal)] if rust.pre_tokenizer else [normal]
