"""The playground in a browser: every panel, and what text from anywhere must not do. It needs chromium and playwright.

Without them the tests are skipped; with BERTIE_REQUIRE_BROWSER=1 they fail instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

try:
    from playwright.sync_api import expect
except ModuleNotFoundError:
    expect = None


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Return what opens the page at a model. Errors in the console and requests to other hosts fail the test."""
    contexts, wrong = [], []

    def check(request: Any) -> None:
        if urlsplit(request.url).netloc != urlsplit(address).netloc:
            wrong.append(f"request to {request.url}")

    def go(model: str = "", *, width: int = 1100, height: int = 800, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **{"locale": "en-US", **settings})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("request", check)
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{address}/#{quote(model, safe='')}")
        page.wait_for_selector(".try h2")
        return page

    yield go
    for context in contexts:
        context.close()
    assert wrong == []


def texts(page: Any, selector: str) -> list[str]:
    found: list[str] = page.locator(selector).all_text_contents()
    return found


def write(page: Any, field: str, text: str) -> None:
    """Write into a field and predict."""
    page.fill(f"#field-{field}", text)
    page.press(f"#field-{field}", "Enter" if field not in ("choices", "sentences") else "Control+Enter")


def settled(page: Any) -> None:
    """Wait until the prediction is drawn."""
    expect(page.locator(".status")).to_have_text(re.compile("ms|毫秒"))


def wait_for_passage(page: Any, text: str) -> None:
    """Wait until the passage with its marks shows a text."""
    unlabelled = """node => Array.from(node.childNodes)
        .map(one => one.nodeName === "MARK" ? one.firstChild.textContent : one.textContent).join("")"""
    for _ in range(100):
        found = page.evaluate(f"""() => Array.from(document.querySelectorAll(".result .passage")).map({unlabelled})""")
        if found == [text]:
            return
        page.wait_for_timeout(50)
    pytest.fail(f"the passage is {found}, not {text!r}")


def test_words_are_hidden_and_shown_again(open_page: Callable[..., Any]) -> None:
    page = open_page("fill")
    settled(page)
    assert len(texts(page, ".result section")) == 2
    write(page, "text", "the cat sat on it")
    page.wait_for_selector("text=Hide a word, and the model guesses it.")
    page.click(".sentence >> text=cat")
    page.wait_for_selector(".slot.filled")
    assert page.input_value("#field-text") == "the [MASK] sat on it" and page.locator(".result .bar").count() == 5
    page.click(".sentence >> text=it")
    page.wait_for_selector("text=Hidden word 2")
    assert page.input_value("#field-text") == "the [MASK] sat on [MASK]" and page.locator(".result .bar").count() == 10
    page.locator(".slot").first.click()
    expect(page.locator(".result .bar")).to_have_count(5)
    assert page.input_value("#field-text") == "the cat sat on [MASK]"
    guess = page.locator(".result .bar bdi").nth(2).text_content()
    page.locator(".result .bar").nth(2).click()
    page.wait_for_selector("text=Hide a word, and the model guesses it.")
    assert page.input_value("#field-text") == f"the cat sat on {guess.removeprefix('##')}"


