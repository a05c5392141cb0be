"""What tasks on texts and pairs of texts share: the check of the length, and the pieces of both sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bertie.errors import SettingsError
from bertie.items.text import texts
from bertie.tokenizer.tokenizer import Tokenizer


def check_length(max_length: int) -> None:
    """Check that a sequence of this length has room for a pair of texts.

    Raises:
        SettingsError: it has not.
    """
    if max_length < 5:
        raise SettingsError(f"max_length must be at least 5, for [CLS] a [SEP] b [SEP]; got {max_length}")


def encoded_texts(items: Sequence[Any], tokenizer: Tokenizer) -> tuple[list[list[int]], list[list[int] | None]]:
    """Return the pieces of the items' first and second texts, with None for an item without a second text.

    Raises:
        DataError: an item is not a text, or a text has a lone surrogate.
    """
    first, second = texts(items)
    if second is None:
        return tokenizer.encode_batch(first), [None] * len(first)
    encoded = tokenizer.encode_batch(["" if pair is None else pair for pair in second])
    return tokenizer.encode_batch(first), [
        None if pair is None else ids for pair, ids in zip(second, encoded, strict=True)
    ]
