"""Lists that tables hold as text: whatever Python, JSON or numpy writes is read back, or refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.readers.cells import is_listed, read_cell

TEXTS = st.text(max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXTS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3))
CELLS = st.lists(VALUES, max_size=5) | st.dictionaries(TEXTS, VALUES, max_size=3)


@given(CELLS)
def test_python_and_json(value: Any) -> None:
    for text in (repr(value), json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert is_listed(text)
        assert read_cell(text) == value


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), max_size=5))
def test_numpy(words: list[str]) -> None:
    array = np.array(words, object)
    for text in (str(array), repr(array)):
        assert read_cell(text) == words


def test_frames_of_questions() -> None:
    cell = {"text": np.array(["in 1812", "1812"], object), "answer_start": np.array([32, 35], np.int32)}
    assert read_cell(str(cell)) == {"text": ["in 1812", "1812"], "answer_start": [32, 35]}
    assert read_cell("[np.str_('a'), np.int64(3)]") == ["a", 3]
    assert read_cell("(0, 9, 'PER')") == [0, 9, "PER"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (str(np.arange(5000)), "values are replaced"),
        ("[B-PER, O]", "no quotes"),
        ("['a', 'b' 'c']", "a comma is missing"),
        ("['a'", "ends too early"),
        ("['a'] b", "something follows"),
        ("('a')", "one value in round brackets"),
        ("[" * 50_000, "nested too deeply"),
        ("{'a' 'b'}", "a colon is missing"),
        ("[__import__('os')]", "no quotes"),
        ("['\\x']", "can't be read"),
        ("7", "not a list"),
        ("", "ends too early"),
    ],
)
def test_what_is_no_whole_list(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_cell(text)


def test_texts_in_brackets_are_told_by_both_ends() -> None:
    assert is_listed(" [1] ") and is_listed("{'a': 1}") and is_listed("array([1])")
    assert not is_listed("[sic] he went") and not is_listed("a [b]") and not is_listed("")


def test_a_long_cell_is_read_in_one_pass() -> None:
    cell = "[" + ", ".join(["'a b'"] * 100_000) + "]  \n"  # to copy what is left at each step took minutes
    assert read_cell(cell) == ["a b"] * 100_000
