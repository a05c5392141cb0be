"""Plan the instances of an epoch: which tokens of the corpus form A and B, and whether B follows A.

The recipe is the original one (BERT, appendix A.1, and its data script). Sentences of a document are collected up to a
target length. This chunk is cut in two, and half of the second parts are replaced by text from another document. A plan
is a pure function of (corpus, seed, epoch, length).

The end of a chunk and the first sentence of the next one depend only on the first sentence of the chunk. So both are
computed for all sentences at once. Then the plan follows the chain from the first sentence of the corpus.

There are two deviations. B never comes from A's own document (the original gives up after ten tries), so a corpus needs
two documents. And every draw has its own key, where the original has one long stream.

Pairs for sentence order prediction (ALBERT) are cut the same way. `single_plan.py` plans single segments.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bertie.corpus.shards import Corpus
from bertie.errors import DataError
from bertie.sampling.random import binomial_half, integers, permutation, stream, uniform

Integers = NDArray[np.int64]

# The purpose of a draw; part of its key.
SHORT, TARGET, _CUT, _COIN, _PARTNER, _START, _FRONT_A, _FRONT_B, MATE = range(9)
SHORT_RATE = 0.1
"""Share of the instances, or of the documents, that get less room than the others."""
_BLOCK = 2**18  # sentences handled at once; bounds the memory


@dataclass(frozen=True, eq=False)
class Plan:
    """N instances of one epoch, in the order of training. Starts and lengths count tokens of the corpus."""

    a_start: Integers
    a_length: Integers
    b_start: Integers
    b_length: Integers
    """0 for single segments."""
    labels: Integers
    """0: B follows A; 1: B is random, or comes before A; -1: single segment."""
    num_sentences: Integers
    """Number of sentences in the chunk of each instance."""
    document: Integers
    partner: Integers
    """Document that B comes from."""
    document_starts: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    """(D,) first token of each document if instances cross documents; empty otherwise."""

    def __len__(self) -> int:
        return len(self.a_start)

    @cached_property
    def lengths(self) -> Integers:
        """(N,) tokens with [CLS], and with one [SEP] for each segment and each further document."""
        return self.a_length + self.b_length + 2 + (self.b_length > 0) + self.num_breaks

    @cached_property
    def first_break(self) -> Integers:
        """(N,) index of the first of `document_starts` after the start of each instance."""
        return np.searchsorted(self.document_starts, self.a_start, side="right")

    @cached_property
    def num_breaks(self) -> Integers:
        """(N,) number of documents that begin within an instance; a [SEP] precedes each."""
        return np.searchsorted(self.document_starts, self.a_start + self.a_length, side="left") - self.first_break

    @property
    def random_share(self) -> float:
        """Share of label 1; above one half, because the B of a one-sentence chunk is always random."""
        return float((self.labels == 1).mean())


def pair_plan(corpus: Corpus, *, seed: int, epoch: int, length: int) -> Plan:
    """Plan pairs for masked LM and next sentence prediction.

    Args:
        corpus: prepared text.
        seed: seed of all draws.
        epoch: number of the pass over the corpus; each pass has its own chunks, pairs and order.
        length: tokens of the longest instance, including [CLS] and both [SEP].

    Raises:
        DataError: the corpus has fewer than two documents, or none with two sentences.
    """
    if corpus.num_documents < 2:
        raise DataError(
            f"the corpus has {corpus.num_documents} document; next sentence prediction takes random sentences from "
            "another one. Put an empty line between documents, or train with --task masked_lm"
        )
    if length < 5:
        raise DataError(f"--length {length} leaves no room for a pair; it must be at least 5")
    chunks = _Chunks(corpus, seed=seed, epoch=epoch, room=length - 3)
    sentence = chain(chunks.follow, len(chunks.starts) - 1)
    rows = chunks.pairs(sentence)
    if not (rows["num_sentences"] > 1).any():
        raise DataError(
            "no document of the corpus has two sentences that fit one sequence, so no sentence follows another; put "
            "several sentences into a document (empty lines only between documents), raise --length, or train with "
            "--task masked_lm"
        )
    return _shuffled(rows, sentence, seed=seed, epoch=epoch, room=length - 3)


def order_plan(corpus: Corpus, *, seed: int, epoch: int, length: int) -> Plan:
    """Plan pairs of consecutive segments, of which a random half is swapped (ALBERT, 3.1).

    A chunk of one sentence has no order; it stays a single segment. (The original appends a random segment of another
    document.)

    Args:
        corpus: prepared text.
        seed: seed of all draws.
        epoch: number of the pass over the corpus; each pass has its own chunks and order.
        length: tokens of the longest instance, including [CLS] and both [SEP].

    Raises:
        DataError: no document has two sentences.
    """
    if length < 5:
        raise DataError(f"--length {length} leaves no room for a pair; it must be at least 5")
    chunks = _Chunks(corpus, seed=seed, epoch=epoch, room=length - 3)
    sentence = chain(chunks.stop, len(chunks.starts) - 1)
    rows = chunks.ordered(sentence)
    if not (rows["labels"] >= 0).any():
        raise DataError(
            "no document has two sentences within --length, so there is no order to predict; put several sentences "
            "into a document (empty lines only between documents), or train with --task masked_lm"
        )
    return _shuffled(rows, sentence, seed=seed, epoch=epoch, room=length - 3)


def _shuffled(rows: dict[str, Integers], sentence: Integers, *, seed: int, epoch: int, room: int) -> Plan:
    """Truncate the instances of the chunks that begin at `sentence`, and put them in the epoch's order."""
    front_a, front_b = (stream(seed, epoch, purpose, sentence) for purpose in (_FRONT_A, _FRONT_B))
    _truncate(rows, room, front_a, front_b)
    order = permutation(seed, epoch, len(sentence))
    return Plan(**{name: values[order] for name, values in rows.items()})