def test_panels_of_other_tasks(open_page: Callable[..., Any]) -> None:
    page = open_page("films")
    write(page, "text", "the film was good")
    write(page, "pair", "it was poor")
    settled(page)
    assert sorted(texts(page, ".result .bar bdi")) == ["<b>good</b>", "bad"]
    page.wait_for_selector(".pieces .side1")

    page.click("nav >> text=entities")
    write(page, "text", "the cat sat in Paris.")
    settled(page)
    assert page.locator(".passage mark.kind").count() == page.locator(".result .list li").count() > 0
    wait_for_passage(page, "the cat sat in Paris.")

    page.click("nav >> text=choices")
    write(page, "choices", "the cat\nthe dog\na fish\na bird")
    expect(page.locator(".result .bar")).to_have_count(4)
    assert set(texts(page, ".result .bar bdi")) == {"the cat", "the dog", "a fish", "a bird"}

    page.click("nav >> text=vectors")
    write(page, "sentences", "the cat sat\nthe cat sat\na red house")
    expect(page.locator(".heat tbody td")).to_have_count(9)
    cells = texts(page, ".heat tbody td")
    assert cells[0] == cells[1] == cells[4] == "1.00" and cells[2] == cells[6]

    page.click("nav >> text=regression")
    settled(page)
    assert float(page.locator(".figure").text_content()) != 0

    page.click("nav >> text=writer")
    settled(page)
    assert page.locator("blockquote, .result .remark").count() == 1

    page.click("nav >> text=features")
    page.wait_for_selector(".cell >> nth=3")
    assert page.locator(".primary").count() == 0


def test_answers_are_marked_in_the_passage(open_page: Callable[..., Any]) -> None:
    answers = [("𝄞 the", 0, 0.6), ("the cat", 2, 0.2), ("cat sat", 6, 0.1), ("dog ran", 40, 0.05)]
    best = [{"text": text, "start": start, "end": start + len(text), "score": score} for text, start, score in answers]
    overlapping = {"predictions": [{**best[0], "n_best": best}]}
    page = open_page("answers")
    settled(page)
    passage = "𝄞 the cat sat in the old house, and the dog ran."
    write(page, "question", "was it old")
    write(page, "context", passage)
    expect(page.locator(".result .passage")).to_have_text(passage)
    found = page.locator(".result .verdict b").text_content()
    assert page.locator("mark.right").text_content() == found and found in passage
    assert 1 <= page.locator(".result .bar").count() <= 5
    page.route("**/playground/predict", lambda route: route.fulfill(status=200, body=json.dumps(overlapping)))
    write(page, "question", "was it old?")
    expect(page.locator("mark.right")).to_have_text("𝄞 the")
    assert texts(page, "mark.near") == [" cat sat", "dog ran"] and page.locator(".result .bar").count() == 4
    assert page.locator("mark.near").first.get_attribute("title") == "the cat (20%)\ncat sat (10%)"
    expect(page.locator(".result .passage")).to_have_text(passage)


def test_the_attention_explorer(open_page: Callable[..., Any]) -> None:
    page = open_page("films")
    write(page, "text", "the cat sat")
    page.wait_for_selector(".column button >> text=sat")
    tokens = texts(page, ".pieces bdi")
    assert tokens == ["[CLS]", "the", "cat", "sat", "[SEP]"] == texts(page, ".bipartite div bdi")
    assert page.locator(".cell canvas").count() == 4
    assert page.locator(".cell canvas").first.evaluate("node => [node.width, node.height]") == [5, 5]
    page.locator(".cell").nth(3).click()
    assert page.locator(".headview h3").text_content() == "Layer 2, head 2"
    every = page.locator(".lines path").count()
    page.hover(".bipartite button >> nth=2")
    assert 0 < page.locator(".lines path").count() <= 5 < every
    shares = [float(text.rstrip("%")) for text in texts(page, ".bipartite ul small") if text]
    assert 90 < sum(shares) < 103


def test_hostile_text_is_only_text(open_page: Callable[..., Any], hostile_texts: list[str]) -> None:
    page = open_page("vectors")
    write(page, "sentences", "\n".join(hostile_texts))
    expect(page.locator(".heat tbody tr")).to_have_count(10)
    assert [text.partition(" ")[2] for text in texts(page, ".heat tbody th")] == hostile_texts
    page.click("nav >> text=entities")
    settled(page)
    for text in hostile_texts:
        write(page, "text", text)
        wait_for_passage(page, text)
    page.click("nav >> text=onerror")
    assert page.locator("h1").text_content().startswith("<img src=x")
    settled(page)
    assert page.evaluate("window.hit") is None
    assert page.locator("main :is(script, img, iframe, style, math, a), main svg:not(.lines)").count() == 0


