"""Texts with spans: cut as the tokenizer would, spans on words, widened, moved or dropped and said."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bertie.errors import DataError
from bertie.metrics.entities import Entity
from bertie.readers.spans import SpanReader, cut_words, lay_on_words

FILE = Path("a.jsonl")


def read(text: str, spans: Any) -> tuple[str, ...] | None:
    return SpanReader(FILE).read(7, text, spans).label


def test_cutting() -> None:
    text = "Mr. O'Neil flew to 北京2号线, for $5 (a\u3000b)\n"
    words = cut_words(text)
    assert words.words == (
        *(
            "Mr",
            ".",
            "O",
            "'",
            "Neil",
            "flew",
            "to",
            "北",
            "京",
            "2",
            "号",
            "线",
            ",",
            "for",
            "$",
            "5",
            "(",
            "a",
            "b",
            ")",
        ),
    )
    assert all(text[start:end] == word for word, (start, end) in zip(words.words, words.offsets, strict=True))
    assert cut_words(" \t").words == () == cut_words("").words


@given(
    st.text(
        st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("a. 北é\t\u00ad\u2028\x0b[Ａ")), max_size=40
    )
)
def test_words_have_the_pieces_of_their_text(tiny_tokenizer: Any, text: str) -> None:
    assume(not re.search(r"\[[A-Z]+\]", text))  # a special token is one piece; brackets are words of their own
    whole = tiny_tokenizer.encode_batch([text])[0]
    words = cut_words(text).words
    assert [piece for ids in tiny_tokenizer.encode_batch(words) for piece in ids] == whole


def test_spans_in_all_their_forms() -> None:
    text, tags = "Ann went to New York.", ("B-PER", "O", "O", "B-LOC", "I-LOC", "O")
    assert read(text, [{"start": 0, "end": 3, "label": "PER"}, {"start": 12, "end": 20, "label": "LOC"}]) == tags
    assert read(text, [[0, 3, "PER"], [12, 20, "LOC"]]) == tags
    assert read(text, {"PER": {"Ann": [[0, 2]]}, "LOC": {"New York": [[12, 19]]}}) == tags
    assert read(text, []) == ("O",) * 6 == read(text, {})
    assert read(text, None) is None


@pytest.mark.parametrize(
    "spans",
    [
        "PER",
        [[0, 3]],
        [["PER", 0, 3]],
        [[0, 3, ""]],
        [[0.0, 3, "PER"]],
        [[True, 3, "PER"]],
        [{"start": "0", "end": 3, "label": "PER"}],
        {"PER": [[0, 3]]},
        {"PER": {"Ann": 0}},
    ],
)
def test_other_forms_are_refused(spans: Any) -> None:
    with pytest.raises(DataError, match=r"^a\.jsonl:7: "):
        read("Ann went", spans)
    with pytest.raises(DataError, match=r"a\.jsonl:7: a text must be a string; got 3"):
        SpanReader(FILE).read(7, 3, None)


def test_white_space_at_the_ends_counts_for_nothing() -> None:
    assert lay_on_words([Entity("P", 3, 8)], ((0, 3), (4, 7), (8, 9))) == (("O", "B-P", "O"), [], [])


def test_widened_where_the_words_are_free() -> None:
    offsets = ((0, 4), (5, 9), (10, 14))
    cut, whole = Entity("P", 1, 3), Entity("L", 5, 9)
    assert lay_on_words([cut, whole], offsets) == (("B-P", "B-L", "O"), [cut], [])
    crossing = Entity("P", 3, 6)
    assert lay_on_words([crossing, whole], offsets) == (("O", "B-L", "O"), [], [crossing])


def test_the_longest_of_overlapping_spans_stays() -> None:
    offsets = ((0, 1), (2, 3), (4, 5))
    inner, outer, other = Entity("A", 2, 3), Entity("B", 0, 3), Entity("A", 0, 3)
    assert lay_on_words([inner, outer, outer], offsets) == (("B-B", "I-B", "O"), [], [inner])
    assert lay_on_words([outer, other], offsets) == (("B-B", "I-B", "O"), [], [other])
    assert lay_on_words([Entity("A", 1, 2)], offsets) == (("O", "O", "O"), [], [Entity("A", 1, 2)])


@given(st.text("ab .", max_size=20), st.lists(st.tuples(st.integers(0, 20), st.integers(1, 6), st.sampled_from("PL"))))
def test_every_span_is_laid_or_said(text: str, drawn: list[tuple[int, int, str]]) -> None:
    words = cut_words(text)
    spans = {Entity(label, start, start + size) for start, size, label in drawn if start + size <= len(text)}
    tags, widened, dropped = lay_on_words(sorted(spans), words.offsets)
    assert len(tags) == len(words.words)
    assert sum(tag.startswith("B-") for tag in tags) == len(spans) - len(dropped)
    assert set(widened) | set(dropped) <= spans and not set(widened) & set(dropped)


def test_what_was_mended_and_dropped_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    reader = SpanReader(FILE)
    moved = reader.read(1, "in Paris, France", [{"start": 0, "end": 5, "label": "LOC", "text": "Paris"}])
    assert moved.label == ("O", "B-LOC", "O", "O")
    twice = reader.read(2, "Paris, Paris", {"LOC": {"Paris": [[1, 5]]}})
    assert twice.label == ("O", "O", "O")
    reader.read(3, "Paris", [[0, 9, "LOC"], [-1, 2, "LOC"], [3, 3, "LOC"]])
    reader.read(4, "Paris", [[0, 4, "LOC"], [0, 5, "LOC"]])
    reader.read(5, "Paris", [[0, 4, "LOC"]])
    reader.warn()
    lines = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("warning: a.jsonl: ").split(" spans ")[0] for line in lines] == ["1", "1", "4", "1"]
    assert lines[0].endswith("moved to its only occurrence (line 1)")
    assert lines[1].endswith("widened to whole words (line 5)")
    assert "their text is not at their offsets" in lines[2] and lines[2].endswith("(lines 2, 3)")
    assert "another span" in lines[3] and lines[3].endswith("(line 4)")
    SpanReader(FILE).warn()
    assert not capsys.readouterr().err
