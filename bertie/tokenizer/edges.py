"""Which pieces of a vocabulary begin and end words, told from each piece alone.

A word is what whole-word masking hides as one: pieces of WordPiece up to the next one without ##, pieces of the other
kinds up to the next one with a space in front. A Chinese character is a word of its own, in all of them: which ones
make a word together isn't to be seen in the vocabulary, but found in the text (`corpus.segmentation`).

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
"""First bytes of the usual Chinese characters, whose three bytes may be several pieces."""


@lru_cache(maxsize=4)
def word_edges(tokenizer: Tokenizer) -> tuple[Flags, Flags]:
    """Tell whether a word begins with a piece, and whether one ends with it: (V,) each.

    A word also begins behind a special token, and ends where the next one begins; that is for whoever sees the text.
    WordPiece cuts texts at Chinese characters and punctuation marks before it looks for pieces.
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
    """Tell of each piece of a vocabulary whether it holds a Chinese character: (V,)."""
    return np.array([_CHINESE.search(text) is not None for text in tokenizer.shown])
