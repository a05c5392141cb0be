"""Plans of single segments: masked LM alone (RoBERTa, 4.2), or with passages of one document as pairs (DeCLUTR).

Shapes: N instances of an epoch.
"""

import numpy as np

from bertie.corpus.shards import Corpus
from bertie.data.plan import MATE, SHORT, SHORT_RATE, TARGET, Integers, Plan, chain
from bertie.data.random import integers, permutation, stream, uniform
from bertie.errors import DataError

_FULL = 0.9  # of the room that a passage has, on average: what its last sentence goes beyond its share has room too
_STRETCH = 0.25  # a passage is longer or shorter than its share by so much, as drawn


def text_plan(corpus: Corpus, *, seed: int, epoch: int, length: int) -> Plan:
    """Plan single segments for masked LM alone: consecutive whole sentences of one document, as many as fit.

    A sentence that fits no segment is cut into several. A tenth of the segments gets less room, drawn anew in each
    epoch, so that the others begin elsewhere.

    Args:
        corpus: prepared text.
        seed: of all draws.
        epoch: pass over the corpus.
        length: tokens of the longest instance, [CLS] and [SEP] counted.
    """
    return _single(corpus, seed=seed, epoch=epoch, length=length, across=False)


def full_plan(corpus: Corpus, *, seed: int, epoch: int, length: int) -> Plan:
    """Plan full sequences for masked LM alone: consecutive whole sentences, also of several documents (RoBERTa, 4.2).

    As `text_plan`, but where a document ends the sequence goes on with the next one behind a [SEP].

    Args:
        corpus: prepared text.
        seed: of all draws.
        epoch: pass over the corpus.
        length: tokens of the longest instance, [CLS] and all [SEP] counted.
    """
    return _single(corpus, seed=seed, epoch=epoch, length=length, across=True)


def passage_plan(corpus: Corpus, *, seed: int, epoch: int, length: int) -> Plan:
    """Plan passages, two of one document behind one another, so that a batch holds pairs (Giorgi et al. 2021).

    A passage is consecutive whole sentences. A document is cut into an even number of passages of about the same
    length, at other places in each epoch, and they are paired at random; one that is left over stands alone.

    Args:
        corpus: prepared text.
        seed: of all draws.
        epoch: pass over the corpus.
        length: tokens of the longest instance, [CLS] and [SEP] counted.

    Raises:
        DataError: fewer than two documents, or none that gives two passages.
    """
    if corpus.num_documents < 2:
        raise DataError(
            f"the corpus has {corpus.num_documents} document; passages of one document are told from those of others. "
            "Put an empty line between documents, or train with --task masked_lm"
        )
    most = _most(length)
    starts, edges = _cut_long(corpus.sentence_starts, corpus.document_offsets, most)
    middles = (starts[:-1] + starts[1:]) / 2

    def follow(place: Integers) -> Integers:
        behind = np.searchsorted(edges, place, side="right")  # the document after this one
        first, last = starts[edges[behind - 1]], starts[edges[behind]]
        share = (last - first) / (2 * np.ceil((last - first) / (2 * _FULL * most)))
        rest = last - starts[place]
        parts = np.maximum(np.rint(rest / share), 1)
        stretch = np.where(parts > 1, 1 + _STRETCH * (2 * uniform(stream(seed, epoch, TARGET, place)) - 1), 1)
        wished = np.searchsorted(middles, starts[place] + rest / parts * stretch, side="right")
        stop = np.minimum(wished, np.searchsorted(starts, starts[place] + most, side="right") - 1)
        after: Integers = np.maximum(np.minimum(stop, edges[behind] - (parts > 1)), place + 1)
        return after

    place = chain(follow, len(starts) - 1)
    document = np.searchsorted(edges, place, side="right") - 1
    by_document = np.lexsort((stream(seed, epoch, MATE, place), document))
    document = document[by_document]
    is_first = np.diff(document, prepend=-1) > 0  # of its document
    number = np.arange(len(document)) - np.flatnonzero(is_first)[np.cumsum(is_first) - 1]  # within its document
    begins_pair = number % 2 == 0
    if begins_pair.all():
        raise DataError(
            "no document of the corpus has two sentences, so there are no two passages of one document; put several "
            "sentences into a document (empty lines only between documents), or train with --task masked_lm"
        )
    pair = np.cumsum(begins_pair) - 1
    order = np.argsort(permutation(seed, epoch, int(pair[-1]) + 1))[pair]
    place = place[by_document[np.argsort(order, kind="stable")]]
    return _plan(place, follow(place), starts, edges)


def _most(length: int) -> int:
    """Return how many tokens of text a sequence has room for."""
    if length < 3:
        raise DataError(f"--length {length} leaves no room for text; it must be at least 3")
    return length - 2


def _single(corpus: Corpus, *, seed: int, epoch: int, length: int, across: bool) -> Plan:
    """Plan single segments of one document each, or across documents."""
    most = _most(length)
    starts, edges = _cut_long(corpus.sentence_starts, corpus.document_offsets, most)
    begins, ends = starts[:-1], starts[1:]
    if across:  # every document before a sentence's own takes a place more, for its [SEP]
        before = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        begins, ends = begins + before, ends + before

    def follow(place: Integers) -> Integers:
        is_short = uniform(stream(seed, epoch, SHORT, place)) < SHORT_RATE
        room = np.where(is_short, integers(stream(seed, epoch, TARGET, place), 1, most + 1), most)
        stop = np.maximum(np.searchsorted(ends, begins[place] + room, side="right"), place + 1)
        return stop if across else np.minimum(stop, edges[np.searchsorted(edges, place, side="right")])

    place = chain(follow, len(starts) - 1)
    place = place[permutation(seed, epoch, len(place))]
    return _plan(place, follow(place), starts, edges, across=across)


def _plan(place: Integers, stop: Integers, starts: Integers, edges: Integers, *, across: bool = False) -> Plan:
    """Make instances of the sentences from `place` to before `stop`."""
    document, none = np.searchsorted(edges, place, side="right") - 1, np.zeros(len(place), np.int64)
    return Plan(
        a_start=starts[place],
        a_length=starts[stop] - starts[place],
        b_start=none,
        b_length=none,
        labels=none - 1,
        num_sentences=stop - place,
        document=document,
        partner=document,
        document_starts=starts[edges[:-1]] if across else none[:0],
    )


def _cut_long(starts: Integers, edges: Integers, most: int) -> tuple[Integers, Integers]:
    """Cut sentences of more than `most` tokens into several; returns the new sentence starts and document edges."""
    lengths = np.diff(starts)
    if lengths.max() <= most:
        return starts, edges
    parts = -(-lengths // most)
    after = np.concatenate([[0], np.cumsum(parts)])
    within = np.arange(after[-1]) - np.repeat(after[:-1], parts)
    return np.append(np.repeat(starts[:-1], parts) + most * within, starts[-1]), after[edges]
