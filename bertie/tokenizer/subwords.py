"""Tokenizers of other kinds than BERT's: byte-level BPE (RoBERTa, ModernBERT), and Unigram from a tokenizer.json.

Their pieces hold the space before them, and of bytes not every piece is text.
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
        """Pieces as text; a byte-level piece that is no whole character shows U+FFFD for its bytes."""
        added = {token["content"] for token in self.state["added_tokens"]}
        return [piece if piece in added else self._as_text(piece) for piece in self.tokens]

    def _as_text(self, piece: str) -> str:
        if isinstance(self._rust.model, models.Unigram):
            return piece.replace("\u2581", " ")
        return bytes(BYTES[letter] for letter in piece if letter in BYTES).decode("utf-8", errors="replace")

    def word_starts(self, ids: Sequence[int]) -> list[bool]:
        """Tell of each piece of a sequence whether a word begins with it: after a space, or beside a special token."""
        edges = [piece in self.special_ids for piece in ids]
        return [
            edge or place == 0 or edges[place - 1] or self.shown[piece][:1].isspace()
            for place, (piece, edge) in enumerate(zip(ids, edges, strict=True))
        ]

    @cached_property
    def is_plain(self) -> bool:
        """Never: its settings are not those of BERT's normaliser."""
        return False

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Whether texts are lower-cased; the rest of the normaliser has no settings of BERT's kind."""
        return {"lowercase": self.lowercase}

    def encode_batch_aligned(self, texts: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Encode with the (start, end) characters of every piece, the spaces around it left out."""
        return [
            (ids, [_trimmed(text, start, end) for start, end in spans])
            for text, (ids, spans) in zip(texts, super().encode_batch_aligned(texts), strict=True)
        ]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out the spaces at both ends of text[start:end], unless there is nothing else."""
    piece = text[start:end]
    if not piece.strip():
        return start, end
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())
