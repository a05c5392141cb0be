"""The attention explorer as one file: its numbers, its security policy, and how it works in a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertie.commands.show import show
from bertie.errors import SettingsError
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.inference.predictor import Predictor
from bertie.serving.hub import Hub
from bertie.serving.standalone import MAX_TOKENS, MAX_WEIGHTS, explore, page
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import MaskedLM

TEXT, PAIR = "the cat sat in the old house.", "was it old"
TAGS = re.compile(r"<(style|script type=\"module\")>(.*?)</(?:style|script)>", re.DOTALL)


def stored(content: str) -> dict[str, Any]:
    """Return the data of a page, with its weights as an array."""
    found = re.search(r'<script type="application/json" id="shown">(.*?)</script>', content, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    layers, heads, size = data["weights"]["shape"]
    shares = np.frombuffer(base64.b64decode(data["weights"]["shares"]), "<u2")
    data["weights"] = shares.reshape(layers, heads, size, size) / 65535
    return data


@pytest.fixture
def make_page(playground_hub: Hub, tmp_path: Path) -> Callable[..., Path]:
    """Return what writes the page of one of the playground's models for a text."""

    def make(model: str, text: str = TEXT, pair: str | None = None) -> Path:
        file = tmp_path / "page.html"
        file.write_text(page(explore(playground_hub.get(model).predictor, model, text, pair)), encoding="utf-8")
        return file

    return make


@pytest.mark.parametrize("pair", [None, PAIR])
def test_the_weights_are_those_of_transformers(
    build_model: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path, pair: str | None
) -> None:
    transformers = pytest.importorskip("transformers", reason="the comparison needs transformers")
    model = build_model(MaskedLM(max_length=64), deviation=0.3)
    write(Bundle(model, MaskedLM(max_length=64), tiny_tokenizer, model.encoder.config), tmp_path / "model")
    values = show(tmp_path / "model", attention=TEXT, attention_pair=pair, out=tmp_path / "a.html").values
    data = stored((tmp_path / "a.html").read_text(encoding="utf-8"))
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "model", attn_implementation="eager").eval()
    ids = torch.tensor([[token["id"] for token in data["tokens"]]])
    last = ids[0].tolist().index(tiny_tokenizer.separator)
    sides = torch.tensor([[int(place > last) for place in range(ids.shape[1])]])
    with torch.inference_mode():
        expected = theirs(ids, token_type_ids=sides, output_attentions=True).attentions
    assert values["tokens"] == ids.shape[1] and (values["layers"], values["heads"]) == (2, 2)
    np.testing.assert_allclose(data["weights"], torch.cat(expected).numpy(), atol=1e-5)


def test_the_file_holds_all_that_it_needs_and_forbids_the_rest(make_page: Callable[..., Path]) -> None:
    hostile = "</script><script>window.hit=1</script><!--<script>"
    content = make_page("films", hostile, hostile).read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', content)
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for _, text in TAGS.findall(content)]
    assert policy and policy[1].startswith("default-src 'none'; ") and "unsafe" not in policy[1]
    assert re.findall(r"sha256-([^']+)", policy[1]) == hashes[::-1] and len(hashes) == 2
    assert not re.search(
        r"https?:|//[a-z]+\.|@import| src=|<link rel=.style", content.replace("http://www.w3.org/", "")
    )
    assert not re.search(r"<[^>]* on[a-z]+=", content.partition("<style>")[0])
    assert content.count("</script>") == 2 and stored(content)["text"] == hostile


