"""Encode sentences as token ids in bulk, and cache the ids of every distinct word.

A BERT tokenizer first splits text at spaces, at punctuation and around Chinese characters. So the ids of a sentence are
the concatenated ids of its words. Words repeat, and looking them up is several times as fast as encoding them again.
The text between two spaces (a unit) is looked up first. A new unit is split at its punctuation, so that "end", "end."
and "(end" share one encoded word.

A probe text decides whether a tokenizer works this way; one that doesn't encodes whole sentences. If the nanotoken
package is installed, it encodes instead, and the tokenizer itself encodes some sentences of every call to compare.
"""

import re
import string
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from bertie import progress
from bertie.corpus.encoding_cache import Encoded, EncodingCache
from bertie.corpus.segmentation import Segmenter, is_chinese
from bertie.corpus.shards import Integers, token_dtype
from bertie.errors import DataError
from bertie.native import failed, said
from bertie.tokenizer import nano
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.words import CJK, MARKS
from bertie.untrusted import parse_json

_WORDS_PER_TEXT = 100
_TEXTS_PER_BATCH = 200
_SENTENCES_PER_BATCH = 512
_COMPARED_SENTENCES = 16
_UNITS = re.compile(f"[{CJK}]|[^ {CJK}]+")
_WORDS = re.compile(f"[ {MARKS}]|[^ {MARKS}]+")
_PROBE = (
    "The  café's 3 naïve Über-cats, didn't cost $12.50 (really!) ΣΑΣ İ \u0301x e\u0301 a\u0301 b a\tb a\x1cb ##x ",
    "北京的cat在2024年，吃了三条鱼。“很好” 𠀀 豈\u0301 한국어 かな ﹏ｘ x的 的x a\u037eb a\u1fefb",
    "\ufffd\x00 unbelievablyextraordinary " + "x" * 150 + " x" * 3,
    *(f"cat{mark}s {mark}cat cat{mark} cat{mark}\u0301s a{mark}{mark}a {mark}" for mark in string.punctuation),
)


