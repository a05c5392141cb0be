"""Predictions as notebooks show them: every text literally, values that people look for, nothing that runs or loads."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from bertie.formats.format import Bundle
from bertie.inference.predictions import OneItem, Predictions
from bertie.inference.predictor import Predictor
from bertie.tasks import _html
from bertie.tasks._answers import AnswerSpan, Reply
from bertie.tasks._prediction import Span
from bertie.tasks._vectors import Vector
from bertie.tasks.classification import Classification, Verdict
from bertie.tasks.masked_lm import Fill, MaskedLM
from bertie.tasks.tagging import Tagged

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</td></table><h1>x",
    "javascript:alert(1)//' onmouseover='x",
    "&lt;b&gt; &amp; \x00\x1b[31m \ud800 \u202e",
    "日本語 <b>",
)
ALLOWED = {"table", "tr", "td", "th", "div", "span", "sub", "b", "br", "p"}


class Checked(HTMLParser):
    """Refuses tags and attributes that a prediction's HTML doesn't need, and tags that are not closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED
        assert {name for name, _ in attrs} <= {"style", "dir"}
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def kinds(text: str) -> list[Any]:
    """One prediction of each kind, with a text in every place that can hold one."""
    label = text or "x"
    return [
        Verdict(label, 0.75, {label: 0.75, f"{label} other": 0.25}),
        [Fill(label, 0.5, 1), Fill("b", 0.25, 2)],
        [[Fill(label, 0.5, 1)], [Fill("b", 0.25, 2)]],
        Tagged((text, "c"), ("B-X", "O"), (Span(label, text, 0, len(text), 0.9),), 0.9),
        Tagged((text, "c"), (label, "NN"), (), 0.9),
        Reply(
            text, 0.8, 2, 2 + len(text), -1.0, [AnswerSpan(text, 0.8, 2, 2 + len(text)), AnswerSpan("", 0.2, -1, -1)]
        ),
        Vector(np.arange(4, dtype=np.float32)),
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_every_text_is_shown_and_none_is_markup(text: str) -> None:
    for prediction in kinds(text):
        for item in (text, (text, f"a {text} b"), None):
            Checked(_html.page([item], [prediction]))
    Checked(_html.table_of([{text: text, "n": 1.5}]) + _html.figures({text: text}) + _html.marked(text, [(0, 1, text)]))
    assert text.partition("<")[0].strip()[:9] in Checked(_html.page([text], [kinds(text)[0]])).text or "\x00" in text


def test_what_is_shown() -> None:
    verdict, fills, masks, tagged, parts, reply, vector = kinds("Paris")
    assert Checked(_html.page(["a film"], [verdict])).text == "a filmParis75.0%Paris other25.0%"
    assert Checked(_html.page(["x [MASK]"], [fills])).text == "x [MASK]Paris50.0%b25.0%"
    assert Checked(_html.page(["x [MASK] [MASK]"], [masks])).text == "x [MASK] [MASK]Paris50.0%b25.0%"
    assert Checked(_html.page(["Paris c"], [tagged])).text == "ParisParis c"  # the span, its label, the rest
    assert Checked(_html.page(["Paris c"], [parts])).text == "ParisParis cNN"
    answer = _html.page([("where?", "in Paris now")], [reply])
    assert Checked(answer).text == "where?Paris80.0%(no answer)20.0%in Paris now"
    assert len(re.findall(r'<span style="background:hsla', answer)) == 1
    assert "4 numbers" in Checked(_html.page(["x"], [vector])).text
    other = Vector(np.array([0, 1, 2, 3], np.float32) * 2)
    assert Checked(_html.page(["one", "two"], [vector, other])).text == "cosine121. one1.001.002. two1.001.00"


def test_long_lists_and_texts_say_what_is_left_out() -> None:
    many = _html.page(["x"] * 70, [Verdict("a", 1.0, {"a": 1.0})] * 70)
    assert Checked(many).text.count("100.0%") == _html.MOST_ROWS and Checked(many).text.endswith("and 20 more")
    assert Checked(_html.page(["y" * 5000], [Verdict("a", 1.0, {"a": 1.0})])).text.count("y") == 2000
    assert "3,000 more characters" in _html.marked("y" * 5000, [(10, 20, "A"), (4000, 4500, "B")])


def test_spans_that_cross_lie_outside_or_are_empty() -> None:
    html = _html.marked("abcdef", [(0, 4, "A"), (2, 6, "B"), (3, 3, "C"), (5, 99, "D"), (-1, 2, "E")])
    assert Checked(html).text == "abcdAefB"


@pytest.mark.parametrize("shares", [(float("nan"), -1.0, 2.0)])
def test_shares_that_are_none(shares: tuple[float, ...]) -> None:
    for share in shares:
        widths = re.findall(r"width:([\d.]+)%", _html.bar("a", share))
        assert len(widths) == 1 and 0.0 <= float(widths[0]) <= 100.0


def test_a_predictor_gives_lists_and_predictions_that_know_their_items(
    build_model: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    task = Classification(labels=("bad", "good"), max_length=16)
    network = build_model(task)
    predictor = Predictor(Bundle(network, task, tiny_tokenizer, network.encoder.config))
    texts = ["the cat", "a dog <b>"]
    many = predictor.predict(texts)
    assert isinstance(many, list) and many == list(many) == predictor.predict(iter(texts))
    assert type(many) is Predictions and [type(one) for one in many] == [Verdict, Verdict]
    assert "the cat" in Checked(many._repr_html_()).text and "a dog <b>" in Checked(many._repr_html_()).text
    assert json.loads(json.dumps(many)) == [one.as_dict() for one in many]
    again = pickle.loads(pickle.dumps(many))  # noqa: S301
    assert type(again) is list and again == many
    assert repr(many) == repr(list(many))
    assert "the cat" not in predictor.predict(iter(texts))._repr_html_()  # a stream is gone
    many.reverse()
    many.append(many[0])
    Checked(many._repr_html_())
    one = predictor.predict("the cat <i>")
    assert "the cat <i>" in Checked(one._repr_html_()).text and one == pickle.loads(pickle.dumps(one))  # noqa: S301
    pair = predictor.predict(("the cat", "sat"))
    assert "sat" in Checked(pair._repr_html_()).text


def test_the_guesses_for_one_text(build_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    network = build_model(MaskedLM(max_length=16))
    predictor = Predictor(Bundle(network, MaskedLM(max_length=16), tiny_tokenizer, network.encoder.config))
    for text in ("the [MASK]", "[MASK] [MASK]"):
        guesses = predictor.predict(text)
        assert type(guesses) is OneItem and guesses == list(guesses)
        assert text in Checked(guesses._repr_html_()).text
        assert pickle.loads(pickle.dumps(guesses)) == guesses  # noqa: S301