def test_long_texts_are_cut_to_what_a_page_can_hold(
    build_model: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Classification(labels=("bad", "good"), max_length=64)
    model = build_model(task)
    write(Bundle(model, task, tiny_tokenizer, model.encoder.config), tmp_path / "model")
    values = show(tmp_path / "model", attention="the cat sat " * 200, out=tmp_path / "a.html").values
    assert (values["tokens"], values["pieces_left_out"]) == (64, 538)
    assert "the page shows 64 tokens; 538 pieces of the text are left out" in capsys.readouterr().err
    large = 24 * 16  # heads of a large model
    assert int((MAX_WEIGHTS / large) ** 0.5) >= 40 and MAX_WEIGHTS > 12 * 12 * 64**2 and MAX_TOKENS >= 64
    assert MAX_WEIGHTS * 2 * 4 / 3 < 1_750_000


def test_wrong_uses_are_refused(
    build_model: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    task = MaskedLM(max_length=64)
    model = build_model(task)
    write(Bundle(model, task, tiny_tokenizer, model.encoder.config), tmp_path / "run" / "model")
    for words, message in (
        ({"attention": " "}, "--attention has no text"),
        ({"attention": "a", "attention_pair": ""}, "--attention-pair has no text"),
        ({"attention": "a", "out": Path("a.txt")}, "name it a.txt.html"),
        ({"attention": "a", "out": Path("no/a.html")}, "the folder no doesn't exist"),
        ({"attention": "a", "accept_changes": True}, "can't be combined"),
        ({"attention_pair": "a"}, "--attention-pair requires --attention"),
        ({"out": Path("a.html")}, "--out requires --attention"),
    ):
        with pytest.raises(SettingsError, match=message):
            show(tmp_path / "run", **words)
    report = show(tmp_path / "run", attention="the [MASK] sat")  # a run stands for its model
    assert report.values["out"] == "attention.html" and report.title.endswith("how run reads 5 tokens")
    show(tmp_path / "run" / "model", attention="the cat")  # a page is replaced
    assert stored(Path("attention.html").read_text(encoding="utf-8"))["text"] == "the cat"
    Path("attention.html").write_text("<p>mine</p>")
    with pytest.raises(SettingsError, match="exists already and is no page of bertie show"):
        show(tmp_path / "run", attention="the cat")
    assert Path("attention.html").read_text() == "<p>mine</p>"


def test_every_task_has_a_page(playground_hub: Hub) -> None:
    drawn = {"fill": "the [MASK] sat"}
    predicted = set()
    for name, served in playground_hub.models.items():
        for pair in (None, PAIR):
            data = stored(page(explore(served.predictor, name, drawn.get(name, TEXT), pair)))
            assert data["weights"].shape[2] == len(data["tokens"]) > 3
            np.testing.assert_allclose(data["weights"].sum(-1), 1, atol=1e-3)
            predicted |= {(served.task, pair is None)} if data["prediction"] is not None else set()
    assert {task for task, is_alone in predicted if is_alone} == {
        "masked_lm", "classification", "regression", "tagging", "generation"
    }  # fmt: skip
    assert {task for task, is_alone in predicted if not is_alone} == {
        "classification", "question_answering", "regression"
    }  # fmt: skip


def test_the_attention_of_a_frozen_encoder_is_refused(playground_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor: Predictor[Any] = playground_hub.get("films").predictor
    monkeypatch.setattr("bertie.serving.standalone.has_attention", lambda _: False)
    with pytest.raises(SettingsError, match=r"exported.*give the folder that it was exported from"):
        explore(predictor, "films", "a")


def test_the_page_in_a_browser(make_page: Callable[..., Path], open_file: Callable[..., Any]) -> None:
    file = make_page("fill", "the [MASK] sat in the old [MASK].")
    tab = open_file(file)
    assert tab.title() == "fill · Where it looks" and tab.locator(".slot.filled").count() == 2
    assert tab.locator(".result .bar").count() == 10 and tab.locator("button.bar, button.word").count() == 0
    assert tab.locator(".bipartite div bdi").all_text_contents() == tab.locator(".pieces bdi").all_text_contents()
    tab.locator(".cell").nth(3).click()
    tab.hover(".bipartite button >> nth=2")
    shown = tab.locator(".bipartite ul li").evaluate_all(
        "nodes => nodes.map(one => one.style.getPropertyValue('--share'))"
    )
    weights = stored(file.read_text(encoding="utf-8"))["weights"]
    np.testing.assert_allclose([float(share) for share in shown], weights[1, 1, 2], atol=1e-9)
    for name, selector in (("films", ".verdict"), ("entities", ".result .passage"), ("answers", ".result .bar")):
        tab = open_file(make_page(name, PAIR, TEXT if name == "answers" else None))
        assert tab.locator(selector).count() >= 1


def test_hostile_texts_are_only_texts(
    make_page: Callable[..., Path], open_file: Callable[..., Any], hostile_texts: list[str]
) -> None:
    for text in hostile_texts:
        tab = open_file(make_page("films", text, text))
        assert tab.locator(".texts .passage").all_text_contents() == [text, text]
        assert tab.evaluate("window.hit") is None
        assert tab.locator("main :is(script, img, iframe, style, math, a), main svg:not(.lines)").count() == 0


def test_the_page_works_with_the_keyboard(
    make_page: Callable[..., Path], open_file: Callable[..., Any], tabbing: Callable[..., Any]
) -> None:
    tab = open_file(make_page("films", "the cat sat"))

    tab_to = tabbing(tab, 20)
    tab_to("#switches button")
    tab_to(".cell")
    tab.keyboard.press("End")
    assert tab.locator(".headview h3").text_content() == "Layer 2, head 2"
    tab_to(".bipartite button")
    tab.keyboard.press("ArrowDown")
    assert tab.locator(".token.chosen").text_content() == "the"
    tab.keyboard.press("Escape")
    assert tab.locator(".token.chosen").count() == 0


def test_the_page_follows_language_colours_and_width(
    make_page: Callable[..., Path], open_file: Callable[..., Any]
) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    tab = open_file(make_page("fill", "the [MASK] sat"), locale="zh-CN", color_scheme="dark")
    assert tab.evaluate("document.documentElement.lang") == "zh-Hans" and tab.title() == "fill · 模型在看哪里"
    assert tab.evaluate(paper) == "rgb(13, 17, 23)"
    tab.click("#switches >> text=English")
    tab.click("#switches >> text=Light")
    assert tab.locator("h2").first.text_content() == "Hidden words" and tab.evaluate(paper) == "rgb(246, 247, 249)"
    for name in ("fill", "films", "entities", "answers", "writer"):
        tab = open_file(make_page(name, "the cat sat " * 8, None if name == "entities" else TEXT), width=360)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360, name
