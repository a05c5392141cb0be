"""Plans of single segments: for masked LM alone (RoBERTa, 4.2), or with pairs of passages of one document (DeCLUTR).

Shapes: N instances of an epoch.
"""

import numpy as np

from bertie.corpus.shards import Corpus
from bertie.errors import DataError
from bertie.sampling.plan import MATE, SHORT, SHORT_RATE, TARGET, Integers, Plan, chain
from bertie.sampling.random import integers, permutation, stream, uniform

_FULL = 0.9  # average share of the room that a passage fills; its last sentence may exceed its planned length
_STRETCH = 0.25  # largest random change of a passage's length, as a share of it


def text_plan(corpus: Corpus, *, seed: int, epoch: int, length: int) -> Plan:
    """Plan single segments for masked LM alone: consecutive whole sentences of one document, as many as fit.

    A sentence longer than a segment is cut into several. A random tenth of the segments gets less room, a different
    tenth in each epoch, so that the other segments begin elsewhere.

    Args:
        corpus: prepared text.
        seed: seed of all draws.
        epoch: number of the pass over the corpus.
        length: tokens of the longest instance, including [CLS] and [SEP].
    """
    return _single(corpus, seed=seed, epoch=epoch, length=length, across=False)


def full_plan(corpus: Corpus, *, seed: int, epoch: int, length: int) -> Plan:
    """Plan full sequences for masked LM alone: consecutive whole sentences, also of several documents (RoBERTa, 4.2).

    This is `text_plan`, except that a sequence continues with the next document, after a [SEP].

    Args:
        corpus: prepared text.
        seed: seed of all draws.
        epoch: number of the pass over the corpus.
        length: tokens of the longest instance, including [CLS] and all [SEP].
    """
    return _single(corpus, seed=seed, epoch=epoch, length=length, across=True)


def passage_plan(corpus: Corpus, *, seed: int, epoch: int, length: int) -> Plan:
    """Plan passages, two of one document next to each other, so that a batch holds pairs (Giorgi et al. 2021).

    A passage is consecutive whole sentences. A document is cut into an even number of passages of about the same
    length, at different points in each epoch. They are paired at random. One that is left over stays single.

    Args:
        corpus: prepared text.
        seed: seed of all draws.
        epoch: number of the pass over the corpus.
        length: tokens of the longest instance, including [CLS] and [SEP].

    Raises:
        DataError: the corpus has fewer than two documents, or none of them gives two passages.
    """
    if corpus.num_documents < 2:
        raise DataError(
            f"the corpus has {corpus.num_documents} document; passages of one document are compared with those of "
            "others. Put an empty line between documents, or train with --task masked_lm"
        )
    room = _room(length)
    starts, edges = _cut_long(corpus.sentence_starts, corpus.document_offsets, room)
    middles = (starts[:-1] + starts[1:]) / 2

    def follow(sentence: Integers) -> Integers:
        behind = np.searchsorted(edges, sentence, side="right")  # the next document
        first, last = starts[edges[behind - 1]], starts[edges[behind]]
        share = (last - first) / (2 * np.ceil((last - first) / (2 * _FULL * room)))
        rest = last - starts[sentence]
        parts = np.maximum(np.rint(rest / share), 1)
        stretch = np.where(parts > 1, 1 + _STRETCH * (2 * uniform(stream(seed, epoch, TARGET, sentence)) - 1), 1)
        wished = np.searchsorted(middles, starts[sentence] + rest / parts * stretch, side="right")
        stop = np.minimum(wished, np.searchsorted(starts, starts[sentence] + room, side="right") - 1)
        after: Integers = np.maximum(np.minimum(stop, edges[behind] - (parts > 1)), sentence + 1)
        return after

    sentence = chain(follow, len(starts) - 1)
    document = np.searchsorted(edges, sentence, side="right") - 1
    by_document = np.lexsort((stream(seed, epoch, MATE, sentence), document))
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
    sentence = sentence[by_document[np.argsort(order, kind="stable")]]
    return _plan(sentence, follow(sentence), starts, edges)


def _room(length: int) -> int:
    """Return how many tokens of text fit into a sequence."""
    if length < 3:
        raise DataError(f"--length {length} leaves no room for text; it must be at least 3")
    return length - 2


def _single(corpus: Corpus, *, seed: int, epoch: int, length: int, across: bool) -> Plan:
    """Plan single segments, each of one document or across documents."""
    room = _room(length)
    starts, edges = _cut_long(corpus.sentence_starts, corpus.document_offsets, room)
    begins, ends = starts[:-1], starts[1:]
    if across:  # each earlier document takes one position more, for its [SEP]
        before = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        begins, ends = begins + before, ends + before

    def follow(sentence: Integers) -> Integers:
        is_short = uniform(stream(seed, epoch, SHORT, sentence)) < SHORT_RATE
        limit = np.where(is_short, integers(stream(seed, epoch, TARGET, sentence), 1, room + 1), room)
        stop = np.maximum(np.searchsorted(ends, begins[sentence] + limit, side="right"), sentence + 1)
        return stop if across else np.minimum(stop, edges[np.searchsorted(edges, sentence, side="right")])

    sentence = chain(follow, len(starts) - 1)
    sentence = sentence[permutation(seed, epoch, len(sentence))]
    return _plan(sentence, follow(sentence), starts, edges, across=across)


def _plan(sentence: Integers, stop: Integers, starts: Integers, edges: Integers, *, across: bool = False) -> Plan:
    """Make instances of the sentences from `sentence` to before `stop`."""
    document, none = np.searchsorted(edges, sentence, side="right") - 1, np.zeros(len(sentence), np.int64)
    return Plan(
        a_start=starts[sentence],
        a_length=starts[stop] - starts[sentence],
        b_start=none,
        b_length=none,
        labels=none - 1,
        num_sentences=stop - sentence,
        document=document,
        partner=document,
        document_starts=starts[edges[:-1]] if across else none[:0],
    )


def _cut_long(starts: Integers, edges: Integers, room: int) -> tuple[Integers, Integers]:
    """Cut sentences of more than `room` tokens into several; return the new sentence starts and document edges."""
    lengths = np.diff(starts)
    if lengths.max() <= room:
        return starts, edges
    parts = -(-lengths // room)
    after = np.concatenate([[0], np.cumsum(parts)])
    within = np.arange(after[-1]) - np.repeat(after[:-1], parts)
    return np.append(np.repeat(starts[:-1], parts) + room * within, starts[-1]), after[edges]
