"""WordPiece by the nanotoken package, where it is installed: the same ids at many times the speed.

It does part of what `tokenizers` does: no offsets, no pairs. Its word is not taken for it: whoever uses it compares.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.native import failed
from bertie.tokenizer.tokenizer import Tokenizer

_CACHED_WORDS = 250_000  # in each process, of each of its two caches


class NanoTokenizer:
    """Encodes texts into flat arrays; see `load`."""

    def __init__(self, package: Any, json: str) -> None:
        self.version: str = import_module("importlib.metadata").version("nanotoken")
        package.set_cache_entries(_CACHED_WORDS)
        self._rust = package.nanotoken_rs.WordPieceTokenizer.from_json(json)

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Encode without [CLS] and [SEP], never cutting, in this thread.

        Returns:
            The ids of all texts one after another (uint32), and how many each text has (int64).

        Raises:
            UnicodeError: a lone surrogate, which is no Unicode text.
        """
        ids, offsets = self._rust.encode_batch(list(texts), add_special_tokens=False, parallel=False)
        return ids, np.diff(offsets)


def load(tokenizer: Tokenizer) -> NanoTokenizer | None:
    """Make the fast twin of a tokenizer; None where the package isn't installed or doesn't know this kind."""
    try:
        package = import_module("nanotoken")
    except ImportError:
        return None
    try:
        return NanoTokenizer(package, tokenizer.as_json)
    except BaseException as error:  # it says so of kinds it doesn't know, and may panic at them
        if not failed(error):
            raise
        return None
