"""Store the words of a corpus: one bit per token, set if the token continues the word of the previous token.

The file exists only if words were segmented and the text had some. Without the file, and where bits are 0, the
vocabulary alone decides where words begin.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]

_ZEROS_AT_ONCE = 1 << 20


def num_bytes(num_tokens: int) -> int:
    """Return the size of the file for `num_tokens` tokens."""
    return -(-num_tokens // 8)


class WordBits:
    """A writer that packs flags into bytes. It creates the file only when the first flags arrive.

    Args:
        open_file: creates the file and returns its write function.
    """

    def __init__(self, open_file: Callable[[], Callable[[npt.NDArray[Any]], None]]) -> None:
        self._open_file = open_file
        self._write: Callable[[npt.NDArray[Any]], None] | None = None
        self._num_tokens = 0
        self._rest = np.zeros(0, bool)  # flags that do not fill a byte yet

    def append(self, goes_on: Flags | None, num_tokens: int) -> None:
        """Append the flags of `num_tokens` tokens; None if none is set."""
        if self._write is None and goes_on is not None:
            self._write = self._open_file()
            self._add_zeros(self._num_tokens)
        if self._write is not None:
            if goes_on is None:
                self._add_zeros(num_tokens)
            else:
                self._add(goes_on)
        self._num_tokens += num_tokens

    def finish(self) -> None:
        """Write the last flags, which do not fill a byte."""
        if self._write is not None and len(self._rest):
            self._write(np.packbits(self._rest, bitorder="little"))

    def _add_zeros(self, count: int) -> None:
        for start in range(0, count, _ZEROS_AT_ONCE):
            self._add(np.zeros(min(_ZEROS_AT_ONCE, count - start), bool))

    def _add(self, flags: Flags) -> None:
        assert self._write is not None, "flags are written to an open file"
        flags = np.concatenate([self._rest, flags])
        whole = len(flags) // 8 * 8
        self._write(np.packbits(flags[:whole], bitorder="little"))
        self._rest = flags[whole:]


def flags_at(packed: npt.NDArray[np.uint8], places: npt.NDArray[np.int64]) -> Flags:
    """Return the flags of some tokens.

    Args:
        packed: the bytes of the file.
        places: (T,) indices of tokens in the corpus.

    Returns:
        (T,).
    """
    flags: Flags = (packed[places >> 3] >> (places & 7).astype(np.uint8) & 1).astype(bool)
    return flags
