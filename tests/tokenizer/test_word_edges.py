"""Where words begin and end, told from the pieces of a vocabulary."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import ByteLevelBPETokenizer

from bertie.tokenizer.edges import word_edges
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import Tokenizer


def test_words_of_wordpiece(tiny_tokenizer: Any) -> None:
    ids = tiny_tokenizer.encode_batch(["the walked 北京 cat's, redly"])[0]
    assert spelled(tiny_tokenizer, ids) == ["the", "w ##a ##l ##k ##ed", "北", "京", "cat", "'", "s", ",", "red ##ly"]
    assert spelled(tiny_tokenizer, [tiny_tokenizer.separator, *ids[2:4]])[1] == "##a ##l"  # a word cut by truncation


@pytest.mark.parametrize(
    ("vocab_size", "text", "expected"),
    [
        (261, "the walked dog北京 2024", ["the", "walked", "dog", "北", "京", "2024"]),  # single bytes
        (400, "the walked dog年2024年", ["the", "walked", "dog", "年", "2024", "年"]),
    ],
)
def test_words_of_byte_level_pieces(vocab_size: int, text: str, expected: list[str], tmp_path: Path) -> None:
    texts = ["the old dog ran in the old city 北京2024年 walked walking"] * 3
    trained = ByteLevelBPETokenizer()
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(texts, vocab_size=vocab_size, special_tokens=names, show_progress=False)
    trained.save_model(str(tmp_path))
    tokenizer = load_tokenizer(tmp_path)
    (ids,) = tokenizer.encode_batch([text])
    begins = np.array(spelled_starts(tokenizer, ids))
    words = np.split(np.array(ids), np.flatnonzero(begins)[1:])
    assert [tokenizer.decode(word.tolist()).strip() for word in words] == expected


def spelled_starts(tokenizer: Tokenizer, ids: list[int]) -> list[bool]:
    begins, ends = word_edges(tokenizer)
    return [
        bool(begins[piece] or place == 0 or ids[place - 1] in tokenizer.special_ids or ends[ids[place - 1]])
        for place, piece in enumerate(ids)
    ]


def spelled(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    numbers = np.cumsum(spelled_starts(tokenizer, ids))
    pieces = zip(numbers, (tokenizer.tokens[piece] for piece in ids), strict=True)
    return [" ".join(piece for _, piece in group) for _, group in groupby(pieces, key=lambda pair: pair[0])]
