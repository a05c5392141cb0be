"""Private helper of `embedding`: read the labels of pairs, and find equal texts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.errors import DataError
from bertie.items.text import sides
from bertie.tokenizer.windows import Windows


def identities(laid: Windows) -> NDArray[np.int64]:
    """Return a hash of each sequence's text, (B,). Texts that differ only in cut pieces have equal hashes."""
    edges = laid.pieces.offsets[np.searchsorted(laid.rows, np.arange(laid.rows[-1] + 2))]
    hashes = [
        hashlib.blake2b(laid.pieces.tokens[start:end].tobytes(), digest_size=8).digest()
        for start, end in pairwise(edges.tolist())
    ]
    return np.frombuffer(b"".join(hashes), "<i8")[laid.rows]


def has_labels(items: Sequence[Any]) -> bool:
    """Tell whether all pairs have labels (True) or none has (False).

    Raises:
        DataError: only some pairs have labels, or an item is not a pair.
    """
    unlabelled = [getattr(item, "label", None) is None for item in items]
    for number, item in enumerate(items, 1):
        where = f"line {item.line}" if getattr(item, "line", 0) else f"text {number}"
        if sides(item)[1] is None:
            raise DataError(f"{where} has no second text; training and evaluating embeddings needs pairs")
        if unlabelled[number - 1] != unlabelled[0]:
            has = "no" if unlabelled[number - 1] else "a"
            raise DataError(f"{where} has {has} label, unlike the first pair; label all pairs or none")
    return not unlabelled[0]


def value_of(label: Any, where: str) -> float:
    """Read a label as a number.

    Raises:
        DataError: the label is not a finite number; the message begins with `where`.
    """
    try:
        value = float(label)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{where} has label {label!r}; embedding takes numbers as labels, or matching pairs without labels"
        )
    return value
