"""Private helper of `tagging` and `span_classification`: assign the pieces of a text to its words.

BERT's tokenizer cuts at the ends of words, so each distinct word is encoded once, by itself. Other tokenizers look
beyond a word: its first piece may hold the space before it, and an added token may span two words. They get the whole
text, as in other programs, and pieces are assigned to words by their characters.

Shapes: P pieces of all texts, W words of all texts.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import DataError
from bertie.items.text import Text
from bertie.items.words import Words
from bertie.readers.spans import cut_words
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.windows import Truncation, Windows, lay_out

Places = NDArray[np.int64]
NOTHING = -1
WordsLike = str | Text | Words
"""What tasks on words take: a text, which is cut into words, or `Words`, the only form with labels."""


@dataclass(frozen=True)
class WordPieces:
    """The pieces of texts that are split into words."""

    ids: list[list[int]]
    """Piece ids of each text."""
    words: Places
    """(P,) index of the piece's word in its text; -1 for a piece outside all words."""
    numbers: Places
    """(P,) index of the piece's word among the words of all texts; -1 for a piece outside all words."""
    is_first: NDArray[np.bool_]
    """(P,) whether a piece is the first of its word."""
    reach: Places
    """(P,) index in its text of the last word that any piece of the piece's word overlaps."""


def as_words(item: Any, number: int, task: str) -> Words:
    """Return an item's words; a text is split into words.

    Args:
        item: of the user.
        number: of the item, for messages.
        task: for messages.

    Raises:
        DataError: the item is no text, or its words, tags, spans and offsets don't fit.
    """
    if isinstance(item, str):
        return cut_words(item)
    if isinstance(item, Text) and item.pair is None and item.label is None:
        return replace(cut_words(item.text), line=item.line)
    if not isinstance(item, Words):
        raise DataError(f"text {number} is {item!r:.60}; {task} takes a string, or Words with one tag for each word")
    if item.label is not None and len(item.label) != len(item.words):
        raise DataError(f"text {number} has {len(item.label)} tags for {len(item.words)} words")
    if item.offsets and len(item.offsets) != len(item.words):
        raise DataError(f"text {number} has {len(item.offsets)} offsets for {len(item.words)} words")
    for span in item.spans or ():
        if not 0 <= span.start < span.end <= len(item.words):
            raise DataError(f"text {number} has a span of the words {span.start} to {span.end} of {len(item.words)}")
    return item


def shown_pieces(pieces: Sequence[Sequence[int]], laid: Windows) -> Places:
    """Return the index among the pieces of all texts, (P,), of each of `laid.shown`."""
    edges = np.concatenate([[0], np.cumsum([len(ids) for ids in pieces])])
    before = np.cumsum(laid.counts) - laid.counts
    shown: Places = np.repeat(edges[laid.rows] + laid.starts - before, laid.counts) + np.arange(int(laid.counts.sum()))
    return shown


def encode_words(
    items: Sequence[WordsLike],
    tokenizer: Tokenizer,
    *,
    task: str,
    max_length: int,
    truncation: Truncation,
    stride: int | None,
) -> tuple[list[Words], WordPieces, Windows]:
    """Split items into words, encode them, and lay their pieces out in sequences.

    Args:
        items: of the user.
        tokenizer: of the model.
        task: for messages.
        max_length: tokens of the longest sequence.
        truncation: treatment of longer texts.
        stride: pieces from the start of one window to the next; half a window when None.

    Raises:
        DataError: an item is not a text, its parts don't fit, or it is too long and `truncation` is error.
    """
    sentences = [as_words(item, number, task) for number, item in enumerate(items, 1)]
    encoded = encode(sentences, tokenizer)
    laid = lay_out(
        encoded.ids,
        [None] * len(encoded.ids),
        tokenizer,
        max_length=max_length,
        truncation=truncation,
        stride=stride,
    )
    return sentences, encoded, laid


def encode(sentences: Sequence[Words], tokenizer: Tokenizer) -> WordPieces:
    """Encode texts and assign their pieces to words.

    Args:
        sentences: texts split into words.
        tokenizer: of the model.

    Raises:
        DataError: the tokenizer can't encode a text; the message names its number.
    """
    one_by_one = tokenizer.is_plain and tokenizer.settings["handle_chinese_chars"]
    ids, owners, ends = (_by_words if one_by_one else _as_wholes)(sentences, tokenizer)
    words = np.fromiter((word for row in owners for word in row), np.int64)
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
    """Encode each distinct word once.

    Returns:
        The pieces of each text, and for each piece the first and the last word that it overlaps (the same word).
    """
    distinct = list(dict.fromkeys(word for sentence in sentences for word in sentence.words))
    try:
        ids = dict(zip(distinct, tokenizer.encode_batch(distinct), strict=True))
    except DataError as error:
        raise _of_its_text(error, distinct, sentences) from error
    pieces = [[piece for word in sentence.words for piece in ids[word]] for sentence in sentences]
    owners = [[index for index, word in enumerate(sentence.words) for _ in ids[word]] for sentence in sentences]
    return pieces, owners, owners


def _of_its_text(error: DataError, words: Sequence[str], sentences: Sequence[Words]) -> DataError:
    """Return an error that names the text with the word, instead of the number of the word in `words`."""
    match = re.match(r"text (\d+)\b", str(error))
    if match is None:
        return error
    word = words[int(match[1]) - 1]
    number = next(number for number, sentence in enumerate(sentences, 1) if word in sentence.words)
    return DataError(f"text {number}{str(error)[match.end() :]}")


def _as_wholes(
    sentences: Sequence[Words], tokenizer: Tokenizer
) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """Encode whole texts.

    Returns:
        The pieces of each text, and for each piece the first and the last word that it overlaps.
    """
    pieces, owners, ends = [], [], []
    encoded = tokenizer.encode_batch_aligned([sentence.whole_text() for sentence in sentences])
    for sentence, (ids, spans) in zip(sentences, encoded, strict=True):
        offsets = sentence.word_offsets()
        starts = [start for start, _ in offsets]
        first, last = [], []
        for start, end in spans:
            word = bisect_right(starts, start) - 1
            if word < 0 or start >= offsets[word][1]:
                word += 1  # the piece begins at a space before its word
            inside = word < len(starts) and starts[word] < max(end, start + 1)
            first.append(word if inside else NOTHING)
            last.append(max(word, bisect_left(starts, end) - 1) if inside else NOTHING)
        pieces.append(list(ids))
        owners.append(first)
        ends.append(last)
    return pieces, owners, ends