class TextEncoder:
    """An encoder of sentences for one tokenizer, with a cache of words."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Create an encoder with an empty cache.

        Args:
            tokenizer: the tokenizer; text that spells one of its special tokens is encoded as plain text.
        """
        self.tokenizer = tokenizer
        """The tokenizer that the ids belong to."""
        self._dtype = token_dtype(tokenizer.vocab_size)
        specials = [re.escape(tokenizer.tokens[number]) for number in tokenizer.special_ids]
        self._special = re.compile("|".join(specials))
        self._units, self._words = EncodingCache(self._encode_units), EncodingCache(self._encode_words)
        self._fast = self._load_fast()

    def encode(self, sentences: Sequence[str]) -> Encoded:
        """Encode sentences. The result contains no special token except [UNK], whatever the text.

        Args:
            sentences: any text.

        Returns:
            The concatenated ids of all sentences (uint16 or uint32), and the number of ids of each sentence (int64).

        Raises:
            DataError: the tokenizer can't encode a text.
        """
        plain = self._plain(sentences)
        if self._fast is not None:
            return self._encode_fast(self._fast, plain)
        return self._encode_by_words(plain) if self._by_words else self._encode_whole(plain)

    def encode_with_words(
        self, sentences: Sequence[str], segmenter: Segmenter, chosen: Sequence[bool], uncut: list[str] | None = None
    ) -> tuple[npt.NDArray[Any], Integers, npt.NDArray[np.bool_]]:
        """Encode sentences, and mark the ids that continue a word.

        If a piece contains the end of one word and the beginning of the next, both count as one word.

        Args:
            sentences: any text.
            segmenter: segments sentences into words.
            chosen: for each sentence, whether to segment it.
            uncut: receives the sentences that the segmenter failed on.

        Returns:
            The two arrays of `encode`, and for each id whether it continues the word of the previous id (T,). For
            words without Chinese characters this is False; there the vocabulary decides.

        Raises:
            DataError: the tokenizer can't encode a text.
        """
        plain = self._plain(sentences)
        ids, lengths, spans = self._aligned_by_words(plain) if self._by_words else self._aligned(plain)
        each = [len(sentence) for sentence in plain]
        # The word number of each character. In a sentence that isn't chosen each character is a word; so is the end.
        numbers = np.arange(sum(each) + 1)
        segmented = np.repeat(np.fromiter(chosen, bool, len(plain)), each)
        texts = [sentence for sentence, is_chosen in zip(plain, chosen, strict=True) if is_chosen]
        numbers[:-1][segmented] = segmenter.word_numbers(texts, uncut) + len(numbers)
        goes_on = np.zeros(len(ids), bool)
        if len(ids):
            first, last = numbers[spans[:, 0]], numbers[spans[:, 1] - 1]
            goes_on[1:] = first[1:] == last[:-1]
            goes_on[(np.cumsum(lengths) - lengths)[lengths > 0]] = False
        return ids, lengths, goes_on

    def _plain(self, sentences: Sequence[str]) -> list[str]:
        """Break up text that spells a special token, so that it is encoded as plain text."""
        # A space after the opening bracket does not change the pieces, because a bracket is a word of its own.
        return [self._special.sub(_opened, sentence) for sentence in sentences]

    @cached_property
    def _by_words(self) -> bool:
        """Whether sentences can be encoded word by word."""
        return self._end is not None and self._equals_whole(self._encode_by_words, list(_PROBE))

    def _aligned_by_words(self, sentences: list[str]) -> tuple[npt.NDArray[Any], Integers, Integers]:
        """Encode by words; return for each id also the [start, end) of its unit in the characters of all sentences."""
        units = [_UNITS.findall(sentence) for sentence in sentences]
        num_units = np.fromiter(map(len, units), np.int64, len(units))
        ids, lengths = self._units(list(chain.from_iterable(units)))
        spans = np.repeat(_unit_spans(sentences), lengths, axis=0)
        return ids, _summed(lengths, np.cumsum(num_units)), spans

    def _aligned(self, sentences: list[str]) -> tuple[npt.NDArray[Any], Integers, Integers]:
        """Encode whole sentences; return for each id also its [start, end) in the characters of all sentences."""
        parts, lengths, spans = [np.zeros(0, self._dtype)], [np.zeros(0, np.int64)], [np.zeros((0, 2), np.int64)]
        begin = 0
        for start in range(0, len(sentences), _SENTENCES_PER_BATCH):
            batch = sentences[start : start + _SENTENCES_PER_BATCH]
            for sentence, (ids, offsets) in zip(batch, self.tokenizer.encode_batch_aligned(batch), strict=True):
                parts.append(np.array(ids, self._dtype))
                lengths.append(np.array([len(ids)]))
                within = np.array(offsets, np.int64).reshape(-1, 2)
                spans.append(begin + np.minimum(within, max(0, len(sentence) - 1) + np.array([0, 1])))
                begin += len(sentence)
        return np.concatenate(parts), np.concatenate(lengths), np.concatenate(spans)

    @cached_property
    def _end(self) -> tuple[str, int] | None:
        """A punctuation mark to separate words, and its id; None if no mark does, or if tokens may contain marks."""
        specials = {self.tokenizer.tokens[piece] for piece in self.tokenizer.special_ids}
        added = {
            token["content"] for token in parse_json(self.tokenizer.as_json, "the tokenizer")["added_tokens"]
        } - specials
        if any(not (token.isascii() and token.isalnum()) for token in added):
            return None
        for mark in string.punctuation:
            one, ids = self.tokenizer.encode_batch([mark, f"a{mark}b{mark}"])
            if len(one) == 1 and one != [self.tokenizer.unknown] and ids[1::2] == [*one, *one]:
                return mark, one[0]
        return None

    def _equals_whole(self, encode: Callable[[list[str]], Encoded], sentences: list[str]) -> bool:
        pairs = zip(encode(sentences), self._encode_whole(sentences), strict=True)
        return all(np.array_equal(one, other) for one, other in pairs)

    def _load_fast(self) -> nano.NanoTokenizer | None:
        """Return the nanotoken version of the tokenizer, if nanotoken is installed and gives the same ids."""
        fast = nano.load(self.tokenizer)
        if fast is None or self._equals_whole(fast.encode, list(_PROBE)):
            return fast
        progress.warn(f"nanotoken {fast.version} encodes text differently from {self.tokenizer.source}; it is not used")
        return None

    def _encode_fast(self, fast: nano.NanoTokenizer, sentences: list[str]) -> Encoded:
        """Encode by nanotoken, and encode some sentences by the tokenizer itself to compare.

        Raises:
            DataError: the ids differ, or the tokenizer can't encode a text.
        """
        try:
            ids, lengths = fast.encode(sentences)
        except BaseException as error:
            if not failed(error):
                raise
            if not isinstance(error, UnicodeError):  # a lone surrogate; the tokenizer itself raises a clear error
                progress.warn(f"nanotoken {fast.version} failed ({said(error)}); the tokenizer itself is used instead")
                self._fast = None
            return self._encode_whole(sentences)
        ends = np.cumsum(lengths)
        for number in range(0, len(sentences), 1 + len(sentences) // _COMPARED_SENTENCES):
            (expected,) = self.tokenizer.encode_batch([sentences[number]])
            if not np.array_equal(ids[ends[number] - lengths[number] : ends[number]], expected):
                raise DataError(
                    f"nanotoken {fast.version} and tokenizers encode {sentences[number][:80]!r} differently; "
                    "remove nanotoken: pip uninstall nanotoken"
                )
        return ids.astype(self._dtype), lengths

    def _encode_whole(self, sentences: list[str]) -> Encoded:
        parts = [np.zeros(0, self._dtype)]
        lengths = [np.zeros(0, np.int64)]
        for start in range(0, len(sentences), _SENTENCES_PER_BATCH):
            encoded = self.tokenizer.encode_batch(sentences[start : start + _SENTENCES_PER_BATCH])
            lengths.append(np.fromiter(map(len, encoded), np.int64, len(encoded)))
            parts.append(np.fromiter(chain.from_iterable(encoded), self._dtype, int(lengths[-1].sum())))
        return np.concatenate(parts), np.concatenate(lengths)

    def _encode_by_words(self, sentences: list[str]) -> Encoded:
        units = [sentence.split(" ") if sentence.isascii() else _UNITS.findall(sentence) for sentence in sentences]
        num_units = np.fromiter(map(len, units), np.int64, len(units))
        ids, lengths = self._units(list(chain.from_iterable(units)))
        return ids, _summed(lengths, np.cumsum(num_units))

    def _encode_units(self, units: list[str]) -> Encoded:
        """Encode units (texts between spaces) by their words. A space, which has no ids, ends the words of a unit."""
        words = _WORDS.findall(" ".join([*units, ""]))
        ids, lengths = self._words(words)
        return ids, _summed(lengths, 1 + np.flatnonzero([word == " " for word in words]))

    def _encode_words(self, words: list[str]) -> Encoded:
        """Encode many words joined to few texts, which is much faster than encoding each word alone."""
        assert self._end is not None, "without a mark to separate words, whole sentences are encoded"
        mark, number = self._end
        groups = [words[start : start + _WORDS_PER_TEXT] for start in range(0, len(words), _WORDS_PER_TEXT)]
        ids = [np.zeros(0, self._dtype)]
        lengths = [np.zeros(0, np.int64)]
        for first in range(0, len(groups), _TEXTS_PER_BATCH):
            batch = groups[first : first + _TEXTS_PER_BATCH]
            texts = [mark.join([*group, ""]) for group in batch]
            for group, encoded in zip(batch, self.tokenizer.encode_batch(texts), strict=True):
                of_text = np.array(encoded, self._dtype)
                ends = np.flatnonzero(of_text == number)
                if len(ends) == len(group):
                    ids.append(np.delete(of_text, ends))
                    lengths.append(np.diff(ends, prepend=-1) - 1)
                else:  # a word is the mark itself, or a character that is normalized to it
                    alone, each = self._encode_whole(group)
                    ids.append(alone)
                    lengths.append(each)
        return np.concatenate(ids), np.concatenate(lengths)


def _summed(lengths: Integers, ends: npt.NDArray[Any]) -> Integers:
    """Sum lengths by group.

    Args:
        lengths: (N,).
        ends: (G,) the end of each group; the last one is N.

    Returns:
        (G,).
    """
    sums: Integers = np.diff(np.concatenate([[0], np.cumsum(lengths)])[ends], prepend=0)
    return sums


def _unit_spans(sentences: list[str]) -> Integers:
    """Return the [start, end) of every match of `_UNITS`, in the characters of all sentences."""
    text = "".join(sentences)
    lengths = np.fromiter(map(len, sentences), np.int64, len(sentences))
    begins = np.zeros(len(text) + 1, bool)  # where sentences begin, and the end of the last one
    begins[np.cumsum(lengths)] = begins[:1] = True
    alone = is_chinese(text)
    space = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4") == ord(" ")
    edge = begins.copy()  # whether a unit begins or ends before a character
    edge[:-1] |= alone | space
    edge[1:] |= alone | space
    edges = np.flatnonzero(edge)
    inside = ~space[edges[:-1]]
    spans: Integers = np.stack([edges[:-1], edges[1:]], 1)[inside]
    return spans


def _opened(match: re.Match[str]) -> str:
    text = match[0]
    return f"{text[0]} {text[1:]}"
