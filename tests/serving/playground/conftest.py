"""A server with the playground and a tiny model for each of its panels, a browser, and texts that try to run code.

Without a browser its tests are skipped; with BERTIE_REQUIRE_BROWSER=1 they fail instead.
"""

from __future__ import annotations

import itertools
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bertie.formats.format import Bundle, new
from bertie.inference.predictor import Predictor
from bertie.models.bert import BertConfig
from bertie.serving.hub import Hub, Served
from bertie.serving.limits import Limits
from bertie.serving.live_page import Stage, live_page
from bertie.tasks.classification import Classification
from bertie.tasks.embedding import Embedding
from bertie.tasks.features import FeaturesTask
from bertie.tasks.generation import Generation
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.tagging import Tagging
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

CHINESE = "北京是中国的首都，也全政治心。今天气很好我们去公园散步家主席会见了法总统"
WORDS = (
    *(
        "the",
        "a",
        "cat",
        "dog",
        "sat",
        "ran",
        "old",
        "new",
        "house",
        "tree",
        "in",
        "on",
        "under",
        "river",
        "café",
        "naive",
    ),
    *("president", "of", "united", "states", "met", "prime", "minister", "japan", "she", "opened", "door", "and", "it"),
    *("walked", "into", "room", "was", "is", "very", "good", "bad", "year", "city", "water", "king", "queen", "went"),
)
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
PIECES = (*LETTERS, *".,!?'-()$", *(f"##{letter}" for letter in LETTERS))
MODELS: dict[str, Any] = {
    "fill": MaskedLM(max_length=64),
    "films": Classification(labels=("bad", "<b>good</b>"), max_length=64),
    "entities": Tagging(labels=("B-PER", "I-PER", "B-LOC", "I-LOC"), max_length=64),
    "answers": QuestionAnswering(max_length=64, stride=16),
    "choices": MultipleChoice(max_length=64),
    "vectors": Embedding(max_length=64),
    "<img src=x onerror=\"window.hit='name'\">": Regression(max_length=64),
    "writer": Generation(max_length=64, max_target=4),
    "features": FeaturesTask(max_length=64),
}


HOSTILE = [
    "<script>window.hit='script'</script>",
    "<img src=x onerror=\"window.hit='img'\">",
    "<svg onload=window.hit='svg'>",
    "\"><script>window.hit='quote'</script>",
    "'-window.hit='attribute'-'",
    "<iframe srcdoc=\"<script>parent.hit='iframe'</script>\"></iframe>",
    "<a href=\"javascript:window.hit='link'\">a</a>",
    "${window.hit='template'}{{constructor.constructor('window.hit=1')()}}",
    "</textarea><script>window.hit='textarea'</script>",
    "<style>*{display:none}</style><math><mtext></mtext></math>",
]


@pytest.fixture(scope="session")
def playground_hub(build_model: Callable[..., Any], tiny_tokenizer: Tokenizer) -> Hub:
    """Return the models, a Chinese one among them."""
    limits = Limits(characters=2000, inputs=32)
    served = []
    for name, task in MODELS.items():
        model = build_model(task, deviation=0.3)
        served.append(Served(name, Predictor(Bundle(model, task, tiny_tokenizer, model.encoder.config)), limits))
    characters = Tokenizer.build([*SPECIALS, *dict.fromkeys(CHINESE)], lowercase=True)
    config = BertConfig(characters.vocab_size, 32, num_layers=2, num_heads=2, intermediate_size=64, max_positions=64)
    chinese = Predictor(new(config, MaskedLM(max_length=64), characters, 0))
    return Hub([*served, Served("chinese", chinese, limits)], limits)


