"""Gather the tokens of instances from the corpus: [CLS] A [SEP] B [SEP], for a whole batch at once.

If a single segment crosses documents, a [SEP] precedes each further document.

Shapes: T tokens, B sequences.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertie.corpus.shards import Corpus
from bertie.sampling.plan import Plan
from bertie.sampling.random import stream
from bertie.sampling.sampler import Sampler, shares
from bertie.tokenizer.tokenizer import Tokenizer

_MASKS = 0x3A5C  # the purpose of the instances' keys: to draw masks


@dataclass(frozen=True, eq=False)
class Instances:
    """B instances before masking."""

    tokens: NDArray[np.int64]
    """(T,) piece ids with [CLS] and [SEP]."""
    segments: NDArray[np.int64]
    """(T,)."""
    offsets: NDArray[np.int32]
    """(B+1,)."""
    labels: NDArray[np.int64]
    """(B,) 0: B follows A; 1: B is random, or comes before A; -1: there is no B."""
    keys: NDArray[np.uint64]
    """(B,) keys that the masks are drawn from."""
    goes_on: NDArray[np.bool_] | None = None
    """(T,) whether a token continues the word of the token before it; None for a corpus without words."""
    documents: NDArray[np.int64] | None = None
    """(B,) document of each instance, or of its A."""

    def __len__(self) -> int:
        return len(self.labels)


def joined(parts: Sequence[Instances]) -> Instances:
    """Concatenate the instances of several steps, at least one."""
    if len(parts) == 1:
        return parts[0]
    lengths = np.concatenate([np.diff(part.offsets) for part in parts])
    goes_on = [part.goes_on for part in parts if part.goes_on is not None]  # one corpus: all parts have it, or none
    documents = [part.documents for part in parts if part.documents is not None]
    return Instances(
        np.concatenate([part.tokens for part in parts]),
        np.concatenate([part.segments for part in parts]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.keys for part in parts]),
        np.concatenate(goes_on) if goes_on else None,
        np.concatenate(documents) if documents else None,
    )


def draw_instances(sampler: Sampler, step: int, tokenizer: Tokenizer) -> Instances:
    """Gather the instances of a step."""
    epoch, chosen = sampler.instances(step)
    return gather(sampler.corpus, sampler.plan(epoch), chosen, tokenizer, seed=sampler.seed, epoch=epoch)


@dataclass(frozen=True)
class Share:
    """The instances of one process, as part of a batch."""

    instances: Instances | None
    """None if the process has none."""
    first_key: NDArray[np.uint64]
    """(1,) key of the batch's first instance."""
    tokens_before: int
    """Tokens of the batch before the share."""
    sequences_before: int
    """Instances of the batch before the share."""
    longest: int
    """Tokens of the batch's longest instance."""
    num_tokens: int
    """Tokens of the whole batch."""


def draw_share(sampler: Sampler, steps: Sequence[int], tokenizer: Tokenizer, *, rank: int, num_ranks: int) -> Share:
    """Gather one process's instances of a batch that is made of several steps of the sampler.

    The lengths of the others are known from the plan, so nothing else of them is read.

    Args:
        sampler: of the corpus.
        steps: consecutive steps, at least one.
        tokenizer: tokenizer whose [CLS] and [SEP] are inserted.
        rank: number of the process, from 0.
        num_ranks: number of processes.
    """
    located = [sampler.instances(step) for step in steps]
    lengths = np.concatenate([sampler.plan(epoch).lengths[numbers] for epoch, numbers in located])
    edges = shares(lengths, num_ranks)
    first, last = int(edges[rank]), int(edges[rank + 1])
    parts, start = [], 0
    for epoch, numbers in located:
        own = numbers[max(0, first - start) : max(0, last - start)]
        if len(own):
            plan = sampler.plan(epoch)
            parts.append(gather(sampler.corpus, plan, own, tokenizer, seed=sampler.seed, epoch=epoch))
        start += len(numbers)
    epoch, numbers = located[0]
    return Share(
        instances=joined(parts) if parts else None,
        first_key=stream(sampler.seed, _MASKS, epoch, numbers[:1]),
        tokens_before=int(lengths[:first].sum()),
        sequences_before=first,
        longest=int(lengths.max()),
        num_tokens=int(lengths.sum()),
    )


def gather(
    corpus: Corpus, plan: Plan, chosen: NDArray[np.int64], tokenizer: Tokenizer, *, seed: int, epoch: int
) -> Instances:
    """Gather instances of a plan by their numbers.

    Args:
        corpus: prepared text.
        plan: plan of an epoch.
        chosen: (B,) numbers of instances in the plan.
        tokenizer: tokenizer whose [CLS] and [SEP] are inserted.
        seed: seed of the masks' keys.
        epoch: epoch of the masks' keys.
    """
    a_length, b_length, labels = plan.a_length[chosen], plan.b_length[chosen], plan.labels[chosen]
    has_b = labels >= 0
    lengths = plan.lengths[chosen]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    total = int(offsets[-1])
    tokens, segments, is_text = np.zeros(total, np.int64), np.zeros(total, np.int64), np.ones(total, bool)
    begin, middle, end = offsets[:-1], offsets[:-1] + a_length + 1, offsets[1:] - 1
    tokens[begin] = tokenizer.start
    separators = np.concatenate([middle[has_b], end, _breaks(plan, chosen, begin)])
    tokens[separators] = tokenizer.separator
    is_text[begin] = is_text[separators] = False
    starts = np.stack([plan.a_start[chosen], plan.b_start[chosen]], 1).ravel()
    counts = np.stack([a_length, b_length], 1).ravel()
    tokens[is_text] = corpus.gather(starts, counts)
    goes_on = None
    if (marked := corpus.gather_words(starts, counts)) is not None:
        goes_on = np.zeros(total, bool)
        goes_on[is_text] = marked
        goes_on[1:] &= is_text[:-1]  # the first token of a segment starts a word, even in the middle of one
    # Segment 1 begins after the middle [SEP]: a running sum of +1 there and -1 at the next sequence.
    change = np.zeros(total + 1, np.int64)
    change[middle[has_b] + 1] += 1
    change[offsets[1:][has_b]] -= 1
    segments = np.cumsum(change[:-1])
    keys = stream(seed, _MASKS, epoch, chosen)
    return Instances(tokens, segments, offsets.astype(np.int32), labels, keys, goes_on, plan.document[chosen])


def _breaks(plan: Plan, chosen: NDArray[np.int64], begin: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the positions of the [SEP] between documents, of instances whose [CLS] are at `begin` (B,)."""
    counts = plan.num_breaks[chosen]
    ends = np.cumsum(counts)
    earlier = np.arange(counts.sum()) - np.repeat(ends - counts, counts)  # such [SEP] before this one in its instance
    number = np.repeat(plan.first_break[chosen], counts) + earlier
    start = np.repeat(begin + 1 - plan.a_start[chosen], counts)  # flat position that corpus token 0 would have
    positions: NDArray[np.int64] = start + plan.document_starts[number] + earlier
    return positions
