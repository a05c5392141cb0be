"""Spans that overlap or nest: all of them are kept where a task asks for them, from every form of file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie import progress
from bertie.errors import DataError
from bertie.items.text import unlabelled
from bertie.items.words import Words
from bertie.metrics.entities import Entity, entities
from bertie.readers.spans import cut_words, lay_on_words, words_of
from bertie.readers.words import read_words

TEXT = "Bank of 中国 😀 in Ulm"
SPANS = [(0, 10, "ORG"), (8, 10, "LOC"), (8, 10, "GPE"), (0, 4, "NOUN"), (5, 19, "ODD")]
ON_WORDS = (
    Entity("ORG", 0, 4),
    Entity("NOUN", 0, 1),
    Entity("ODD", 1, 7),
    Entity("GPE", 2, 4),
    Entity("LOC", 2, 4),
)
FORMS: dict[str, Any] = {
    "spans": {"text": TEXT, "spans": [{"start": start, "end": end, "label": label} for start, end, label in SPANS]},
    "doccano": {"id": 1, "text": TEXT, "label": [list(span) for span in SPANS]},
    "spaCy": [TEXT, {"entities": [list(span) for span in SPANS]}],
    "Prodigy": {
        "text": TEXT,
        "answer": "accept",
        "_task_hash": 1,
        "spans": [{"start": start, "end": end, "label": label} for start, end, label in SPANS],
    },
    "Label Studio": {
        "data": {"text": TEXT},
        "annotations": [
            {
                "result": [
                    {"value": {"start": start, "end": end, "text": TEXT[start:end], "labels": labels}}
                    for start, end, labels in (
                        *((0, 10, ["ORG"]), (8, 10, ["LOC", "GPE"]), (0, 4, ["NOUN"]), (5, 19, ["ODD"])),
                    )
                ]
            }
        ],
    },
}


def written(folder: Path, *rows: Any) -> Path:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("form", FORMS)
def test_every_span_is_kept(form: str, tmp_path: Path) -> None:
    with progress.collected() as said:
        (item,) = read_words(written(tmp_path, FORMS[form]), labelled=True, overlapping=True).items
    assert item.spans == ON_WORDS == item.labelled_spans()
    assert sorted(item.places(item.spans)) == sorted(SPANS)
    assert item.text == TEXT and item.label is not None and not list(said)


def test_tagging_keeps_what_tags_can_say(tmp_path: Path) -> None:
    path = written(tmp_path, FORMS["spans"])
    with progress.collected() as said:
        (item,) = read_words(path, labelled=True).items
    assert item.spans is None and "overlap another span (line 1)" in next(iter(said))
    assert item.labelled_spans() == tuple(entities(item.label or ()))


def test_words_with_spans(tmp_path: Path) -> None:
    words = ["Bank", "of", "中国", "in", "Ulm"]
    joined = "Bank of 中国 in Ulm"
    characters = [[0, 10, "ORG"], [8, 10, "LOC"], [14, 17, "LOC"]]
    counted = [{"start": 0, "end": 3, "type": "ORG"}, {"start": 2, "end": 3, "type": "LOC"}, [4, 5, "LOC"]]
    expected = (Entity("ORG", 0, 3), Entity("LOC", 2, 3), Entity("LOC", 4, 5))
    for name, spans in (("spans", characters), ("entities", counted)):
        path = written(tmp_path, {"tokens": words, name: spans}, {"tokens": ["hm"], name: []})
        table = read_words(path, labelled=True, overlapping=True)
        assert [item.spans for item in table.items] == [expected, ()]
        assert table.mapping == {"words": "tokens", "spans": name}
        assert table.reading is not None
        unit = "words" if name == "entities" else "characters of the words joined by spaces"
        assert f"offsets count {unit}" in table.reading.remarks
        assert [joined[start:end] for start, end, _ in table.items[0].places(expected)] == [
            "Bank of 中国",
            "中国",
            "Ulm",
        ]
    named = read_words(path, columns={"words": "tokens", "spans": "entities"}, labelled=True)
    assert [item.label for item in named.items] == [("B-ORG", "I-ORG", "I-ORG", "O", "B-LOC"), ("O",)]


def test_spans_that_are_corrected_or_dropped(tmp_path: Path) -> None:
    spans = [[1, 4, "A"], [4, 5, "B"], [0, 99, "C"], [5, 7, "D"], [6, 7, "D"]]
    path = written(tmp_path, {"text": "Bank of it", "spans": spans})
    with progress.collected() as said:
        (item,) = read_words(path, labelled=True, overlapping=True).items
    assert item.spans == (Entity("A", 0, 1), Entity("D", 1, 2))
    warnings = " ".join(said)
    assert "2 spans began or ended inside a word and were widened to whole words (line 1)" in warnings
    assert "1 spans were dropped: they contain no word (line 1)" in warnings
    assert "1 spans were dropped: they are outside the text" in warnings


def test_offsets_in_units_of_utf_16(tmp_path: Path) -> None:
    text = "😀 Bank of 北京"
    path = written(tmp_path, {"text": text, "spans": [[3, 13, "ORG"], [11, 13, "LOC"]]})
    (item,) = read_words(path, labelled=True, overlapping=True).items
    assert [text[start:end] for start, end, _ in item.places(item.spans or ())] == ["Bank of 北京", "北京"]


def test_a_span_with_two_labels_is_no_tag(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a span must have one label; got \\['LOC', 'GPE'\\]"):
        read_words(written(tmp_path, FORMS["Label Studio"]), labelled=True)


def test_an_item_without_its_label() -> None:
    item = Words(("a",), ("B-X",), 3, spans=(Entity("X", 0, 1),))
    assert unlabelled(item) == Words(("a",), None, 3) and unlabelled("a") == "a"
    assert Words(("a",)).labelled_spans() is None and Words(("a",), ("O",)).labelled_spans() == ()


@given(st.text("a 北😀.", max_size=12), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=5))
def test_spans_on_words_cover_their_characters(text: str, ranges: list[tuple[int, int]]) -> None:
    bare = cut_words(text)
    spans = [Entity("X", start, end) for start, end in ranges if start < end]
    for span in spans:
        words = words_of(span, bare.offsets)
        inside = [place for place in range(span.start, min(span.end, len(text))) if not text[place].isspace()]
        assert (words is None) == (not inside)
        if words is not None:
            (start, end, _), *_ = bare.places([words])
            assert start <= min(inside) and max(inside) < end
            assert not any(bare.offsets[word][1] <= span.start for word in range(words.start, words.end))
    assert lay_on_words(spans, bare.offsets)[0] == lay_on_words(spans[::-1], bare.offsets)[0]
