"""What `embedding` asks of its items: whether pairs have numbers, which, and which texts are equal."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.data.items import sides
from bertie.data.windows import Windows
from bertie.errors import DataError


def identities(laid: Windows) -> NDArray[np.int64]:
    """Return a number for each sequence, (B,), that is equal for equal texts (as far as they are shown)."""
    edges = laid.pieces.offsets[np.searchsorted(laid.rows, np.arange(laid.rows[-1] + 2))]
    hashes = [
        hashlib.blake2b(laid.pieces.tokens[start:end].tobytes(), digest_size=8).digest()
        for start, end in pairwise(edges.tolist())
    ]
    return np.frombuffer(b"".join(hashes), "<i8")[laid.rows]


def has_labels(items: Sequence[Any]) -> bool:
    """Tell whether pairs have labels, all of them, or none.

    Raises:
        DataError: some have and some have not, or an item that is no pair.
    """
    bare = [getattr(item, "label", None) is None for item in items]
    for number, item in enumerate(items, 1):
        where = f"line {item.line}" if getattr(item, "line", 0) else f"text {number}"
        if sides(item)[1] is None:
            raise DataError(f"{where} has no second text; embedding learns from and is measured on pairs")
        if bare[number - 1] != bare[0]:
            has = "no" if bare[number - 1] else "a"
            raise DataError(f"{where} has {has} label, unlike the first pair; label all pairs or none")
    return not bare[0]


def value_of(label: Any, where: str) -> float:
    """Read a label as a number.

    Raises:
        DataError: it is none; the message says `where`.
    """
    try:
        value = float(label)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{where} has label {label!r}; embedding takes numbers, or pairs that belong together and no label"
        )
    return value
