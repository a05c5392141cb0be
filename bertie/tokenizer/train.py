"""Learn a WordPiece vocabulary from text; the same text gives the same bytes.

The method is byte-pair merging with ## on continuations, as in all public WordPiece trainers; the likelihood criterion
of the original was never released. The package's trainer numbers continuation pieces in the order of a hash map and
breaks ties by these numbers, so two trainings differ. To avoid this, the trainer gets the sorted alphabet and all
single-character continuations at the start, and a plain tokenizer is built from the resulting vocabulary. A Chinese
character is a word by itself, so it needs no continuation piece.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate

from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models, normalizers, pre_tokenizers, trainers

from bertie import progress
from bertie.errors import DataError
from bertie.tokenizer.rust import readable
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.words import CJK, WORDS

_CJK_FIRST, _CJK_LAST = "\u3400", "\u9fff"
_LATIN_ALPHABET, _CJK_ALPHABET = 1000, 8000
_COUNTED_AT_ONCE = 500_000
_STANDS_ALONE = re.compile(f"[{CJK}]")
_ALPHABET_SHARE = 0.9  # of the vocabulary, if not all characters fit; the rest is for longer pieces
_MOST_LEFT_OUT = 0.005  # largest share of the text's characters that may become [UNK]


def train(
    texts: Iterable[str],
    *,
    vocab_size: int,
    lowercase: bool = True,
    strip_accents: bool | None = None,
    min_frequency: int = 2,
    alphabet_limit: int | None = None,
) -> Tokenizer:
    """Learn a vocabulary.

    Args:
        texts: paragraphs, read once; only their words and counts are kept in memory.
        vocab_size: size of the vocabulary with the special tokens; a small corpus gives fewer, with a warning.
        lowercase: whether to lower-case the texts.
        strip_accents: whether to drop accents; None for the value of `lowercase`.
        min_frequency: a merge needs at least this many occurrences.
        alphabet_limit: how many characters become pieces, the most frequent first. None: 1,000, or 8,000 if at least a
            twentieth of the text is Chinese characters; fewer if the vocabulary is too small for them and the others
            are rare.

    Returns:
        A plain tokenizer, in which [PAD] [UNK] [CLS] [SEP] [MASK] are 0 to 4.

    Raises:
        DataError: there is no text, or the vocabulary is too small for the alphabet.
    """
    normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=strip_accents, lowercase=lowercase
    )
    with readable("counting words"):
        words = _counted(texts, normalizer, lowercase=lowercase)
    alphabet = _alphabet(words, alphabet_limit, vocab_size - len(SPECIALS))
    extra = [f"##{character}" for character in alphabet if not _STANDS_ALONE.match(character)]
    if (least := len(SPECIALS) + len(alphabet) + len(extra)) > vocab_size:
        raise DataError(
            f"--vocab-size {vocab_size} has no room for the {len(alphabet)} characters of the text, alone and as "
            f"continuations; give at least {least}, or a smaller --alphabet-limit"
        )
    rust = RustTokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    rust.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_frequency,
        show_progress=False,
        special_tokens=[*SPECIALS, *extra],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
    )
    with readable("training"):
        rust.train_from_iterator(_repeated(words), trainer)
    pieces = sorted(rust.get_vocab().items(), key=lambda item: item[1])
    if len(pieces) < vocab_size:
        progress.warn(f"the text gave {len(pieces):,} pieces, not {vocab_size:,}; a larger corpus gives more")
    return Tokenizer.build([piece for piece, _ in pieces], lowercase=lowercase, strip_accents=strip_accents)


def _counted(texts: Iterable[str], normalizer: normalizers.Normalizer, *, lowercase: bool) -> Counter[str]:
    """Count normalized words; a word is normalized once for each batch of counts, not at each occurrence."""
    words: Counter[str] = Counter()
    raw: Counter[str] = Counter()
    for text in texts:
        raw.update(WORDS.findall(text))
        if len(raw) > _COUNTED_AT_ONCE:
            _add(words, raw, normalizer, lowercase=lowercase)
            raw.clear()
    _add(words, raw, normalizer, lowercase=lowercase)
    return words


def _add(words: Counter[str], raw: Counter[str], normalizer: normalizers.Normalizer, *, lowercase: bool) -> None:
    splitter = pre_tokenizers.BertPreTokenizer()
    for word, number in raw.items():
        if word.isascii() and word.isalnum():  # normalizing would only lower-case such a word
            words[word.lower() if lowercase else word] += number
        else:
            for part, _ in splitter.pre_tokenize_str(normalizer.normalize_str(word)):
                words[part] += number


def _alphabet(words: Counter[str], limit: int | None, room: int) -> list[str]:
    """Return the most frequent characters, sorted: `limit` of them, or a number that suits the script and `room`."""
    counts: Counter[str] = Counter()
    for word, number in words.items():
        for character in word:
            counts[character] += number
    if not counts:
        raise DataError("there is no text to learn a vocabulary from")
    commonest = sorted(counts, key=lambda character: (-counts[character], character))
    if limit is not None:
        return sorted(commonest[:limit])
    chinese = sum(number for character, number in counts.items() if _CJK_FIRST <= character <= _CJK_LAST)
    commonest = commonest[: _CJK_ALPHABET if chinese * 20 >= counts.total() else _LATIN_ALPHABET]
    needs = list(accumulate(1 if _STANDS_ALONE.match(character) else 2 for character in commonest))
    if needs[-1] > room:
        fitting = commonest[: bisect_right(needs, _ALPHABET_SHARE * room)]
        left_out = 1.0 - sum(counts[character] for character in fitting) / counts.total()
        if left_out <= _MOST_LEFT_OUT:
            progress.note(
                f"the vocabulary has room for {len(fitting):,} of the text's {len(counts):,} characters; the others, "
                f"{left_out:.2%} of the text, become [UNK]"
            )
            return sorted(fitting)
    return sorted(commonest)


def _repeated(words: Counter[str]) -> Iterator[str]:
    """Yield each word as often as it was counted, in texts of one repeated word, in sorted order."""
    for word, number in sorted(words.items()):
        while number > 0:
            step = min(number, 10_000)
            yield " ".join([word] * step)
            number -= step
