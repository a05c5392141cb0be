"""Tokenizers of other kinds than BERT's: byte-level BPE (RoBERTa, ModernBERT), and Unigram from a tokenizer.json.

Their pieces include the space before them. A byte-level piece may be a part of a character.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

from tokenizers import models

from bertie.tokenizer.letters import BYTES
from bertie.tokenizer.tokenizer import Tokenizer


class SubwordTokenizer(Tokenizer):
    """A byte-level BPE or Unigram tokenizer; its arguments are those of `Tokenizer`."""

    KINDS: ClassVar[tuple[type[models.Model], ...]] = (models.BPE, models.Unigram)
    spaced: ClassVar[bool] = True

    def _is_known(self) -> bool:
        byte_level = '"ByteLevel"' in json.dumps(self.state["pre_tokenizer"])
        return byte_level or isinstance(self._rust.model, models.Unigram)

    @cached_property
    def shown(self) -> list[str]:
        """Pieces as text; U+FFFD stands for the bytes of an incomplete character."""
        added = {token["content"] for token in self.state["added_tokens"]}
        return [piece if piece in added else self._as_text(piece) for piece in self.tokens]

    def _as_text(self, piece: str) -> str:
        if isinstance(self._rust.model, models.Unigram):
            return piece.replace("\u2581", " ")
        return bytes(BYTES[letter] for letter in piece if letter in BYTES).decode("utf-8", errors="replace")

    def word_starts(self, ids: Sequence[int]) -> list[bool]:
        """Return whether each piece of a sequence starts a word: special tokens, pieces after one, or after a space."""
        special = [piece in self.special_ids for piece in ids]
        return [
            is_special or index == 0 or special[index - 1] or self.shown[piece][:1].isspace()
            for index, (piece, is_special) in enumerate(zip(ids, special, strict=True))
        ]

    @cached_property
    def is_plain(self) -> bool:
        """Always False: its normalizer is not BERT's."""
        return False

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Whether texts are lower-cased; the normalizer has none of BERT's other settings."""
        return {"lowercase": self.lowercase}

    def encode_batch_aligned(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Encode with the (start, end) characters of each piece, without the spaces around it."""
        return [
            (ids, [_trimmed(text, start, end) for start, end in spans])
            for text, (ids, spans) in zip(texts, super().encode_batch_aligned(texts), strict=True)
        ]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Exclude the spaces at both ends of text[start:end], unless it holds only spaces.

    >>> _trimmed("a cat", 1, 5)
    (2, 5)
    """
    piece = text[start:end]
    if not piece.strip():
        return start, end
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())
