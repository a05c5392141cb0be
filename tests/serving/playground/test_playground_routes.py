"""The routes of the playground: its files and their headers, its answers, and what it refuses."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertie.reports import style

PAGE = Path(__file__).parents[3] / "bertie" / "serving" / "playground"


@pytest.fixture
def ask(address: str) -> Callable[..., tuple[int, Any, Any]]:
    """Return what asks a route, by POST if there is a body; it returns status, headers and content."""

    def call(path: str, body: Any = None) -> tuple[int, Any, Any]:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
            reply = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            reply = error
        with reply:
            content = reply.read()
            is_json = reply.headers["content-type"] == "application/json"
            return reply.status, reply.headers, json.loads(content) if is_json else content.decode()

    return call


def test_every_answer_has_the_strict_headers(ask: Callable[..., Any]) -> None:
    files = ["/", *(f"/playground/{path.name}" for path in PAGE.iterdir() if path.name != "index.html")]
    assert len(files) > 5
    for path in [*files, "/playground/models"]:
        status, headers, _ = ask(path)
        policy = headers["content-security-policy"]
        assert status == 200 and policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; ")
        assert "unsafe" not in policy and "http" not in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "name", ["nothing.js", "%2e%2e%2fhub.py", "..%2fhub.py", "__init__.py", "%00", "index.html%00"]
)
def test_only_files_of_the_page_are_served(ask: Callable[..., Any], name: str) -> None:
    assert ask(f"/playground/{name}")[0] == 404


def test_the_page_names_no_other_host() -> None:
    for path in PAGE.iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//[a-z]+\.|@import|innerHTML|outerHTML|insertAdjacentHTML|\beval\b", text), path
        assert len(text.splitlines()) <= 350


def test_the_colours_are_those_of_the_reports() -> None:
    sheet = re.sub(r"\s", "", (PAGE / "style.css").read_text(encoding="utf-8"))
    for colours, count in ((style.LIGHT, 1), (style.DARK, 2)):
        for name in (
            "paper",
            "card",
            "ink",
            "soft",
            "line",
            "accent",
            "heat",
            "wrong",
            *(f"c{one}" for one in range(6)),
        ):
            value = re.search(rf"--{name}:([^;]+)", colours)
            assert value and sheet.count(f"--{name}:{value[1]};") == count, name


def test_both_languages_have_the_same_words() -> None:
    text = (PAGE / "words.js").read_text(encoding="utf-8")
    words = text.partition("const WORDS")[2].partition("const TASKS")[0]
    english, _, chinese = words.partition("\n  zh: {")
    key = re.compile(r"(?:^\s+|[,{]\s+)(\w+): (?=[\"(])", re.MULTILINE)
    assert len(key.findall(english)) > 60
    assert key.findall(english) == key.findall(chinese)


def test_models_are_described(ask: Callable[..., Any]) -> None:
    models = {model["name"]: model for model in ask("/playground/models")[2]["models"]}
    panels = {name: model["panel"] for name, model in models.items()}
    assert list(panels.values()) == [
        "fill", "classes", "spans", "answer", "choice", "similarity", "number", "writing", "", "fill",
    ]  # fmt: skip
    assert models["films"]["labels"] == ["bad", "<b>good</b>"] and models["films"]["attention"] is True
    assert models["fill"]["languages"] == ["en"] and models["chinese"]["languages"] == ["zh"]
    assert models["fill"]["mask"] == "[MASK]" and models["fill"]["layers"] == 2


def test_predictions_of_every_panel(ask: Callable[..., Any]) -> None:
    items: dict[str, Any] = {
        "fill": {"text": "the [MASK] sat on the [MASK]"},
        "films": {"text": "the film", "pair": "was good"},
        "entities": {"text": "the cat sat."},
        "answers": {"question": "the cat", "context": "it sat in the house"},
        "choices": {"text": "the cat", "choices": ["sat", "ran"]},
        "vectors": {"text": "the cat"},
        "writer": {"text": "the cat"},
        "features": {"text": "the cat"},
        "chinese": {"text": "北[MASK]"},
    }
    found = {}
    for name, item in items.items():
        status, _, answer = ask("/playground/predict", {"model": name, "items": [item, item]})
        assert status == 200 and len(answer["predictions"]) == 2, answer
        found[name] = answer["predictions"][0]
    assert [len(guesses) for guesses in found["fill"]] == [5, 5] and len(found["chinese"]) == 5
    assert set(found["films"]["scores"]) == {"bad", "<b>good</b>"}
    assert found["entities"]["words"] == ["the", "cat", "sat", "."] and found["entities"]["spans"]
    assert found["answers"]["n_best"] and len(found["choices"]["scores"]) == 2 and len(found["vectors"]["vector"]) == 32


def test_words_may_come_cut(ask: Callable[..., Any]) -> None:
    item = {"tokens": ["the cat", "sat"], "tags": ["O", "O"]}
    answer = ask("/playground/predict", {"model": "entities", "items": [item]})[2]
    assert answer["predictions"][0]["words"] == ["the cat", "sat"]


def test_pieces_have_their_characters(ask: Callable[..., Any]) -> None:
    text, pair = "The 𝄞 catly", "北京"
    answer = ask("/playground/pieces", {"model": "films", "text": text, "pair": pair})[2]
    shown = [(token["token"], token["side"], token["starts"]) for token in answer["tokens"]]
    assert shown == [
        ("[CLS]", None, True), ("the", 0, True), ("[UNK]", 0, True), ("cat", 0, True), ("##ly", 0, False),
        ("[SEP]", None, True), ("北", 1, True), ("京", 1, True), ("[SEP]", None, True),
    ]  # fmt: skip
    cut = [(text, pair)[token["side"]][token["start"] : token["end"]] for token in answer["tokens"] if token["end"]]
    assert cut == ["The", "𝄞", "cat", "ly", "北", "京"]
    assert answer["cut"] == 0


def test_attention_covers_the_same_tokens(ask: Callable[..., Any]) -> None:
    request = {"model": "films", "text": "the cat sat " * 40, "pair": "an old house"}
    answer = ask("/playground/attention", request)[2]
    weights = answer["weights"]
    assert len(answer["tokens"]) == 64 and answer["cut"] == 120 + 3 + 3 - 64
    assert [token["token"] for token in answer["tokens"]][-4:] == ["an", "old", "house", "[SEP]"]
    assert (len(weights), len(weights[0]), len(weights[0][0]), len(weights[0][0][0])) == (2, 2, 64, 64)
    assert all(abs(sum(row) - 1) < 0.04 for heads in weights for head in heads for row in head)


HOSTILE = {
    "nothing": b"",
    "NaN": b'{"model":"films","items":[{"text":NaN}]}',
    "infinite": b'{"model":"films","items":[{"text":1e999}]}',
    "digits": b'{"model":"films","items":[{"text":' + b"1" * 5000 + b"}]}",
    "half a character": b'{"model":"films","items":[{"text":"\\ud800"}]}',
    "deep": b"[" * 100_000,
    "deep item": b'{"model":"films","items":[' + b'{"text":' * 5000 + b"1" + b"}" * 5000 + b"]}",
    "not UTF-8": b'{"model":"films","items":[{"text":"\xff"}]}',
    "twice": b'{"model":"films","model":"films","items":[]}',
    "a list": b"[1]",
    "no items": b'{"model":"films","items":[]}',
    "items of another type": b'{"model":"films","items":"the cat"}',
    "an item of another type": b'{"model":"films","items":["the cat"]}',
    "unknown key": b'{"model":"films","items":[{"text":"a","txt":"b"}]}',
    "number for a text": b'{"model":"films","items":[{"text":1}]}',
    "number for a name": b'{"model":1,"items":[{"text":"a"}]}',
    "no name": b'{"items":[{"text":"a"}]}',
    "question": b'{"model":"answers","items":[{"question":"a"}]}',
    "one choice": b'{"model":"choices","items":[{"text":"a","choices":["b"]}]}',
    "no mask": b'{"model":"fill","items":[{"text":"the cat"}]}',
    "offsets": b'{"model":"entities","items":[{"tokens":["a"],"text":"a","offsets":[[0,9]]}]}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_wrong_requests_are_refused_with_words(ask: Callable[..., Any], name: str) -> None:
    for route in ("predict", "pieces", "attention"):
        status, _, answer = ask(f"/playground/{route}", HOSTILE[name])
        assert status in (400, 422) and answer["error"]["message"]


def test_odd_texts_are_predicted(ask: Callable[..., Any]) -> None:
    for text in ("", " ", "\0", "\u202e", "👩‍👩‍👧", "[CLS]", "a" * 1500):
        assert ask("/playground/predict", {"model": "films", "items": [{"text": text}]})[0] == 200
        assert ask("/playground/pieces", {"model": "films", "text": "a", "pair": text})[0] == 200
        assert ask("/playground/attention", {"model": "films", "text": text})[0] == 200


def test_unknown_models_and_long_texts_are_refused(ask: Callable[..., Any]) -> None:
    assert ask("/playground/pieces", {"model": "film", "text": "a"})[0] == 404
    status, _, answer = ask("/playground/attention", {"model": "films", "text": "a" * 2000, "pair": "b"})
    assert status == 413 and answer["error"]["limit"] == "characters" and answer["error"]["value"] == 2001
