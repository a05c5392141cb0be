"""What all kinds of items share, and what a kind owns."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bertie.errors import DataError
from bertie.items.choice import Choice
from bertie.items.item import Item
from bertie.items.question import Answer, Question
from bertie.items.text import Text, as_item, sides, texts_of
from bertie.items.words import Words
from bertie.metrics.entities import Entity
from bertie.readers.choices import read_choices
from bertie.readers.questions import read_questions
from bertie.readers.table import read_table
from bertie.readers.words import read_words

KINDS: list[tuple[Item, Any]] = [
    (Text("a film", label="good"), read_table),
    (Text("a film", "a story", "good"), read_table),
    (Words(("Ann", "slept"), ("B-PER", "O")), read_words),
    (Question("Who?", "Ann slept.", (Answer("Ann", 0),), id="q1"), read_questions),
    (Question("Who?", "Nobody slept.", (), id="q2"), read_questions),
    (Choice("She", ("ran", "sat"), "0", lead="then"), read_choices),
]
ALL = [item for item, _ in KINDS] + [
    Text("a", label=("x", "y"), id="7"),
    Text("a", "b", negatives=("c", "d")),
    Words(("Ann",), None, text="  Ann", offsets=((2, 5),), spans=(Entity("PER", 0, 1),)),
    Question("Who?", "Ann"),
    Choice("She", ("ran", "sat")),
]


@pytest.mark.parametrize(("item", "read"), KINDS)
def test_an_item_is_read_back_from_the_table_that_holds_its_row(item: Item, read: Any, tmp_path: Path) -> None:
    table = tmp_path / "table.jsonl"
    table.write_text(json.dumps(item.row()) + "\n", encoding="utf-8")
    assert [replace(one, line=0) for one in read(table).items] == [item]


@pytest.mark.parametrize("item", ALL)
def test_an_item_comes_back_from_its_json(item: Item) -> None:
    again = type(item).from_row(json.loads(json.dumps(item.row())))
    assert again == item and again.id == item.id
    assert item.unlabelled().label is None and item.unlabelled().texts() == item.texts()


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        (Text, {"txt": "a"}, "unknown key 'txt'; did you mean 'text'"),
        (Text, {"pair": "a"}, "the key 'text' is missing"),
        (Text, {"text": 3}, "text is 3; it must be a string"),
        (Text, {"text": "a", "label": True}, "label is True; it must be"),
        (Text, {"text": "a\ud800"}, "half a character"),
        (Words, {"tokens": "ab"}, "tokens is 'ab'; it must be a list of strings"),
        (Words, {"tokens": ["a"], "tags": []}, "1 tokens and 0 tags"),
        (Words, {"tokens": ["a"], "text": "a", "offsets": [[0, 2]]}, "within 0 to 1"),
        (Words, {"tokens": ["a"], "spans": [["X", 0, 2]]}, "within 0 to 1"),
        (Words, {"tokens": ["a"], "spans": [["X", 0]]}, "lists with 3 values"),
        (Question, {"question": "a"}, "the key 'context' is missing"),
        (Question, {"question": "a", "context": "b", "answers": ["b"]}, "answers must be"),
        (Question, {"question": "a", "context": "b", "answers": {"text": ["b"], "answer_start": []}}, "whole number"),
        (Choice, {"text": "a", "choices": ["b"]}, "two or more"),
        (Choice, {"text": "a", "choices": ["b", "c"], "label": 2}, "the number of a choice, 0 to 1"),
    ],
)
def test_json_that_is_no_item_is_refused(kind: type[Item], row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message.replace("[", r"\[")):
        kind.from_row(row)


def test_strings_pairs_and_items_of_third_parties_have_texts() -> None:
    assert sides("a") == ("a", None) and sides(("a", "b")) == ("a", "b") == sides(Text("a", "b"))
    assert texts_of(("a", "b")) == ["a", "b"] and texts_of(7) == ["7"]
    with pytest.raises(DataError, match="is not an item"):
        as_item(7)


def test_words_without_their_text_are_joined_as_their_script_is_written() -> None:
    for words, text in (
        (("Anna", "met", "Li", "."), "Anna met Li ."),
        (("江", "小", "平", "在", "北京", "。"), "江小平在北京。"),
        (("在", "Berlin", "3", "天", "，", "カナ"), "在 Berlin 3 天，カナ"),
        (("서울", "에서"), "서울 에서"),
        ((), ""),
    ):
        item = Words(words)
        assert item.whole_text() == text
        assert tuple(text[start:end] for start, end in item.word_offsets()) == words
    assert Words(("江", "山"), text="江 山", offsets=((0, 1), (2, 3))).whole_text() == "江 山"


def test_labels_read_as_text() -> None:
    assert Text("a", label=("x", "y")).label_text() == "x, y"
    assert Words(("Ann", "slept"), ("B-PER", "O")).label_text() == "PER: Ann"
    assert Words(("runs",), ("VERB",)).label_text() == "VERB"
    assert Question("q", "c", ()).label_text() == "(no answer)"
    assert Choice("a", ("b", "c"), "1").label_text() == "c" and Choice("a", ("b",), "x").label_text() == "x"