@pytest.fixture(scope="session")
def address(playground_hub: Hub) -> Iterator[str]:
    """Return the URL of a running server."""
    pytest.importorskip("uvicorn", reason="the playground needs the extra serve")
    from bertie.serving.guard import Rules
    from bertie.serving.metrics import Metrics
    from bertie.serving.run import listen, server_of

    listening = listen("127.0.0.1", 0)
    server = server_of(playground_hub, Rules(), Metrics())
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        thread.join(0.02)
        assert thread.is_alive(), "the server did not start"
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="session")
def hostile_texts() -> list[str]:
    """Return texts that would run code in a page that takes them as markup. Code that runs sets `window.hit`."""
    return list(HOSTILE)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Start a browser without a window."""
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        sync_playwright = None
    program = shutil.which("chromium")
    reason = "playwright is not installed" if sync_playwright is None else "" if program else "there is no chromium"
    if reason and os.environ.get("BERTIE_REQUIRE_BROWSER") == "1":
        pytest.fail(f"BERTIE_REQUIRE_BROWSER=1, but {reason}")
    if reason:
        pytest.skip(reason)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


def make_model(seed: int, tokens: Sequence[str], **settings: Any) -> Predictor[Any]:
    """Return a model with random weights as large as trained ones, so that its guesses and heads are clear."""
    tokenizer = Tokenizer.build([*SPECIALS, *dict.fromkeys(tokens)], lowercase=True)
    shape = {"num_layers": 2, "num_heads": 2, "intermediate_size": 128, "max_positions": 64, **settings}
    config = BertConfig(tokenizer.vocab_size, 64, **shape)
    bundle = new(config, MaskedLM(max_length=64), tokenizer, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in bundle.model.parameters():
            value.add_(torch.randn(value.shape, generator=generator) * (0.15 if value.ndim == 2 else 0.1))
    return Predictor(replace(bundle, model=bundle.model.eval()))


@pytest.fixture(scope="session")
def make_live() -> Callable[..., Predictor[Any]]:
    """Return what makes a model for the live page: (seed, tokens, **settings)."""
    return make_model


@pytest.fixture(scope="session")
def both() -> dict[str, Predictor[Any]]:
    """Return an English and a Chinese model for the live page."""
    chinese = make_model(2, list(CHINESE), activation="gelu_tanh", tied=False)
    return {"en": make_model(1, [*WORDS, *PIECES]), "zh": chinese}


@pytest.fixture(scope="session")
def stages_of() -> Callable[[Predictor[Any], int], list[Stage]]:
    """Return what makes checkpoints of a model: its weights, smaller at first."""

    def make(predictor: Predictor[Any], count: int) -> list[Stage]:
        state = predictor.bundle.model.state_dict()
        shares = [(number + 1) / (count + 1) for number in range(count)]
        return [
            Stage(10 * number, {key: value * share for key, value in state.items()})
            for number, share in enumerate(shares, 1)
        ]

    return make


@pytest.fixture
def open_file(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return what opens a file. Errors in the console, and requests for anything else, fail the test."""
    contexts, wrong = [], []

    def go(file: Path, *, ready: str = ".cell >> nth=3", width: int = 1100, height: int = 800, **settings: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **{"locale": "en-US", **settings})
        contexts.append(context)
        tab = context.new_page()
        tab.set_default_timeout(15_000)
        tab.on("request", lambda request: None if request.url == file.as_uri() else wrong.append(request.url))
        tab.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.goto(file.as_uri())
        tab.wait_for_selector(ready)
        return tab

    yield go
    for context in contexts:
        context.close()
    assert [one for one in wrong if not one.startswith("data:image/svg")] == []


@pytest.fixture
def open_live(open_file: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Return what writes the page of a model and opens it by `open_file`."""
    numbers = itertools.count()

    def go(
        predictor: Predictor[Any], *, width: int = 1100, name: str = "model", settings: Any = None, **more: Any
    ) -> Any:
        file = tmp_path / f"page{next(numbers)}.html"
        file.write_text(live_page(predictor, name, **more).content, encoding="utf-8")
        return open_file(file, ready=".value", width=width, **(settings or {}))

    return go


@pytest.fixture
def tabbing() -> Callable[[Any, int], Callable[[str], None]]:
    """Return what makes `tab_to` for a page: it presses Tab, at most so often, until an element has the focus."""

    def make(page: Any, most: int) -> Callable[[str], None]:
        def tab_to(selector: str) -> None:
            for _ in range(most):
                page.keyboard.press("Tab")
                if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", selector
                    return
            pytest.fail(f"no tab leads to {selector}")

        return tab_to

    return make


@pytest.fixture
def ask() -> Callable[[Any, str], None]:
    """Return what writes a text into a live page, and waits until the page has read it."""

    def write(tab: Any, text: str) -> None:
        tab.evaluate("document.querySelector('#pieces').firstChild.dataset.seen = 'yes'")
        tab.fill("#field-text", text)
        tab.wait_for_function("!document.querySelector('#pieces').firstChild.dataset.seen")

    return write
