"""WordPiece by the optional nanotoken package: the same ids at many times the speed.

It does less than `tokenizers`: no offsets, no pairs. Callers must compare its ids with those of `tokenizers`.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.native import failed
from bertie.tokenizer.tokenizer import Tokenizer

_CACHED_WORDS = 250_000  # in each of its two caches, in each process


class NanoTokenizer:
    """A tokenizer that encodes texts into flat arrays; make one with `load`."""

    def __init__(self, package: Any, json: str) -> None:
        self.version: str = import_module("importlib.metadata").version("nanotoken")
        package.set_cache_entries(_CACHED_WORDS)
        self._rust = package.nanotoken_rs.WordPieceTokenizer.from_json(json)

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Encode without [CLS] and [SEP] and without truncation, in the calling thread.

        Returns:
            The concatenated ids of all texts (uint32), and the number of ids of each text (int64).

        Raises:
            UnicodeError: a text holds a lone surrogate, which is not Unicode text.
        """
        ids, offsets = self._rust.encode_batch(list(texts), add_special_tokens=False, parallel=False)
        return ids, np.diff(offsets)


def load(tokenizer: Tokenizer) -> NanoTokenizer | None:
    """Return a fast twin of a tokenizer; None if the package isn't installed or doesn't support the kind."""
    try:
        package = import_module("nanotoken")
    except ImportError:
        return None
    try:
        return NanoTokenizer(package, tokenizer.as_json)
    except BaseException as error:  # for an unsupported kind it raises an error or panics
        if not failed(error):
            raise
        return None
