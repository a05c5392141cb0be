"""What an epoch's instances are: which tokens of the corpus make A and B, and whether B follows A.

The original recipe (BERT, appendix A.1, and its data script): sentences of a document are collected until a target
length, the chunk is cut in two, and half of the second halves are exchanged for text from elsewhere. A plan is a pure
function of (corpus, seed, epoch, length).

Where a chunk ends, and with which sentence the next one begins, depends on the sentence it begins with and on nothing
before it. So both are worked out for all sentences at once, and then the chain from the first sentence is followed.

Deviations, said aloud: B never comes from A's own document (the original gives up after ten tries), so a corpus needs
two documents; and every draw has its own key instead of one long stream.

Two segments whose order is to be told (ALBERT) are cut alike. Single segments are cut in `single_plan.py`.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bertie.corpus.shards import Corpus
from bertie.data.random import binomial_half, integers, permutation, stream, uniform
from bertie.errors import DataError

Integers = NDArray[np.int64]

# What a draw is for; part of its key.
SHORT, TARGET, _CUT, _COIN, _PARTNER, _START, _FRONT_A, _FRONT_B, MATE = range(9)
SHORT_RATE = 0.1
"""Share of the instances, or of the documents, that get less room than the rest."""
_BLOCK = 2**18  # sentences looked at at once: bounds the memory


@dataclass(frozen=True, eq=False)
class Plan:
    """N instances of one epoch, in the order in which they are drawn. Ranges count the corpus's tokens."""

    a_start: Integers
    a_length: Integers
    b_start: Integers
    b_length: Integers
    """0 for single segments."""
    labels: Integers
    """0: B follows A; 1: B is random, or comes before A; -1 for single segments."""
    num_sentences: Integers
    """Sentences of the chunk an instance was made from."""
    document: Integers
    partner: Integers
    """The document B comes from."""
    document_starts: Integers = field(default_factory=lambda: np.zeros(0, np.int64))
    """(D,) tokens with which documents begin, where instances go on across documents; else none."""

    def __len__(self) -> int:
        return len(self.a_start)

    @cached_property
    def lengths(self) -> Integers:
        """(N,) tokens with [CLS] and one [SEP] a segment and a document."""
        return self.a_length + self.b_length + 2 + (self.b_length > 0) + self.num_breaks

    @cached_property
    def first_break(self) -> Integers:
        """(N,) the first of `document_starts` behind the beginning of each instance."""
        return np.searchsorted(self.document_starts, self.a_start, side="right")

    @cached_property
    def num_breaks(self) -> Integers:
        """(N,) documents that begin within an instance; a [SEP] stands before each."""
        return np.searchsorted(self.document_starts, self.a_start + self.a_length, side="left") - self.first_break

    @property
    def random_share(self) -> float:
        """Share of label 1; above a half, since one-sentence chunks are always random."""
        return float((self.labels == 1).mean())


def pair_plan(corpus: Corpus, *, seed: int, epoch: int, length: int) -> Plan:
    """Plan pairs for masked LM and next sentence prediction.

    Args:
        corpus: prepared text.
        seed: of all draws.
        epoch: pass over the corpus; each has its own chunks, pairs and order.
        length: tokens of the longest instance, [CLS] and both [SEP] counted.

    Raises:
        DataError: fewer than two documents, or none with two sentences.
    """
    if corpus.num_documents < 2:
        raise DataError(
            f"the corpus has {corpus.num_documents} document; next sentence prediction takes random sentences from "
            "another one. Put an empty line between documents, or train with --task masked_lm"
        )
    if length < 5:
        raise DataError(f"--length {length} leaves no room for a pair; it must be at least 5")
    chunks = _Chunks(corpus, seed=seed, epoch=epoch, most=length - 3)
    place = chain(chunks.follow, len(chunks.starts) - 1)
    rows = chunks.pairs(place)
    if not (rows["num_sentences"] > 1).any():
        raise DataError(
            "no document of the corpus has two sentences that fit one sequence, so no sentence follows another; put "
            "several sentences into a document (empty lines only between documents), raise --length, or train with "
            "--task masked_lm"
        )
    return _shuffled(rows, place, seed=seed, epoch=epoch, most=length - 3)


def order_plan(corpus: Corpus, *, seed: int, epoch: int, length: int) -> Plan:
    """Plan two segments that follow one another, of which every second pair is exchanged (ALBERT, 3.1).

    A chunk of one sentence has no order to tell; it stays a single segment. (The original puts a random segment of
    another document behind it.)

    Args:
        corpus: prepared text.
        seed: of all draws.
        epoch: pass over the corpus; each has its own chunks and order.
        length: tokens of the longest instance, [CLS] and both [SEP] counted.

    Raises:
        DataError: no document has two sentences.
    """
    if length < 5:
        raise DataError(f"--length {length} leaves no room for a pair; it must be at least 5")
    chunks = _Chunks(corpus, seed=seed, epoch=epoch, most=length - 3)
    place = chain(chunks.stop, len(chunks.starts) - 1)
    rows = chunks.ordered(place)
    if not (rows["labels"] >= 0).any():
        raise DataError(
            "no document has two sentences within --length, so there is no order to tell; put several sentences into a "
            "document (empty lines only between documents), or train with --task masked_lm"
        )
    return _shuffled(rows, place, seed=seed, epoch=epoch, most=length - 3)