def chain(follow: Callable[[Integers], Integers], count: int) -> Integers:
    """Return the numbers below `count` of the chain 0, follow(0), follow(follow(0)), ...; `follow` must rise."""
    visited = array("q")
    current = 0
    for begin in range(0, count, _BLOCK):
        end = min(begin + _BLOCK, count)
        after = follow(np.arange(begin, end)).tolist()
        while current < end:
            visited.append(current)
            current = after[current - begin]
    return np.asarray(visited)


class _Chunks:
    """The chunks that begin at given sentences: arrays in, arrays out."""

    def __init__(self, corpus: Corpus, *, seed: int, epoch: int, room: int) -> None:
        self.starts, self.edges = corpus.sentence_starts, corpus.document_offsets
        self._seed, self._epoch = seed, epoch
        document = np.arange(corpus.num_documents)
        is_short = uniform(self._keys(SHORT, document)) < SHORT_RATE
        self._targets = np.where(is_short, integers(self._keys(TARGET, document), 2, room + 1), room)

    def _keys(self, purpose: int, number: Integers) -> NDArray[np.uint64]:
        return stream(self._seed, self._epoch, purpose, number)

    def _cut(self, sentence: Integers) -> tuple[Integers, Integers, Integers, NDArray[np.bool_]]:
        """Return the documents, where the chunks stop, the number of sentences in A, and whether B is random."""
        document = np.searchsorted(self.edges, sentence, side="right") - 1
        # The chunk ends with the first sentence that brings it to the target, or with the document.
        stop = np.searchsorted(self.starts, self.starts[sentence] + self._targets[document], side="left")
        stop = np.minimum(stop, self.edges[document + 1])
        count = stop - sentence
        cut = np.where(count > 1, integers(self._keys(_CUT, sentence), 1, np.maximum(count, 2)), 1)
        is_random = (count == 1) | (uniform(self._keys(_COIN, sentence)) < 0.5)
        return document, stop, cut, is_random

    def follow(self, sentence: Integers) -> Integers:
        """Return the first sentence of the next chunk; sentences that a random B displaced are used again."""
        _, stop, cut, is_random = self._cut(sentence)
        return np.where(is_random, sentence + cut, stop)

    def stop(self, sentence: Integers) -> Integers:
        """Return the sentence after each chunk. The next chunk begins there if no sentence is displaced."""
        return self._cut(sentence)[1]

    def ordered(self, sentence: Integers) -> dict[str, Integers]:
        """Cut the chunks that begin at these sentences into two segments each: columns of a plan, not yet truncated."""
        starts = self.starts
        document, stop, cut, _ = self._cut(sentence)
        is_swapped = uniform(self._keys(_COIN, sentence)) < 0.5
        middle, alone = starts[sentence + cut], stop - sentence == 1
        first, second = middle - starts[sentence], starts[stop] - middle
        swapped = is_swapped & ~alone
        return {
            "a_start": np.where(swapped, middle, starts[sentence]),
            "a_length": np.where(swapped, second, first),
            "b_start": np.where(swapped, starts[sentence], middle),
            "b_length": np.where(swapped, first, second),
            "labels": np.where(alone, -1, swapped),
            "num_sentences": stop - sentence,
            "document": document,
            "partner": document,
        }

    def pairs(self, sentence: Integers) -> dict[str, Integers]:
        """Make pairs of the chunks that begin at these sentences: columns of a plan, not yet truncated."""
        starts, edges = self.starts, self.edges
        document, stop, cut, is_random = self._cut(sentence)
        a_length = starts[sentence + cut] - starts[sentence]
        other = integers(self._keys(_PARTNER, sentence), 0, len(edges) - 2)
        other += other >= document  # any document but this one
        first = integers(self._keys(_START, sentence), edges[other], edges[other + 1])
        wanted = np.maximum(self._targets[document] - a_length, 1)
        until = np.minimum(np.searchsorted(starts, starts[first] + wanted, side="left"), edges[other + 1])
        b_first, b_stop = np.where(is_random, first, sentence + cut), np.where(is_random, until, stop)
        return {
            "a_start": starts[sentence],
            "a_length": a_length,
            "b_start": starts[b_first],
            "b_length": starts[b_stop] - starts[b_first],
            "labels": is_random.astype(np.int64),
            "num_sentences": stop - sentence,
            "document": document,
            "partner": np.where(is_random, other, document),
        }


def _truncate(rows: dict[str, Integers], room: int, keys_a: NDArray[np.uint64], keys_b: NDArray[np.uint64]) -> None:
    """Truncate pairs to `room` tokens, in place.

    The original removes one token after another from the longer segment (B on ties), from its front or its end by the
    toss of a coin. The number that each segment loses doesn't depend on the coins. The number removed from the front is
    a binomial draw.
    """
    a, b = rows["a_length"], rows["b_length"]
    excess = np.maximum(a + b - room, 0)
    gap = np.minimum(np.abs(a - b), excess)
    rest = excess - gap  # now both lose tokens in turn, B first
    lost_a = np.where(a > b, gap, 0) + rest // 2
    lost_b = np.where(b > a, gap, 0) + (rest + 1) // 2
    for side, lost, keys in (("a", lost_a, keys_a), ("b", lost_b, keys_b)):
        rows[f"{side}_start"] = rows[f"{side}_start"] + binomial_half(keys, lost)
        rows[f"{side}_length"] = rows[f"{side}_length"] - lost
