"""Add whole words to a trained WordPiece vocabulary; old pieces keep their ids."""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import DataError, SettingsError
from bertie.files.text import open_text, shorten
from bertie.tokenizer.rust import readable
from bertie.tokenizer.tokenizer import Tokenizer

LONGEST = 100
"""Maximum length of a word in characters; WordPiece turns longer ones into [UNK]."""


def widened(tokenizer: Tokenizer, words: Sequence[str]) -> Tokenizer:
    """Append words to the vocabulary.

    Args:
        tokenizer: one that marks pieces inside a word, as BERT's WordPiece does with ##.
        words: normalized by the tokenizer, each a single word, none in the vocabulary.

    Raises:
        SettingsError: the tokenizer is of another kind.
        DataError: ids of old tokens would change.
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
        raise DataError(f"{tokenizer.source} has added tokens whose ids would change, so no words can be added to it")
    return wider


def is_widened(wider: Tokenizer, tokenizer: Tokenizer) -> bool:
    """Tell whether `wider` is `tokenizer` with whole words appended and no other change."""
    if wider.vocab_size <= tokenizer.vocab_size or not tokenizer.inner or type(tokenizer) is not Tokenizer:
        return False
    try:
        return widened(tokenizer, wider.tokens[tokenizer.vocab_size :]).fingerprint == wider.fingerprint
    except DataError:
        return False


def check_kind(tokenizer: Tokenizer) -> None:
    """Check that whole words can be appended to a tokenizer.

    Raises:
        SettingsError: it doesn't mark the pieces inside a word.
    """
    if type(tokenizer) is not Tokenizer or not tokenizer.inner:
        raise SettingsError(
            f"--add-words needs a WordPiece vocabulary such as BERT's; that of {tokenizer.source} is of another kind, "
            "whose pieces result from merges or scores"
        )


def read_words(path: Path, tokenizer: Tokenizer) -> list[str]:
    """Read words to add, one a line; empty lines and words that the vocabulary has are skipped.

    Raises:
        SettingsError: there is no such file, or words can't be added to the tokenizer.
        DataError: a line is not one word, or the file has no new word.
    """
    check_kind(tokenizer)
    rust, known, words = RustTokenizer.from_str(tokenizer.as_json), set(tokenizer.tokens), dict[str, None]()
    with open_text(path) as lines:
        for number, line in enumerate(lines, 1):
            text = line.strip()
            parts = _words(rust, text)
            if len(parts) > 1 or any(len(word) > LONGEST for word in parts):
                reason = (
                    f"longer than {LONGEST} characters"
                    if len(parts) == 1
                    else f"not one word: the tokenizer cuts it into {shorten(' | '.join(parts), 80)}"
                )
                raise DataError(f"{path}:{number}: {shorten(text, 80)!r} is {reason}; give one word a line")
            words |= dict.fromkeys(word for word in parts if word not in known)
    if not words:
        raise DataError(f"{path} has no word that the vocabulary of {tokenizer.source} lacks")
    return list(words)


def _words(rust: RustTokenizer, text: str) -> list[str]:
    """Return the words of a text, normalized but not yet cut into pieces."""
    normal = rust.normalizer.normalize_str(text) if rust.normalizer else text
    return [word for word, _ in rust.pre_tokenizer.pre_tokenize_str(normal)] if rust.pre_tokenizer else [normal]
