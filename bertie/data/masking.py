"""Which tokens a masked LM must guess, and what it sees in their place (BERT, 3.1 and appendix A.1).

Shapes: T tokens, B sequences, M chosen tokens.
"""

import numpy as np
from numpy.typing import NDArray

from bertie.data.random import Keys, integers, stream, uniform

_CHOICE, _FATE, _PIECE = range(3)
_MASKED, _REPLACED = 0.8, 0.9  # below the first: [MASK]; below the second: a random piece; else unchanged


def num_masked(lengths: NDArray[np.int64], *, rate: float, cap: int | None) -> NDArray[np.int64]:
    """Count the tokens to guess: min(cap, max(1, round(rate x length))), [CLS] and [SEP] counted in the length.

    Halves are rounded to even, as Python's round does.
    """
    counts = np.maximum(1, np.round(rate * lengths)).astype(np.int64)
    return counts if cap is None else np.minimum(counts, cap)


def choose_masked(
    tokens: NDArray[np.int64],
    offsets: NDArray[np.int32],
    keys: Keys,
    *,
    rate: float,
    cap: int | None,
    special_ids: tuple[int, ...],
    vocab_size: int,
    mask_id: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Choose tokens and corrupt them.

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

    Returns:
        Places (M,) of the chosen tokens, rising; the pieces (M,) that were there; the tokens (T,) as they are shown.
    """
    lengths = np.diff(offsets).astype(np.int64)
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(tokens)) - np.repeat(offsets[:-1].astype(np.int64), lengths)
    specials = np.asarray(special_ids, np.int64)
    candidates = np.flatnonzero(~np.isin(tokens, specials))
    draws = stream(stream(keys, _CHOICE)[sequence[candidates]], within[candidates])
    order = candidates[np.lexsort((draws, sequence[candidates]))]
    owner = sequence[order]
    first = np.searchsorted(owner, np.arange(len(lengths)))
    rank = np.arange(len(order)) - first[owner]
    positions = np.sort(order[rank < num_masked(lengths, rate=rate, cap=cap)[owner]])
    own = keys[sequence[positions]]
    fate = uniform(stream(stream(own, _FATE), within[positions]))
    pieces = integers(stream(stream(own, _PIECE), within[positions]), 0, vocab_size - len(specials))
    for special in specials:  # step over the special ids, smallest first
        pieces += pieces >= special
    original = tokens[positions]
    shown = tokens.copy()
    shown[positions] = np.where(fate < _MASKED, mask_id, np.where(fate < _REPLACED, pieces, original))
    return positions, original, shown
