"""Find words that a vocabulary splits into pieces, and re-encode a prepared corpus with a wider vocabulary.

A corpus holds ids and no text, but the pieces of a word spell it. So the text is not read again, and only the words
that the wider vocabulary splits differently are encoded again.

Shapes: T tokens, W words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie import progress
from bertie.corpus.shards import TOKENIZER_FOLDER, Corpus, CorpusWriter, Integers, TokenBlock
from bertie.corpus.spread import parts
from bertie.files.atomic import atomic_folder
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.widen import LONGEST, check_kind
from bertie.tokenizer.writing import save_tokenizer

_BLOCK = 1 << 20  # tokens of a block, rounded to whole sentences
_SEEN = 5  # a word must occur more often than this, so that the model can learn something about it
_WRITTEN = frozenset(  # entries of the manifest that the writer fills in
    (
        *("format", "version", "files", "fingerprint", "sha256"),
        *("num_documents", "num_sentences", "num_tokens", "vocab_size", "token_dtype"),
    )
)


def broken_words(corpus: Corpus, tokenizer: Tokenizer, count: int) -> list[str]:
    """Find the words that would save the most pieces if each was a single piece: occurrences x (pieces - 1).

    Args:
        corpus: the corpus; of a large one, evenly spread parts are read.
        tokenizer: the tokenizer of the corpus.
        count: the largest number of words to return.

    Returns:
        Words that occur often enough and contain a letter, those that save the most first.

    Raises:
        SettingsError: whole words can't be added to the tokenizer.
    """
    check_kind(tokenizer)
    inner, special = _inner(tokenizer), set(tokenizer.special_ids)
    counts: Counter[bytes] = Counter()
    for start, stop in parts(corpus):
        ids = corpus.gather([start], [stop - start]).astype(np.int32)
        edges = corpus.sentence_starts[slice(*np.searchsorted(corpus.sentence_starts, [start, stop]))] - start
        for first, last in zip(*_spans(ids, inner, edges), strict=True):
            counts[ids[first:last].tobytes()] += 1
    saved = {}
    for key, times in counts.items():
        pieces = np.frombuffer(key, np.int32).tolist()
        word = _spelled(pieces, tokenizer)
        if inner[pieces[0]]:  # the rest of a word that begins before this part
            continue
        if times > _SEEN and len(word) <= LONGEST and not special & set(pieces) and any(map(str.isalpha, word)):
            saved[word] = times * (len(pieces) - 1)
    again = tokenizer.encode_batch(list(saved))
    whole = [word for word, pieces in zip(saved, again, strict=True) if _spelled(pieces, tokenizer) == word]
    return sorted(whole, key=lambda word: (-saved[word], word))[:count]


def respell(corpus: Corpus, tokenizer: Tokenizer, wider: Tokenizer, out: Path) -> None:
    """Write a copy of a corpus, encoded with a wider vocabulary.

    Args:
        corpus: the corpus to read, block by block.
        tokenizer: the tokenizer of the corpus.
        wider: the same tokenizer with words appended.
        out: the folder to create; it is written atomically.

    Raises:
        DataError: a file of the corpus is damaged.
        SettingsError: the folder exists already.
    """
    respelled = _Respelled(tokenizer, wider)
    kept = {name: value for name, value in corpus.manifest.items() if name not in _WRITTEN}
    with (
        atomic_folder(out) as folder,
        progress.bar("Re-encoding words", total=corpus.num_tokens, unit="tokens") as bar,
    ):
        writer = CorpusWriter(folder, vocab_size=wider.vocab_size)
        try:
            for tokens, lengths, first, last in _blocks(corpus):
                marked = corpus.gather_words(corpus.sentence_starts[[first]], [len(tokens)])
                ids, sizes, goes_on = respelled(tokens, lengths, marked)
                num_sentences, continues = _documents(corpus, first, last)
                writer.append(
                    TokenBlock(
                        tokens=ids,
                        sentence_lengths=sizes,
                        num_sentences=num_sentences,
                        continues=continues,
                        goes_on=goes_on,
                    )
                )
                bar.advance(len(tokens))
            (folder / TOKENIZER_FOLDER).mkdir()
            save_tokenizer(wider, folder / TOKENIZER_FOLDER)
            statistics = {
                **corpus.manifest["statistics"],
                "longest_sentence": writer.longest_sentence,
                "num_unknown": respelled.num_unknown,
            }
            writer.finish({**kept, "tokenizer_fingerprint": wider.fingerprint, "statistics": statistics})
        finally:
            writer.close()


class _Respelled:
    """Re-encodes words, each distinct word once."""

    def __init__(self, tokenizer: Tokenizer, wider: Tokenizer) -> None:
        self._tokenizer, self._wider, self._inner = tokenizer, wider, _inner(tokenizer)
        self._known: dict[bytes, NDArray[np.int32] | None] = {}
        self.num_unknown = 0

    def __call__(
        self, tokens: Integers, lengths: Integers, marked: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int32], Integers, NDArray[np.bool_] | None]:
        """Re-encode some sentences.

        Args:
            tokens: (T,) the ids.
            lengths: the number of tokens of each sentence.
            marked: (T,) the marks of Chinese words; None in a corpus without them. The pieces of a word have equal
                marks, except the first.

        Returns:
            The new ids, sentence lengths and marks.
        """
        ids = tokens.astype(np.int32)
        ends = np.cumsum(lengths)
        starts, stops = _spans(ids, self._inner, ends - lengths)
        keys = [ids[start:stop].tobytes() for start, stop in zip(starts, stops, strict=True)]
        self._learn([key for key in dict.fromkeys(keys) if key not in self._known])
        kept, marks, change, done = [], [], np.zeros(len(ids), np.int64), 0
        for start, stop, key in zip(starts.tolist(), stops.tolist(), keys, strict=True):
            new = self._known[key]
            if new is not None:
                kept += [ids[done:start], new]
                if marked is not None:
                    marks += [marked[done : start + 1], np.full(len(new) - 1, marked[start + 1])]
                change[start] = len(new) - (stop - start)
                done = stop
        result = np.concatenate([*kept, ids[done:]])
        moved = np.concatenate([[0], np.cumsum(change)])
        sizes = lengths + moved[ends] - moved[ends - lengths]
        self.num_unknown += int(np.count_nonzero(result == self._wider.unknown))
        return result, sizes, None if marked is None else np.concatenate([*marks, marked[done:]])

    def _learn(self, keys: list[bytes]) -> None:
        """Store the new ids of words, or None for words that do not change."""
        rows = [np.frombuffer(key, np.int32) for key in keys]
        words = [_spelled(row.tolist(), self._tokenizer) for row in rows]
        before, after = self._tokenizer.encode_batch(words), self._wider.encode_batch(words)
        for key, row, old, new in zip(keys, rows, before, after, strict=True):
            # Keep a word whose pieces don't spell it, for example because one of them is [UNK].
            same = old != row.tolist() or new == old
            self._known[key] = None if same else np.asarray(new, np.int32)


def _inner(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Return for each id of the vocabulary (V,) whether it continues a word."""
    return ~np.asarray(tokenizer.word_starts(range(tokenizer.vocab_size)))


