"""Which tokens a masked LM must guess, and what it sees in their place (BERT, 3.1 and appendix A.1).

Chosen are single pieces, whole words (as in the original authors' later models), or spans of words (SpanBERT, Joshi et
al. 2020, 3.1). All three visit their candidates in a shuffled order until the same number of pieces is reached.

Shapes: T tokens, B sequences, V vocabulary, M chosen tokens, W words.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertie.data.random import Keys, integers, stream, uniform

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_CHOICE, _FATE, _PIECE, _SPAN = range(4)
_MASKED, _REPLACED = 0.8, 0.9  # below the first: [MASK]; below the second: a random piece; else unchanged
_LONGEST = 10  # words of a span
_SHARES = 0.2 * 0.8 ** np.arange(_LONGEST)  # geometric, p = 0.2; what lies beyond the longest is shared out to all
_UP_TO = np.cumsum(_SHARES / _SHARES.sum())


def num_masked(lengths: Integers, *, rate: float, cap: int | None) -> Integers:
    """Count the tokens to guess: min(cap, max(1, round(rate x length))), [CLS] and [SEP] counted in the length.

    Halves are rounded to even, as Python's round does.
    """
    counts = np.maximum(1, np.round(rate * lengths)).astype(np.int64)
    return counts if cap is None else np.minimum(counts, cap)


def span_words(keys: Keys) -> Integers:
    """Draw how many words a span has: geometric with p = 0.2, 10 at most, 3.8 on average."""
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
    """Choose tokens and corrupt them.

    Of single pieces exactly `num_masked` are chosen, or all there are. Of whole words never more: a word that would be
    too many is passed over, and the last span ends where the number is reached. What a chosen piece is shown as is
    drawn for each piece, but whether it is hidden, replaced or left once for a whole span.

    Special tokens are neither chosen nor drawn as replacements; the original draws from the whole vocabulary.

    Args:
        tokens: (T,) piece ids.
        offsets: (B+1,).
        keys: (B,) streams to draw from.
        rate: share of a sequence's tokens.
        cap: most tokens of one sequence, None for no cap.
        special_ids: rising.
        vocab_size: pieces a replacement is drawn from, the special ones left out.
        mask_id: of [MASK].
        word_edges: whether words begin and end with the pieces of the vocabulary, (V,) each; None to choose pieces.
        goes_on: (T,) whether a token belongs to the word of the one before it, whatever the vocabulary says: Chinese
            words that were found in the text. A special token inside a word, [UNK], doesn't part it.
        spans: whether to choose spans of such words.

    Returns:
        Places (M,) of the chosen tokens, rising; the pieces (M,) that were there; the tokens (T,) as they are shown.
    """
    lengths = np.diff(offsets).astype(np.int64)
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(tokens)) - np.repeat(offsets[:-1].astype(np.int64), lengths)
    specials = np.asarray(special_ids, np.int64)
    is_text, budget = ~np.isin(tokens, specials), num_masked(lengths, rate=rate, cap=cap)
    places = np.flatnonzero(is_text)
    start, run = np.arange(len(places)), np.zeros(len(places), np.int64)
    if word_edges is not None:
        start, run = _words(tokens, is_text, *word_edges, goes_on)
    first, size = places[start], np.diff(start, append=len(places))
    owner = sequence[first]
    draws = stream(stream(keys, _CHOICE)[owner], within[first])
    units = _Units(size, owner, run, np.lexsort((draws, owner)))
    if spans:
        chosen, leader = _spans(units, span_words(stream(stream(keys, _SPAN)[owner], within[first])), budget)
    else:
        chosen = _fill(units, budget)
    positions = places[np.repeat(start[chosen], size[chosen]) + _steps(size[chosen])]
    own = keys[sequence[positions]]
    deciding = np.repeat(first[leader[chosen]], size[chosen]) if spans else positions
    fate = uniform(stream(stream(own, _FATE), within[deciding]))
    pieces = integers(stream(stream(own, _PIECE), within[positions]), 0, vocab_size - len(specials))
    for special in specials:  # step over the special ids, smallest first
        pieces += pieces >= special
    original = tokens[positions]
    shown = tokens.copy()
    shown[positions] = np.where(fate < _MASKED, mask_id, np.where(fate < _REPLACED, pieces, original))
    return positions, original, shown


@dataclass(frozen=True, eq=False)
class _Units:
    """W words, or single pieces, in the order of the text."""

    size: Integers
    """Pieces."""
    owner: Integers
    """The sequence."""
    run: Integers
    """Which words have no special token between them: those of one number."""
    visits: Integers
    """Their numbers, sequence after sequence, in the order in which they are visited."""


def _words(
    tokens: Integers, is_text: Flags, begins: Flags, ends: Flags, goes_on: Flags | None
) -> tuple[Integers, Integers]:
    """Return where words begin, counted in pieces that are no special tokens (W,), and their runs (W,)."""
    fresh = np.ones(len(tokens), bool)
    fresh[1:] = ~is_text[:-1] | ends[tokens[:-1]]
    fresh |= begins[tokens] | ~is_text
    if goes_on is not None:
        fresh &= ~goes_on
    number = np.cumsum(fresh)[
        is_text
    ]  # of a word; special tokens have numbers of their own, unless they are inside one
    start = np.flatnonzero(np.diff(number, prepend=-1))
    run = np.cumsum((fresh & ~is_text).astype(np.int64))[is_text][start]
    return start, run


def _steps(sizes: Integers) -> Integers:
    """Count 0, 1, ... within each of consecutive groups."""
    ends = np.cumsum(sizes)
    return np.arange(sizes.sum()) - np.repeat(ends - sizes, sizes)


def _fill(units: _Units, budget: Integers) -> Flags:
    """Take units in the order of visits, passing over those that are too long for what is left of `budget`: (W,).

    What fits before the first one that doesn't is taken at once, in all sequences; then what is too long for the rest
    is left out, and so on with the others.
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
    """Take the spans that begin at the words visited, one after another, in all sequences at the same time.

    A span ends early at a special token, at an earlier span, or where the next word is too long for what is left.

    Returns:
        Which words are chosen (W,), and with which word each one's span begins (W,).
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
