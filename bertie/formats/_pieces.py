"""Private helper: read the tokenizer of a model folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import Tokenizer


def read_tokenizer(folder: Path, values: Mapping[str, Any], vocab_size: int) -> Tokenizer:
    """Read a folder's tokenizer, and check that it is the one that config.json was written with."""
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size > vocab_size:
        raise DataError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, but the model only {vocab_size} embeddings"
        )
    golden = values.get("bertie", {}).get("golden_ids")
    if golden is not None and golden != tokenizer.golden_ids():
        raise DataError(
            f"{folder}: the tokenizer cuts the stored test text differently than when the model was written; its files "
            "have changed, or this version of the tokenizers package differs"
        )
    return tokenizer
