"""Items of a table as fine-tuning draws them: what is cut is said, at once and with its number."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from bertie.items.text import Text
from bertie.tasks.classification import Classification
from bertie.training.feed import table_feed

ITEMS = [Text("the cat", label="a", line=2), Text("the dog " * 30, label="b", line=3), Text("a dog " * 9, label="b")]


def draw(tokenizer: Any, task: Classification, number: int) -> None:
    feed = table_feed(ITEMS, task, tokenizer, batch_size=2, micro_tokens=64, seed=0, state={})
    list(islice(feed, number))


def test_cut_items_are_counted_once(tiny_tokenizer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tiny_tokenizer, Classification(labels=("a", "b"), max_length=16), 6)
    said = capsys.readouterr().err
    assert said.count("is longer than 16 tokens and is cut") == 1
    assert said.count("2 of 3 training items are cut to 16 tokens") == 1


def test_nothing_is_said_where_nothing_is_cut(tiny_tokenizer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tiny_tokenizer, Classification(labels=("a", "b"), max_length=16, truncation="window"), 4)
    draw(tiny_tokenizer, Classification(labels=("a", "b"), max_length=64), 4)
    assert capsys.readouterr().err == ""
