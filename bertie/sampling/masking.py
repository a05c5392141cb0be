"""Choose the tokens that a masked LM predicts, and the tokens shown instead (BERT, 3.1 and appendix A.1).

The candidates are single pieces, whole words (as in the original authors' later models), or spans of words (SpanBERT,
Joshi et al. 2020, 3.1). All three are visited in a shuffled order until the same number of pieces is chosen.

Shapes: T tokens, B sequences, V vocabulary, M chosen tokens, W words.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertie.sampling.random import Keys, integers, stream, uniform

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_CHOICE, _FATE, _PIECE, _SPAN = range(4)
_MASKED, _REPLACED = 0.8, 0.9  # below the first: [MASK]; below the second: a random piece; else unchanged
_LONGEST = 10  # words in a span
_SHARES = 0.2 * 0.8 ** np.arange(_LONGEST)  # geometric, p = 0.2, cut off after the longest and scaled to a sum of 1
_UP_TO = np.cumsum(_SHARES / _SHARES.sum())


def num_masked(lengths: Integers, *, rate: float, cap: int | None) -> Integers:
    """Return how many tokens to choose: min(cap, max(1, round(rate x length))); a length includes [CLS] and [SEP].

    Halves are rounded to even, as Python's round does.
    """
    counts = np.maximum(1, np.round(rate * lengths)).astype(np.int64)
    return counts if cap is None else np.minimum(counts, cap)


def span_words(keys: Keys) -> Integers:
    """Draw the number of words in a span: geometric with p = 0.2, at most 10, 3.8 on average."""
    return np.minimum(np.searchsorted(_UP_TO, uniform(keys), side="right"), _LONGEST - 1) + 1


def choose_masked(
    tokens: Integers,
    offsets: NDArray[np.int32],
    keys: Keys,
    *,
    rate: float,
    cap: int | None,
    special_ids: tuple[int, ...],
    vocab_size: int,
    mask_id: int,
    word_edges: tuple[Flags, Flags] | None = None,
    goes_on: Flags | None = None,
    spans: bool = False,
) -> tuple[Integers, Integers, Integers]:
    """Choose tokens and replace most of them.

    Of single pieces, exactly `num_masked` are chosen, or all if there are fewer. Of whole words, never more: a word
    that exceeds the number is skipped, and the last span ends where the number is reached. The random piece is drawn
    for each chosen piece. Whether to hide, replace or keep is drawn for each piece too, but once for a whole span.

    Special tokens are neither chosen nor drawn as replacements. The original draws from the whole vocabulary.

    Args:
        tokens: (T,) piece ids.
        offsets: (B+1,) start of each sequence, and T.
        keys: (B,) keys to draw from.
        rate: share of a sequence's tokens to choose.
        cap: largest number of chosen tokens in a sequence; None: no cap.
        special_ids: ids of the special tokens, rising.
        vocab_size: size of the vocabulary; replacements are drawn from it, except special tokens.
        mask_id: id of [MASK].
        word_edges: (V,) each, whether a piece begins a word and whether it ends one; None: choose single pieces.
        goes_on: (T,) whether a token continues the word of the token before it, whatever the vocabulary says: Chinese
            words that a segmenter found in the text. A special token inside a word, [UNK], doesn't split it.
        spans: whether to choose spans of such words.

    Returns:
        Positions (M,) of the chosen tokens, rising; the original pieces (M,) there; the tokens (T,) as shown.
    """
    lengths = np.diff(offsets).astype(np.int64)
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(tokens)) - np.repeat(offsets[:-1].astype(np.int64), lengths)
    specials = np.asarray(special_ids, np.int64)
    is_text, budget = ~np.isin(tokens, specials), num_masked(lengths, rate=rate, cap=cap)
    text = np.flatnonzero(is_text)
    start, run = np.arange(len(text)), np.zeros(len(text), np.int64)
    if word_edges is not None:
        start, run = _words(tokens, is_text, *word_edges, goes_on)
    first, size = text[start], np.diff(start, append=len(text))
    owner = sequence[first]
    draws = stream(stream(keys, _CHOICE)[owner], within[first])
    units = _Units(size, owner, run, np.lexsort((draws, owner)))
    if spans:
        chosen, leader = _spans(units, span_words(stream(stream(keys, _SPAN)[owner], within[first])), budget)
    else:
        chosen = _fill(units, budget)
    positions = text[np.repeat(start[chosen], size[chosen]) + _steps(size[chosen])]
    key = keys[sequence[positions]]
    deciding = np.repeat(first[leader[chosen]], size[chosen]) if spans else positions
    fate = uniform(stream(stream(key, _FATE), within[deciding]))
    pieces = integers(stream(stream(key, _PIECE), within[positions]), 0, vocab_size - len(specials))
    for special in specials:  # skip the special ids, smallest first
        pieces += pieces >= special
    original = tokens[positions]
    shown = tokens.copy()
    shown[positions] = np.where(fate < _MASKED, mask_id, np.where(fate < _REPLACED, pieces, original))
    return positions, original, shown


@dataclass(frozen=True, eq=False)
class _Units:
    """W words, or single pieces, in the order of the text."""

    size: Integers
    """(W,) number of pieces."""
    owner: Integers
    """(W,) sequence of each."""
    run: Integers
    """(W,) number of its run; words of one run have no special token between them."""
    visits: Integers
    """(W,) indices of the words in the order of visits, sequence after sequence."""


def _words(
    tokens: Integers, is_text: Flags, begins: Flags, ends: Flags, goes_on: Flags | None
) -> tuple[Integers, Integers]:
    """Return where words begin (W,), counted in pieces without special tokens, and the runs of the words (W,)."""
    fresh = np.ones(len(tokens), bool)
    fresh[1:] = ~is_text[:-1] | ends[tokens[:-1]]
    fresh |= begins[tokens] | ~is_text
    if goes_on is not None:
        fresh &= ~goes_on
    number = np.cumsum(fresh)[is_text]  # of the word; a special token counts as a word, unless it is inside one
    start = np.flatnonzero(np.diff(number, prepend=-1))
    run = np.cumsum((fresh & ~is_text).astype(np.int64))[is_text][start]
    return start, run


def _steps(sizes: Integers) -> Integers:
    """Count 0, 1, ... within each of the consecutive groups of these sizes."""
    ends = np.cumsum(sizes)
    return np.arange(sizes.sum()) - np.repeat(ends - sizes, sizes)


def _fill(units: _Units, budget: Integers) -> Flags:
    """Take units in the order of visits, and skip those that exceed the rest of `budget`: (W,).

    Each round takes, in all sequences at once, the units before the first one that doesn't fit. Then it drops the units
    that are too long for the rest.
    """
    chosen = np.zeros(len(units.size), bool)
    left, waiting = budget.copy(), units.visits
    while len(waiting := waiting[units.size[waiting] <= left[units.owner[waiting]]]):
        size, owner = units.size[waiting], units.owner[waiting]
        before = np.cumsum(size) - size
        fits = before - before[np.searchsorted(owner, owner)] + size <= left[owner]
        chosen[waiting[fits]] = True
        left -= np.bincount(owner[fits], size[fits], minlength=len(left)).astype(np.int64)
        waiting = waiting[~fits]
    return chosen


def _spans(words: _Units, span: Integers, budget: Integers) -> tuple[Flags, Integers]:
    """Take the spans that begin at the visited words, one after another, in all sequences at once.

    A span ends early at a special token, at an earlier span, or where the next word exceeds the rest of the budget.

    Returns:
        Whether each word is chosen (W,), and the first word of its span (W,).
    """
    count = len(words.size)
    chosen, leader = np.zeros(count, bool), np.arange(count)
    sequences = np.arange(len(budget))
    at, end = (np.searchsorted(words.owner, sequences, side=side) for side in ("left", "right"))
    left = budget.copy()
    while len(active := np.flatnonzero((at < end) & (left > 0))):
        begin = words.visits[at[active]]
        at[active] += 1
        reach = begin[:, None] + np.arange(_LONGEST)  # (number of active sequences, 10)
        inside = (reach < count) & (np.arange(_LONGEST) < span[begin][:, None])
        reach = np.minimum(reach, count - 1)
        inside &= ~chosen[reach] & (words.run[reach] == words.run[begin][:, None])
        inside = np.logical_and.accumulate(inside, axis=1)
        inside &= np.cumsum(np.where(inside, words.size[reach], 0), axis=1) <= left[active][:, None]
        left[active] -= np.where(inside, words.size[reach], 0).sum(1)
        chosen[reach[inside]] = True
        leader[reach[inside]] = np.repeat(begin, inside.sum(1))
    return chosen, leader