def _spans(ids: NDArray[Any], inner: NDArray[np.bool_], edges: Integers) -> tuple[Integers, Integers]:
    """Return the begins and ends (W,) of the words with several pieces; no word crosses an edge."""
    goes_on = inner[ids]
    goes_on[edges[edges < len(ids)]] = False
    goes_on[:1] = False
    begins = np.flatnonzero(~goes_on)
    ends = np.append(begins[1:], len(ids))
    several = ends - begins > 1
    return begins[several], ends[several]


def _spelled(pieces: list[int], tokenizer: Tokenizer) -> str:
    """Join the pieces of a word."""
    return "".join(
        tokenizer.tokens[piece].removeprefix(tokenizer.inner) if index else tokenizer.tokens[piece]
        for index, piece in enumerate(pieces)
    )


def _blocks(corpus: Corpus) -> Iterator[tuple[Integers, Integers, int, int]]:
    """Yield blocks: ids, sentence lengths, and the range [first, last) of the sentences."""
    first = 0
    while first < corpus.num_sentences:
        begin = int(corpus.sentence_starts[first])
        last = max(first + 1, int(np.searchsorted(corpus.sentence_starts, begin + _BLOCK, side="right")) - 1)
        last = min(last, corpus.num_sentences)
        end = int(corpus.sentence_starts[last])
        yield corpus.gather([begin], [end - begin]), corpus.sentence_lengths[first:last], first, last
        first = last


def _documents(corpus: Corpus, first: int, last: int) -> tuple[Integers, NDArray[np.bool_]]:
    """Return the sentences of each document within [first, last), and whether each document began before `first`."""
    low = int(np.searchsorted(corpus.document_offsets, first, side="right")) - 1
    high = int(np.searchsorted(corpus.document_offsets, last, side="left"))
    edges = np.clip(corpus.document_offsets[low : high + 1], first, last)
    continues = np.zeros(high - low, bool)
    continues[0] = corpus.document_offsets[low] < first
    return np.diff(edges), continues