def test_everything_works_with_the_keyboard(open_page: Callable[..., Any], tabbing: Callable[..., Any]) -> None:
    page = open_page("fill")
    settled(page)
    page.wait_for_selector(".cell >> nth=3")

    page.evaluate("document.activeElement.blur()")
    tab_to = tabbing(page, 60)
    tab_to("#switches button")
    tab_to(".models button")
    tab_to("#field-text")
    page.keyboard.press("Control+A")
    page.keyboard.type("the cat sat")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Hide a word, and the model guesses it.")
    tab_to(".sentence .word")
    page.keyboard.press("Enter")
    page.wait_for_selector(".slot.filled")
    assert page.input_value("#field-text") == "[MASK] cat sat"
    assert page.evaluate("document.activeElement.matches('.slot')")
    tab_to("button.bar")
    expect(page.locator(".bipartite div bdi")).to_have_text(["[CLS]", "[MASK]", "cat", "sat", "[SEP]"])
    tab_to(".cell")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.locator(".headview h3").text_content() == "Layer 2, head 2"
    page.keyboard.press("ArrowLeft")
    assert page.locator(".headview h3").text_content() == "Layer 2, head 1"
    tab_to(".bipartite button")
    page.keyboard.press("ArrowDown")
    assert page.locator(".token.chosen").text_content() == "[MASK]"
    page.keyboard.press("Escape")
    assert page.locator(".token.chosen").count() == 0


def test_the_page_speaks_chinese(open_page: Callable[..., Any]) -> None:
    page = open_page("chinese", locale="zh-CN")
    settled(page)
    assert page.evaluate("document.documentElement.lang") == "zh-Hans" and page.title() == "bertie 体验页"
    assert page.locator("h2").first.text_content() == "被遮住的词"
    assert page.input_value("#field-text").startswith("北京是中国的[MASK]都")
    assert "首" in texts(page, ".examples button")[0]
    page.click("#switches >> text=English")
    assert page.locator("h2").first.text_content() == "Hidden words"
    page.reload()
    page.wait_for_selector("text=Hidden words")
    page.click("#switches >> text=中文")
    page.click("nav >> text=films")
    settled(page)
    assert page.input_value("#field-text").startswith("A warm")  # its vocabulary has no Chinese


def test_light_and_dark(open_page: Callable[..., Any]) -> None:
    ink = "getComputedStyle(document.body).backgroundColor"
    page = open_page("films", color_scheme="dark")
    assert page.evaluate(ink) == "rgb(13, 17, 23)"
    page.click("#switches >> text=Light")
    assert page.evaluate(ink) == "rgb(246, 247, 249)"
    page.reload()
    page.wait_for_selector(".try h2")
    assert page.evaluate(ink) == "rgb(246, 247, 249)"
    page.click("#switches >> text=Dark")
    assert page.evaluate(ink) == "rgb(13, 17, 23)"


def test_a_narrow_window_shows_everything(open_page: Callable[..., Any]) -> None:
    page = open_page("fill", width=360, height=740)
    names = ("fill", "films", "entities", "answers", "choices", "vectors", "writer")
    for name in names:
        page.click(f"nav >> text=/^{name}$/")
        page.wait_for_selector(".cell >> nth=3")
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 360, (name, wide)
        chosen = page.locator(".models [aria-pressed=true]").bounding_box()
        assert chosen["x"] >= 0 and chosen["x"] + chosen["width"] <= 360, name


def test_errors_are_shown_in_words(open_page: Callable[..., Any], browser: Any) -> None:
    page = open_page("choices")
    write(page, "choices", "one")
    page.wait_for_selector("text=Write two sentences or more.")
    page.route("**/playground/predict", lambda route: route.fulfill(status=200, body="{"))
    write(page, "choices", "one\ntwo")
    page.wait_for_selector(".result .alert")
