"""Plans of single segments: masked LM alone (RoBERTa, 4.2), or with passages of one document as pairs (DeCLUTR).

Shapes: N instances of an epoch.
"""

import numpy as np

from bertie.corpus.shards import Corpus
from bertie.data.plan import MATE, SHORT, SHORT_RATE, TARGET, Integers, Plan, chain
from bertie.data.random import integers, permutation, stream, uniform
from bertie.errors import DataError


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

    As `text_plan`, but a passage holds half of its document at most, or one sentence. The
    passages of a document are paired at random, anew in each epoch; one that is left over stands alone.

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
    plan = _single(corpus, seed=seed, epoch=epoch, length=length, across=False, halves=True)
    by_document = np.lexsort((stream(seed, epoch, MATE, plan.a_start), plan.document))
    document = plan.document[by_document]
    is_first = np.diff(document, prepend=-1) > 0  # of its document
    number = np.arange(len(document)) - np.flatnonzero(is_first)[np.cumsum(is_first) - 1]  # within its document
    begins_pair = number % 2 == 0
    if begins_pair.all():
        raise DataError(
            "no document of the corpus has two sentences, so there are no two passages of one document; put several "
            "sentences into a document (empty lines only between documents), or train with --task masked_lm"
        )
    pair = np.cumsum(begins_pair) - 1
    place = np.argsort(permutation(seed, epoch, int(pair[-1]) + 1))[pair]
    return plan.taken(by_document[np.argsort(place, kind="stable")])


def _single(corpus: Corpus, *, seed: int, epoch: int, length: int, across: bool, halves: bool = False) -> Plan:
    """Plan single segments of one document each, or across documents, in a random order.

    With `halves` a segment has room for half of its document at most.
    """
    if length < 3:
        raise DataError(f"--length {length} leaves no room for text; it must be at least 3")
    most = length - 2
    starts, edges = _cut_long(corpus.sentence_starts, corpus.document_offsets, most)
    begins, ends = starts[:-1], starts[1:]
    if across:  # every document before a sentence's own takes a place more, for its [SEP]
        before = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        begins, ends = begins + before, ends + before

    def follow(place: Integers) -> Integers:
        is_short = uniform(stream(seed, epoch, SHORT, place)) < SHORT_RATE
        room = np.where(is_short, integers(stream(seed, epoch, TARGET, place), 1, most + 1), most)
        behind = np.searchsorted(edges, place, side="right")  # the document after this one
        if halves:
            room = np.minimum(room, -(-(starts[edges[behind]] - starts[edges[behind - 1]]) // 2))
        stop = np.maximum(np.searchsorted(ends, begins[place] + room, side="right"), place + 1)
        return stop if across else np.minimum(stop, edges[behind])

    place = chain(follow, len(starts) - 1)
    place = place[permutation(seed, epoch, len(place))]
    stop, document = follow(place), np.searchsorted(edges, place, side="right") - 1
    none = np.zeros(len(place), np.int64)
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
