"""Which pieces of a text belong to which of its words.

BERT's tokenizer cuts where words end, so that words can be encoded one by one, and each different one once. Others look
beyond a word (its first piece holds the space before it, an added token has two words): they see the whole text, as in
any other program, and pieces are given to words by their characters.

Shapes: P pieces of all texts, W words of all texts.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertie.data.items import Words, whole_text, word_offsets
from bertie.errors import DataError
from bertie.tokenizer.tokenizer import Tokenizer

Places = NDArray[np.int64]
NOTHING = -1


@dataclass(frozen=True)
class WordPieces:
    """Pieces of texts that are cut into words."""

    ids: list[list[int]]
    """Of each text."""
    words: Places
    """(P,) the place in its text of the word that a piece belongs to; -1 for none."""
    numbers: Places
    """(P,) the place among all words; -1 for none."""
    is_first: NDArray[np.bool_]
    """(P,) whether a piece is the first of its word."""
    reach: Places
    """(P,) the last word, by its place in its text, that the pieces of a piece's word reach into."""


def encode(sentences: Sequence[Words], tokenizer: Tokenizer) -> WordPieces:
    """Encode texts.

    Args:
        sentences: texts cut into words.
        tokenizer: of the model.

    Raises:
        DataError: a text that the tokenizer can't take, by its number.
    """
    one_by_one = tokenizer.is_plain and tokenizer.settings["handle_chinese_chars"]
    ids, owners, ends = (_by_words if one_by_one else _as_wholes)(sentences, tokenizer)
    words = np.fromiter((place for row in owners for place in row), np.int64)
    counts = np.array([len(sentence.words) for sentence in sentences], np.int64)
    base = np.repeat(np.cumsum(counts) - counts, [len(row) for row in ids])
    numbers = np.where(words == NOTHING, NOTHING, base + words)
    is_first = np.zeros(len(words), np.bool_)
    is_first[np.unique(numbers, return_index=True)[1]] = True
    is_first &= words != NOTHING
    reach = np.full(int(counts.sum()), NOTHING, np.int64)
    owned = words != NOTHING
    np.maximum.at(reach, numbers[owned], np.fromiter((end for row in ends for end in row), np.int64)[owned])
    return WordPieces(ids, words, numbers, is_first, np.where(owned, reach[numbers], NOTHING) if len(reach) else words)


def _by_words(
    sentences: Sequence[Words], tokenizer: Tokenizer
) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """Encode each different word once; return the pieces of each text, and twice the word of each."""
    distinct = list(dict.fromkeys(word for sentence in sentences for word in sentence.words))
    try:
        ids = dict(zip(distinct, tokenizer.encode_batch(distinct), strict=True))
    except DataError as error:
        raise _of_its_text(error, distinct, sentences) from error
    pieces = [[piece for word in sentence.words for piece in ids[word]] for sentence in sentences]
    owners = [[place for place, word in enumerate(sentence.words) for _ in ids[word]] for sentence in sentences]
    return pieces, owners, owners


def _of_its_text(error: DataError, words: Sequence[str], sentences: Sequence[Words]) -> DataError:
    """Let an error about word 7 of `words`, which calls it "text 7", name the text that holds the word."""
    found = re.match(r"text (\d+)\b", str(error))
    if found is None:
        return error
    word = words[int(found[1]) - 1]
    number = next(number for number, sentence in enumerate(sentences, 1) if word in sentence.words)
    return DataError(f"text {number}{str(error)[found.end() :]}")


def _as_wholes(
    sentences: Sequence[Words], tokenizer: Tokenizer
) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """Encode whole texts; return the pieces of each, and the first and last word that each piece has part in."""
    pieces, owners, ends = [], [], []
    encoded = tokenizer.encode_batch_aligned([whole_text(sentence) for sentence in sentences])
    for sentence, (ids, spans) in zip(sentences, encoded, strict=True):
        offsets = word_offsets(sentence)
        starts = [start for start, _ in offsets]
        first, last = [], []
        for start, end in spans:
            place = bisect_right(starts, start) - 1
            if place < 0 or start >= offsets[place][1]:
                place += 1  # it begins before the word, at a space
            inside = place < len(starts) and starts[place] < max(end, start + 1)
            first.append(place if inside else NOTHING)
            last.append(max(place, bisect_left(starts, end) - 1) if inside else NOTHING)
        pieces.append(list(ids))
        owners.append(first)
        ends.append(last)
    return pieces, owners, ends
