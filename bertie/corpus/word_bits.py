"""The words of a corpus on disk: one bit a token, set where a token goes on with the word of the token before it.

The file exists only where words were looked for and text had any. Without it, and where bits are 0, the vocabulary
alone says where words begin.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Flags = npt.NDArray[np.bool_]

_ZEROS_AT_ONCE = 1 << 20


def num_bytes(num_tokens: int) -> int:
    """Return the size of the file for so many tokens."""
    return -(-num_tokens // 8)


class WordBits:
    """Packs flags into bytes as they come; nothing is written before the first flags.

    Args:
        open_file: makes the file and returns how to write to it.
    """

    def __init__(self, open_file: Callable[[], Callable[[npt.NDArray[Any]], None]]) -> None:
        self._open_file = open_file
        self._write: Callable[[npt.NDArray[Any]], None] | None = None
        self._num_tokens = 0
        self._rest = np.zeros(0, bool)  # flags that fill no byte yet

    def append(self, goes_on: Flags | None, num_tokens: int) -> None:
        """Add the flags of some tokens; None where none is set."""
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
        """Write the flags that fill no byte."""
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
    """Read the flags of some tokens.

    Args:
        packed: the file's bytes.
        places: (T,) tokens from the beginning of the corpus.

    Returns:
        (T,).
    """
    found: Flags = (packed[places >> 3] >> (places & 7).astype(np.uint8) & 1).astype(bool)
    return found
