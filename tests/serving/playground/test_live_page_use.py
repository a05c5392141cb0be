"""The live page in a browser: the steps of a run, explanations, hostile texts, keyboard, phone, language."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bertie.inference.attention import tokens_of
from bertie.inference.predictor import Predictor
from bertie.serving.live_page import MAX_TOKENS

LETTERS = (*"abcdefghijklmnopqrstuvwxyz0123456789<>/=.", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"))
SHARES = "all => all.map(one => Number(one.style.getPropertyValue('--share')))"


def values(tab: Any) -> dict[str, float]:
    """Return what an explanation computes: the result of each term by its first word."""
    lines = tab.locator("dialog .sums p").all_text_contents()
    pairs = (line.rsplit(" = ", 1) for line in lines)
    return {re.split(", | = ", term)[0]: float(result.split(" (")[0]) for term, result in pairs}


def test_the_slider_shows_the_steps_of_the_run(
    both: dict[str, Predictor[Any]],
    open_live: Callable[..., Any],
    ask: Callable[..., None],
    make_live: Callable[..., Any],
    stages_of: Callable[..., Any],
) -> None:
    predictor, stages = both["en"], stages_of(both["en"], 3)
    tab = open_live(predictor, stages=stages, last_step=40, curve=[(1, 5.0), (20, 3.0), (40, 2.0)])
    ask(tab, "the cat [MASK] in the house")
    tab.wait_for_selector("#best .bar >> nth=3")
    assert tab.locator("#best .bar bdi").first.text_content().startswith("Step 10: ")
    assert tab.locator("#slider output").text_content() == "Step 40, finished model · loss 2"
    share = "Number(document.querySelector('#result .bar i').style.getPropertyValue('--share'))"
    last = tab.evaluate(share)
    tab.focus("#stage")
    tab.keyboard.press("Home")
    tab.wait_for_function(f"Math.abs({share} - {last}) > 1e-3")
    assert tab.locator("#slider output").text_content() == "Step 10 · loss 5"
    model = make_live(1, predictor.tokenizer.tokens[5:]).bundle.model
    model.load_state_dict({**model.state_dict(), **stages[0].state})
    early = Predictor(replace(predictor.bundle, model=model))
    assert tab.evaluate(share) == pytest.approx(early.predict(["the cat [MASK] in the house"])[0][0].score, abs=0.01)
    tab.locator("#best .bar").nth(3).click()
    tab.wait_for_function(f"Math.abs({share} - {last}) < 1e-9")
    assert tab.locator(".dot[aria-pressed=true]").get_attribute("title") == "Step 40, finished model"


def test_every_number_explains_itself(
    both: dict[str, Predictor[Any]], open_live: Callable[..., Any], ask: Callable[..., None]
) -> None:
    tab = open_live(both["en"])
    ask(tab, "the cat [MASK] in the house")
    score = both["en"].predict(["the cat [MASK] in the house"])[0][0].score
    tab.locator("#result .number").first.click()
    found = values(tab)
    assert found["exp(z)"] / found["Σ exp(z)"] == pytest.approx(score, abs=1e-3)
    assert found["p"] == pytest.approx(score, abs=1e-3)
    assert "bertie/tasks/masked_lm.py:" in tab.locator("dialog").text_content()
    assert "scores = softmax(logit_table(outputs, some))  # (rows, V)" in tab.locator("dialog pre").all_text_contents()
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog", state="detached")  # it leaves the page a moment after it closes
    assert tab.evaluate("document.activeElement.className") == "number"

    tab.locator(".cell").nth(2).click()
    tab.locator(".bipartite button.token").nth(1).click()
    shares = tab.locator(".bipartite li").evaluate_all(SHARES)
    tab.locator(".bipartite li .number").nth(4).click()
    found = values(tab)
    assert found["exp(s)"] / found["Σ exp(s)"] == pytest.approx(shares[4], abs=1e-4)
    assert found["q · k"] / math.sqrt(32) == pytest.approx(found["s"], abs=1e-4)
    assert tab.locator("dialog h2").text_content() == "Attention weight: layer 2, head 1"
    tab.click("dialog >> text=Close")
    tab.wait_for_selector("dialog", state="detached")

    for level in (0, 2):
        tab.locator("#vectors .switch").nth(1).locator("button").nth(level).click()
        tab.locator(".value").nth(5).click()
        found = values(tab)
        y = (found["x"] - found["m"]) / math.sqrt(found["v"] + found["ε"]) * found["g"] + found["b"]
        assert y == pytest.approx(found["y"], abs=1e-4)
        tab.keyboard.press("Escape")
        tab.wait_for_selector("dialog", state="detached")


def test_readers_guess_before_the_model(
    both: dict[str, Predictor[Any]], open_live: Callable[..., Any], ask: Callable[..., None]
) -> None:
    tab = open_live(both["en"])
    ask(tab, "cat")
    tab.click("text=Let me guess first")
    tab.wait_for_selector("#yours")
    assert tab.locator("#result .bar").count() == 0 and tab.locator(".slot.filled").count() == 0
    assert tab.evaluate("document.activeElement.id") == "yours"
    tab.keyboard.type("dog")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#result .bar")
    said = tab.locator(".verdicts").text_content()
    assert "The word was “cat”: " in said and "You said “dog”: " in said
    assert said.count(f"of {both['en'].tokenizer.vocab_size}") == 2
    ask(tab, "...")
    tab.click("text=Let me guess first")
    assert "No word of this text" in tab.locator("#result").text_content()


def test_hostile_texts_are_only_texts(
    open_live: Callable[..., Any],
    ask: Callable[..., None],
    make_live: Callable[..., Any],
    stages_of: Callable[..., Any],
    hostile_texts: list[str],
) -> None:
    nasty = [
        *hostile_texts,
        "</script><script>window.hit=1</script>",
        "<!--<script>",
        "__proto__",
        "constructor",
        "\u2028",
    ]
    predictor = make_live(3, [*(text.replace(" ", "") for text in nasty), *nasty, *LETTERS])
    tab = open_live(
        predictor, name=hostile_texts[0], stages=stages_of(predictor, 1), last_step=20, curve=[(1, 2.0), (20, 1.0)]
    )
    assert tab.locator("h1").text_content() == hostile_texts[0]
    for text in [*nasty, "__proto__ constructor [MASK]"]:
        ask(tab, f"a [MASK] {text}")
        shown = tokens_of(predictor.tokenizer, f"a [MASK] {text}", max_length=MAX_TOKENS)
        assert tab.locator(".pieces bdi").all_text_contents() == [token.token for token in shown.tokens]
    tab.locator("#result .number").first.click()
    tab.keyboard.press("Escape")
    assert tab.evaluate("window.hit") is None
    assert tab.locator("main :is(script, img, iframe, style, math, a), main svg:not(.lines)").count() == 0


def test_the_page_works_with_the_keyboard_and_fits_a_phone(
    both: dict[str, Predictor[Any]],
    open_live: Callable[..., Any],
    stages_of: Callable[..., Any],
    tabbing: Callable[..., Any],
) -> None:
    stages = stages_of(both["en"], 2)
    tab = open_live(both["en"], width=360, stages=stages, last_step=30, curve=[(1, 2.0), (30, 1.0)])
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360

    tab_to = tabbing(tab, 90)
    tab_to("#switches button")
    tab_to("#field-text")
    tab.keyboard.press("Control+A")
    tab.keyboard.type("the cat sat")
    tab_to("#under .word")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#result .bar")
    assert tab.input_value("#field-text") == "[MASK] cat sat"
    tab_to("#result button.bar")
    tab_to("#result .number")
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.querySelector('dialog').scrollWidth <= 360")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog", state="detached")
    tab_to(".cell")
    tab.keyboard.press("End")
    assert tab.locator(".headview h3").text_content() == "Layer 2, head 2"
    tab_to(".bipartite button.token")
    tab.keyboard.press("ArrowDown")
    assert tab.locator(".token.chosen").text_content() == "cat"
    tab_to(".bipartite li .number")
    tab_to(".value")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Enter")
    assert tab.locator("dialog h2").text_content().startswith("Number 2 of the vector")
    tab.keyboard.press("Escape")
    tab.wait_for_selector("dialog", state="detached")
    tab_to("#stage")
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#slider output").text_content().startswith("Step 20")


def test_the_page_follows_language_and_colours(both: dict[str, Predictor[Any]], open_live: Callable[..., Any]) -> None:
    tab = open_live(both["zh"], settings={"color_scheme": "dark", "locale": "en-US"})
    assert tab.locator("h2").first.text_content() == "被遮住的词"
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    tab.click("#switches >> text=English")
    assert tab.locator("h2").first.text_content() == "Hidden words"
