"""Counter-based random numbers: every number is a pure function of a key, and a key is a hash of its purpose.

There is no state. So any worker can draw any instance of any epoch in any order, and a resumed run needs only its step.
Keys are uint64 arrays, and all functions work on whole arrays. This is for statistics, not for secrets.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Keys = NDArray[np.uint64]

_GOLDEN, _FIRST, _SECOND = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)


def _mix(values: Keys) -> Keys:
    """Scramble 64 bits (splitmix64's finaliser)."""
    values = (values ^ (values >> np.uint64(30))) * _FIRST
    values = (values ^ (values >> np.uint64(27))) * _SECOND
    mixed: Keys = values ^ (values >> np.uint64(31))
    return mixed


def stream(seed: int | Keys, *parts: ArrayLike) -> Keys:
    """Hash a seed, or existing keys, and further numbers to keys. Arrays broadcast.

    Args:
        seed: a number, or keys to derive others from.
        parts: numbers that identify the purpose: epoch, instance and so on.

    Returns:
        uint64 keys in the broadcast shape, at least one-dimensional.
    """
    with np.errstate(over="ignore"):
        state = _mix(np.atleast_1d(_unsigned(seed)) + _GOLDEN)
        for part in parts:
            state = _mix(state * _FIRST + (np.atleast_1d(_unsigned(part)) + np.uint64(1)) * _GOLDEN)
    return state


def _unsigned(values: ArrayLike) -> Keys:
    array = np.asarray(values)
    return array if array.dtype == np.uint64 else array.astype(np.int64).astype(np.uint64)


def uniform(keys: Keys) -> NDArray[np.float64]:
    """Draw from [0, 1), with 53 random bits each."""
    return (keys >> np.uint64(11)).astype(np.float64) * 2.0**-53


def integers(keys: Keys, low: ArrayLike, high: ArrayLike) -> NDArray[np.int64]:
    """Draw integers from [low, high); the bias is below 2**-30 for ranges below 2**23."""
    start = np.asarray(low, np.int64)
    drawn: NDArray[np.int64] = start + np.floor(uniform(keys) * (np.asarray(high, np.int64) - start)).astype(np.int64)
    return drawn


def permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """Return 0..count-1 in a random order for one epoch."""
    keys = stream(seed, epoch, 0x0DDE, np.arange(count))
    return np.argsort(keys, kind="stable")


def binomial_half(keys: Keys, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Toss `counts` fair coins for each key and count the heads. Exact: it counts the set bits of hashed words."""
    heads = np.zeros(len(keys), np.int64)
    left = counts.astype(np.int64).copy()
    word = 0
    while (open_ := np.flatnonzero(left > 0)).size:
        bits = stream(keys[open_], word)
        taken = np.minimum(left[open_], 64)
        shift = (64 - taken).astype(np.uint64)
        heads[open_] += np.bitwise_count(bits >> shift).astype(np.int64)
        left[open_] -= taken
        word += 1
    return heads
