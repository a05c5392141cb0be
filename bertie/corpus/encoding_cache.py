"""Cache the ids of strings, so that each distinct string is encoded once. Memory is bounded."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from bertie.corpus.shards import Integers

# Limits of the cache: about 50 MB.
MAX_STRINGS = 250_000
MAX_CHARACTERS = 4_000_000

Encoded = tuple[npt.NDArray[Any], Integers]
"""The concatenated ids of strings, and the number of ids of each string (int64)."""


class EncodingCache:
    """An encoder with a cache of the strings that it has seen."""

    def __init__(self, encode: Callable[[list[str]], Encoded]) -> None:
        """Create an empty cache.

        Args:
            encode: encodes new strings; the ids of a string must not depend on the other strings.
        """
        self._encode = encode
        # Cached string k has the ids from offsets[k] to offsets[k + 1].
        self._numbers: _Numbers
        self._ids: npt.NDArray[Any]
        self._offsets: Integers
        self._num_characters: int
        self._forget()

    def __call__(self, strings: Sequence[str]) -> Encoded:
        """Encode strings."""
        try:
            numbers = np.fromiter(map(self._numbers.__getitem__, strings), np.int64, len(strings))
            self._learn(list(islice(self._numbers, len(self._offsets) - 1, None)))
        except BaseException:
            # Some strings may have numbers but no ids.
            self._forget()
            raise
        lengths = np.diff(self._offsets)[numbers]
        ends = np.cumsum(lengths)
        # Id t of the result, in string s, is cached id offsets[s] + (t - start of s in the result).
        indices = np.repeat(self._offsets[numbers] - ends + lengths, lengths)
        indices += np.arange(len(indices))
        ids = self._ids[indices]
        if len(self._numbers) > MAX_STRINGS or self._num_characters > MAX_CHARACTERS:
            self._forget()
        return ids, lengths

    def _learn(self, new: list[str]) -> None:
        if new:
            ids, lengths = self._encode(new)
            self._offsets = np.concatenate([self._offsets, self._offsets[-1] + np.cumsum(lengths)])
            self._ids = np.concatenate([self._ids.astype(ids.dtype, copy=False), ids])
            self._num_characters += sum(map(len, new))

    def _forget(self) -> None:
        self._numbers = _Numbers()
        self._ids = np.zeros(0, np.uint16)
        self._offsets = np.zeros(1, np.int64)
        self._num_characters = 0


class _Numbers(dict[str, int]):
    """Numbers of strings, assigned in the order of their first lookup."""

    def __missing__(self, string: str) -> int:
        number = self[string] = len(self)
        return number
