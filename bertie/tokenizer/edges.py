"""Tell which pieces of a vocabulary start or end a word, from each piece alone.

Whole-word masking hides a word as a unit. In WordPiece, a word extends to the next piece without ##; in the other
kinds, to the next piece that starts with a space. A Chinese character is a word by itself in all kinds. Longer Chinese
words can't be seen in the vocabulary; `corpus.segmentation` finds them in the text.

Shapes: V vocabulary.
"""

import re
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bertie.tokenizer.letters import BYTES
from bertie.tokenizer.subwords import SubwordTokenizer
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.words import CJK

Flags = NDArray[np.bool_]

_CHINESE = re.compile(f"[{CJK}]")
_CHINESE_BYTES = range(0xE4, 0xEA)
"""First bytes of common Chinese characters in UTF-8; a byte-level vocabulary may cut their three bytes apart."""


@lru_cache(maxsize=4)
def word_edges(tokenizer: Tokenizer) -> tuple[Flags, Flags]:
    """Return whether each piece starts a word, and whether it ends one: (V,) each.

    A word also starts after a special token, and ends where the next word starts; the caller, who has the text, adds
    those. WordPiece needs no test for Chinese characters: it cuts texts at them, and at punctuation, before it looks
    for pieces.
    """
    if not isinstance(tokenizer, SubwordTokenizer):
        begins = tokenizer.word_starts(range(len(tokenizer.tokens)))
        return np.array(begins), np.zeros(len(begins), bool)
    begins = [
        text[:1].isspace()
        or bool(_CHINESE.match(text))
        or (text[:1] == "\ufffd" and BYTES.get(piece[:1]) in _CHINESE_BYTES)
        for text, piece in zip(tokenizer.shown, tokenizer.tokens, strict=True)
    ]
    return np.array(begins), np.array([bool(_CHINESE.match(text[-1:])) for text in tokenizer.shown])


def chinese_pieces(tokenizer: Tokenizer) -> Flags:
    """Return whether each piece of a vocabulary holds a Chinese character: (V,)."""
    return np.array([_CHINESE.search(text) is not None for text in tokenizer.shown])
