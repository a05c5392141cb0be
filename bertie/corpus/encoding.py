"""Sentences to token ids in bulk: each different word is encoded once and remembered.

A BERT tokenizer cuts at spaces and around Chinese characters before anything else, so the ids of a sentence are the ids
of its words one after another. Text repeats its words: looking them up is several times as fast as encoding them anew.
Whether a tokenizer is of this kind is tried out, not believed; one that isn't encodes whole sentences.
"""

import re
from collections.abc import Collection, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from bertie.corpus.shards import Integers, token_dtype
from bertie.tokenizer.tokenizer import Tokenizer

# What a process remembers at most: some 50 MB.
_MAX_WORDS = 250_000
_MAX_CHARACTERS = 4_000_000
_WORDS_PER_TEXT = 100
_TEXTS_PER_BATCH = 200
_SENTENCES_PER_BATCH = 512
# Characters that every BERT tokenizer sets apart; others that it may set apart too can stay inside a word.
_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df"
_UNITS = re.compile(f"[{_CJK}]|[^ {_CJK}]+")
_PROBE = (
    "The  café's 3 naïve Über-cats, didn't cost $12.50 (really!) ΣΑΣ İ \u0301x e\u0301 a\u0301 b a\tb a\x1cb ##x ",
    "北京的cat在2024年，吃了三条鱼。“很好” 𠀀 豈\u0301 한국어 かな ﹏ｘ x的 的x",
    "\ufffd\x00 unbelievablyextraordinary " + "x" * 150 + " x" * 3,
)


class Encoder:
    """Encodes sentences with one tokenizer; keeps what it has seen."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Begin with nothing remembered.

        Args:
            tokenizer: text that spells one of its special tokens is encoded as plain text.
        """
        self.tokenizer = tokenizer
        """What the ids come from."""
        self._dtype = token_dtype(tokenizer.vocab_size)
        specials = [re.escape(tokenizer.tokens[number]) for number in tokenizer.special_ids]
        self._special = re.compile("|".join(specials))
        self._separator = tokenizer.tokens[tokenizer.separator]
        # Word k of those remembered has the ids from offsets[k] to offsets[k + 1].
        self._numbers: dict[str, int]
        self._ids: npt.NDArray[Any]
        self._offsets: Integers
        self._num_characters: int
        self._forget()
        self._by_words = not any(" " in piece for piece in tokenizer.tokens) and self._equal_by_words(list(_PROBE))

    def encode(self, sentences: Sequence[str]) -> tuple[npt.NDArray[Any], Integers]:
        """Encode sentences; text never gives a special token other than [UNK].

        Args:
            sentences: any text.

        Returns:
            The ids of all sentences one after another (uint16 or uint32), and how many each sentence has (int64).

        Raises:
            DataError: a text that the tokenizer can't take.
        """
        # A space inside changes nothing: brackets are words of their own. But it is no special token any more.
        plain = [self._special.sub(_opened, sentence) for sentence in sentences]
        return self._encode_words(plain) if self._by_words else self._encode_whole(plain)

    def _equal_by_words(self, sentences: list[str]) -> bool:
        (ids,) = self.tokenizer.encode_batch([f"a{self._separator}b{self._separator}"])
        if ids.count(self.tokenizer.separator) != 2:
            return False
        pairs = zip(self._encode_words(sentences), self._encode_whole(sentences), strict=True)
        return all(np.array_equal(one, other) for one, other in pairs)

    def _encode_whole(self, sentences: list[str]) -> tuple[npt.NDArray[Any], Integers]:
        lengths = np.zeros(len(sentences), np.int64)
        parts = [np.zeros(0, self._dtype)]
        for start in range(0, len(sentences), _SENTENCES_PER_BATCH):
            ids = self.tokenizer.encode_batch(sentences[start : start + _SENTENCES_PER_BATCH])
            counts = np.fromiter(map(len, ids), np.int64, len(ids))
            lengths[start : start + len(ids)] = counts
            parts.append(np.fromiter(chain.from_iterable(ids), self._dtype, int(counts.sum())))
        return np.concatenate(parts), lengths

    def _encode_words(self, sentences: list[str]) -> tuple[npt.NDArray[Any], Integers]:
        words = [sentence.split(" ") if sentence.isascii() else _UNITS.findall(sentence) for sentence in sentences]
        num_words = np.fromiter(map(len, words), np.int64, len(words))
        every = list(chain.from_iterable(words))
        different = set(every)
        new = different - self._numbers.keys()
        num_characters = sum(map(len, new))
        if len(self._numbers) + len(new) > _MAX_WORDS or self._num_characters + num_characters > _MAX_CHARACTERS:
            self._forget()
            new = different
            num_characters = sum(map(len, new))
        self._learn(new)
        self._num_characters += num_characters
        numbers = np.fromiter(map(self._numbers.__getitem__, every), np.int64, len(every))
        lengths = np.diff(self._offsets)[numbers]
        ends = np.cumsum(lengths)
        # Id t of the result, in word w, is number offsets[w] + (t - where w begins in the result) of those remembered.
        shift = np.repeat(self._offsets[numbers] - ends + lengths, lengths)
        tokens = self._ids[shift + np.arange(len(shift))]
        sentence_ends = np.concatenate([[0], ends])[np.concatenate([[0], np.cumsum(num_words)])]
        return tokens, np.diff(sentence_ends)

    def _learn(self, words: Collection[str]) -> None:
        """Encode many words as few texts, which is much faster than each alone, and remember their ids."""
        ordered = list(words)
        for word in ordered:
            self._numbers[word] = len(self._numbers)
        texts = [
            self._separator.join([*ordered[start : start + _WORDS_PER_TEXT], ""])
            for start in range(0, len(ordered), _WORDS_PER_TEXT)
        ]
        parts, ends = [self._ids], [self._offsets]
        num_ids = len(self._ids)
        for start in range(0, len(texts), _TEXTS_PER_BATCH):
            encoded = self.tokenizer.encode_batch(texts[start : start + _TEXTS_PER_BATCH])
            ids = np.fromiter(chain.from_iterable(encoded), self._dtype)
            separators = np.flatnonzero(ids == self.tokenizer.separator)
            parts.append(np.delete(ids, separators))
            ends.append(num_ids + separators - np.arange(len(separators)))
            num_ids += len(parts[-1])
        self._ids, self._offsets = np.concatenate(parts), np.concatenate(ends)

    def _forget(self) -> None:
        self._numbers = {}
        self._ids = np.zeros(0, self._dtype)
        self._offsets = np.zeros(1, np.int64)
        self._num_characters = 0


def _opened(match: re.Match[str]) -> str:
    text = match[0]
    return f"{text[0]} {text[1:]}"
