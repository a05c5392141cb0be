"""What an epoch's instances are: which tokens of the corpus make A and B, and whether B follows A.

The original recipe (BERT, appendix A.1, and its data script): sentences of a document are collected until a target
length, the chunk is cut in two, and half of the second halves are exchanged for text from elsewhere. A plan is a pure
function of (corpus, seed, epoch, length). All documents are worked through in lock-step: round k makes the k-th chunk
of every document that has one, in a few array operations.

Deviations, said aloud: B never comes from A's own document (the original gives up after ten tries), so a corpus needs
two documents; and every draw has its own key instead of one long stream.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertie.corpus.shards import Corpus
from bertie.data.random import binomial_half, integers, permutation, stream, uniform
from bertie.errors import DataError

Integers = NDArray[np.int64]

# What a draw is for; part of its key.
_SHORT, _TARGET, _CUT, _COIN, _PARTNER, _START, _FRONT_A, _FRONT_B = range(8)
_SHORT_RATE = 0.1


@dataclass(frozen=True, eq=False)
class Plan:
    """N instances of one epoch, in the order in which they are drawn. Ranges count the corpus's tokens."""

    a_start: Integers
    a_length: Integers
    b_start: Integers
    b_length: Integers
    """0 for single segments."""
    labels: Integers
    """0: B follows A; 1: B is random; -1 for single segments."""
    num_sentences: Integers
    """Sentences of the chunk an instance was made from."""
    document: Integers
    partner: Integers
    """The document B comes from."""

    def __len__(self) -> int:
        return len(self.a_start)

    @property
    def lengths(self) -> Integers:
        """(N,) tokens with [CLS] and one [SEP] a segment."""
        return self.a_length + self.b_length + 2 + (self.b_length > 0)

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
    starts, edges = np.asarray(corpus.sentence_starts, np.int64), np.asarray(corpus.document_offsets, np.int64)
    documents = np.flatnonzero(np.diff(edges) > 0)
    most = length - 3
    own = stream(seed, epoch, documents)  # one key a document
    short = uniform(stream(own, _SHORT)) < _SHORT_RATE
    targets = np.where(short, integers(stream(own, _TARGET), 2, most + 1), most)
    place, ends = edges[documents].copy(), edges[documents + 1]
    active, chunk, rows = np.arange(len(documents)), 0, []
    while active.size:
        row, consumed = _round(
            starts,
            edges,
            documents[active],
            place[active],
            ends[active],
            targets[active],
            stream(own[active], chunk + 16),
        )
        rows.append(row)
        place[active] += consumed
        active = active[place[active] < ends[active]]
        chunk += 1
    merged = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    if not (merged["num_sentences"] > 1).any():
        raise DataError(
            "no document of the corpus has two sentences that fit one sequence, so no sentence follows another; put "
            "several sentences into a document (empty lines only between documents), raise --length, or train with "
            "--task masked_lm"
        )
    _truncate(merged, most)
    order = permutation(seed, epoch, len(merged["labels"]))
    del merged["key"]
    return Plan(**{name: values[order] for name, values in merged.items()})


def _round(
    starts: Integers,
    edges: Integers,
    documents: Integers,
    place: Integers,
    ends: Integers,
    targets: Integers,
    keys: NDArray[np.uint64],
) -> tuple[dict[str, Integers], Integers]:
    """Make the next chunk of every active document.

    Returns:
        The instances before truncation, and how many sentences each document has used up.
    """
    # The chunk ends with the first sentence that brings it to the target, or with the document.
    last = np.searchsorted(starts, starts[place] + targets, side="left")
    stop = np.clip(last, place + 1, ends)
    count = stop - place
    cut = np.where(count > 1, integers(stream(keys, _CUT), 1, np.maximum(count, 2)), 1)
    is_random = (count == 1) | (uniform(stream(keys, _COIN)) < 0.5)
    a_length = starts[place + cut] - starts[place]
    other = integers(stream(keys, _PARTNER), 0, len(edges) - 2)
    other += other >= documents  # any document but this one
    first = integers(stream(keys, _START), edges[other], np.maximum(edges[other + 1], edges[other] + 1))
    wanted = np.maximum(targets - a_length, 1)
    until = np.searchsorted(starts, starts[first] + wanted, side="left")
    until = np.clip(until, first + 1, np.maximum(edges[other + 1], first + 1))
    b_first, b_stop = np.where(is_random, first, place + cut), np.where(is_random, until, stop)
    row = {
        "a_start": starts[place],
        "a_length": a_length,
        "b_start": starts[b_first],
        "b_length": starts[b_stop] - starts[b_first],
        "labels": is_random.astype(np.int64),
        "num_sentences": count,
        "document": documents,
        "partner": np.where(is_random, other, documents),
        "key": keys.view(np.int64),
    }
    # Sentences that a random B displaced are used again.
    return row, np.where(is_random, cut, count)


def _truncate(rows: dict[str, Integers], most: int) -> None:
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
    keys = rows["key"].view(np.uint64)
    for side, lost, purpose in (("a", lost_a, _FRONT_A), ("b", lost_b, _FRONT_B)):
        rows[f"{side}_start"] = rows[f"{side}_start"] + binomial_half(stream(keys, purpose), lost)
        rows[f"{side}_length"] = rows[f"{side}_length"] - lost


def text_plan(corpus: Corpus, *, seed: int, epoch: int, length: int) -> Plan:
    """Plan single segments for masked LM alone: consecutive tokens of one document, as long as fits.

    Each epoch begins a document at another place, so that its cuts move.

    Args:
        corpus: prepared text.
        seed: of all draws.
        epoch: pass over the corpus.
        length: tokens of the longest instance, [CLS] and [SEP] counted.
    """
    if length < 3:
        raise DataError(f"--length {length} leaves no room for text; it must be at least 3")
    most = length - 2
    starts, edges = np.asarray(corpus.sentence_starts, np.int64), np.asarray(corpus.document_offsets, np.int64)
    document = np.flatnonzero(np.diff(starts[edges]) > 0)
    begin, end = starts[edges[document]], starts[edges[document + 1]]
    shift = integers(stream(seed, epoch, document), 1, most + 1)
    shift = np.where(end - begin <= most, most, shift)  # a document that fits stays whole
    count = 1 + -(-np.maximum(end - begin - shift, 0) // most)
    owner = np.repeat(np.arange(len(document)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    a_start = begin[owner] + np.where(number == 0, 0, shift[owner] + (number - 1) * most)
    a_stop = np.minimum(begin[owner] + shift[owner] + number * most, end[owner])
    order = permutation(seed, epoch, len(owner))
    zeros = np.zeros(len(owner), np.int64)
    columns = {
        "a_start": a_start,
        "a_length": a_stop - a_start,
        "b_start": zeros,
        "b_length": zeros,
        "labels": zeros - 1,
        "num_sentences": zeros,
        "document": document[owner],
        "partner": document[owner],
    }
    return Plan(**{name: values[order] for name, values in columns.items()})