def _shuffled(rows: dict[str, Integers], place: Integers, *, seed: int, epoch: int, most: int) -> Plan:
    """Truncate the instances of the chunks that begin at `place`, and put them in the epoch's order."""
    front_a, front_b = (stream(seed, epoch, purpose, place) for purpose in (_FRONT_A, _FRONT_B))
    _truncate(rows, most, front_a, front_b)
    order = permutation(seed, epoch, len(place))
    return Plan(**{name: values[order] for name, values in rows.items()})


def chain(follow: Callable[[Integers], Integers], count: int) -> Integers:
    """Visit places 0..count-1 from 0 on: after place p comes `follow(p)`, which is larger."""
    visited = array("q")
    place = 0
    for begin in range(0, count, _BLOCK):
        end = min(begin + _BLOCK, count)
        after = follow(np.arange(begin, end)).tolist()
        while place < end:
            visited.append(place)
            place = after[place - begin]
    return np.asarray(visited)


class _Chunks:
    """The chunk that begins at a sentence, for any sentences asked for."""

    def __init__(self, corpus: Corpus, *, seed: int, epoch: int, most: int) -> None:
        self.starts, self.edges = corpus.sentence_starts, corpus.document_offsets
        self._seed, self._epoch = seed, epoch
        document = np.arange(corpus.num_documents)
        is_short = uniform(self._keys(SHORT, document)) < SHORT_RATE
        self._targets = np.where(is_short, integers(self._keys(TARGET, document), 2, most + 1), most)

    def _keys(self, purpose: int, number: Integers) -> NDArray[np.uint64]:
        return stream(self._seed, self._epoch, purpose, number)

    def _cut(self, place: Integers) -> tuple[Integers, Integers, Integers, NDArray[np.bool_]]:
        """Return documents, where the chunks stop, sentences in A, and whether B is random."""
        document = np.searchsorted(self.edges, place, side="right") - 1
        # The chunk ends with the first sentence that brings it to the target, or with the document.
        stop = np.searchsorted(self.starts, self.starts[place] + self._targets[document], side="left")
        stop = np.minimum(stop, self.edges[document + 1])
        count = stop - place
        cut = np.where(count > 1, integers(self._keys(_CUT, place), 1, np.maximum(count, 2)), 1)
        is_random = (count == 1) | (uniform(self._keys(_COIN, place)) < 0.5)
        return document, stop, cut, is_random

    def follow(self, place: Integers) -> Integers:
        """Tell which sentence the next chunk begins with; those that a random B displaced are used again."""
        _, stop, cut, is_random = self._cut(place)
        return np.where(is_random, place + cut, stop)

    def stop(self, place: Integers) -> Integers:
        """Tell with which sentence a chunk stops, and the next one begins where no sentence is displaced."""
        return self._cut(place)[1]

    def ordered(self, place: Integers) -> dict[str, Integers]:
        """Make two segments of each chunk that begins at these sentences, as columns of a plan, not yet truncated."""
        starts = self.starts
        document, stop, cut, _ = self._cut(place)
        is_swapped = uniform(self._keys(_COIN, place)) < 0.5
        middle, alone = starts[place + cut], stop - place == 1
        first, second = middle - starts[place], starts[stop] - middle
        swapped = is_swapped & ~alone
        return {
            "a_start": np.where(swapped, middle, starts[place]),
            "a_length": np.where(swapped, second, first),
            "b_start": np.where(swapped, starts[place], middle),
            "b_length": np.where(swapped, first, second),
            "labels": np.where(alone, -1, swapped),
            "num_sentences": stop - place,
            "document": document,
            "partner": document,
        }

    def pairs(self, place: Integers) -> dict[str, Integers]:
        """Make the pairs of the chunks that begin at these sentences, as columns of a plan, not yet truncated."""
        starts, edges = self.starts, self.edges
        document, stop, cut, is_random = self._cut(place)
        a_length = starts[place + cut] - starts[place]
        other = integers(self._keys(_PARTNER, place), 0, len(edges) - 2)
        other += other >= document  # any document but this one
        first = integers(self._keys(_START, place), edges[other], edges[other + 1])
        wanted = np.maximum(self._targets[document] - a_length, 1)
        until = np.minimum(np.searchsorted(starts, starts[first] + wanted, side="left"), edges[other + 1])
        b_first, b_stop = np.where(is_random, first, place + cut), np.where(is_random, until, stop)
        return {
            "a_start": starts[place],
            "a_length": a_length,
            "b_start": starts[b_first],
            "b_length": starts[b_stop] - starts[b_first],
            "labels": is_random.astype(np.int64),
            "num_sentences": stop - place,
            "document": document,
            "partner": np.where(is_random, other, document),
        }


def _truncate(rows: dict[str, Integers], most: int, keys_a: NDArray[np.uint64], keys_b: NDArray[np.uint64]) -> None:
    """Cut pairs to `most` tokens, in place.

    The original takes one token after another from the longer side (B on ties), from its front or its end by a coin.
    How many each side loses doesn't depend on the coins; how many of them from the front is a binomial draw.
    """
    a, b = rows["a_length"], rows["b_length"]
    excess = np.maximum(a + b - most, 0)
    gap = np.minimum(np.abs(a - b), excess)
    rest = excess - gap  # from here on both sides take turns, B first
    lost_a = np.where(a > b, gap, 0) + rest // 2
    lost_b = np.where(b > a, gap, 0) + (rest + 1) // 2
    for side, lost, keys in (("a", lost_a, keys_a), ("b", lost_b, keys_b)):
        rows[f"{side}_start"] = rows[f"{side}_start"] + binomial_half(keys, lost)
        rows[f"{side}_length"] = rows[f"{side}_length"] - lost
