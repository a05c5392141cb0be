"""The classical way: it learns from words and their surroundings, and takes whatever comes."""

import random

import pytest

from bertie.inference import classical
from bertie.inference.classical import fit
from bertie.items.text import Text
from bertie.items.words import Words

pytest.importorskip("sklearn")


def _sentence(draw: random.Random) -> Words:
    """A word after "mr" is a name, whatever it is."""
    word = "".join(draw.choice("abcdefgh") for _ in range(5))
    words = (draw.choice(["then", "so", "but"]), "mr", word, "said", "it")
    return Words(words, ("O", "O", "B-PER", "O", "O"))


def test_tags_are_learned_from_the_word_before() -> None:
    draw = random.Random(0)
    tag = fit([_sentence(draw) for _ in range(60)])
    unseen = [_sentence(draw) for _ in range(20)]
    assert [guess.tags for guess in tag(unseen)] == [item.label for item in unseen]
    assert [guess.words for guess in tag(unseen)] == [item.words for item in unseen]


def test_case_is_not_looked_at() -> None:
    draw = random.Random(0)
    tag = fit([_sentence(draw) for _ in range(60)])
    (guess,) = tag([Words(("SO", "MR", "SMITH", "SAID", "IT"))])
    assert guess.tags == ("O", "O", "B-PER", "O", "O")


def test_labels_are_learned_from_words_and_from_pairs_of_words() -> None:
    items = [
        Text(f"{first} {second} number {number}", label=str(first == second))
        for number in range(20)
        for first in ("red", "blue")
        for second in ("red", "blue")
    ]
    label = fit(items)
    said = label([Text("red red"), Text("red blue"), Text("blue blue"), Text("blue red")])
    assert [guess.label for guess in said] == ["True", "False", "True", "False"]


def test_the_second_text_is_told_from_the_first() -> None:
    items = [Text(first, second, label=first) for first, second in (("yes", "no"), ("no", "yes")) for _ in range(30)]
    assert [guess.label for guess in fit(items)([Text("yes", "no"), Text("no", "yes")])] == ["yes", "no"]


def test_chinese_has_words_too() -> None:
    items = [Text(text, label=label) for text, label in (("很好看", "good"), ("不好看", "bad")) for _ in range(15)]
    assert [guess.label for guess in fit(items)([Text("很有趣"), Text("不有趣")])] == ["good", "bad"]


def test_odd_items_are_answered() -> None:
    one_label = [Text("a", label="x"), Text("b", label="x")]
    assert [guess.label for guess in fit(one_label)([Text("c")])] == ["x"]
    without_words = [Text("", label="x"), Text("...", label="y"), Text("", label="x")]
    assert fit(without_words)([Text("")])[0].label == "x"
    bare = Words((), ())
    tag = fit([bare, Words(("a", "b"), ("O", "B-X"))])
    assert [guess.tags for guess in tag([bare, Words(("b",))])] == [(), ("B-X",)]
    assert tag([]) == []


def test_many_items_are_learned_from_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classical, "_LARGE", 100)
    draw = random.Random(0)
    tag = fit([_sentence(draw) for _ in range(200)])
    unseen = [_sentence(draw) for _ in range(20)]
    assert [guess.tags for guess in tag(unseen)] == [item.label for item in unseen]
