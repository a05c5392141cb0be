"""A server with the playground and a tiny model for each of its panels, a browser, and texts that try to run code.

Without a browser its tests are skipped; with BERTIE_REQUIRE_BROWSER=1 they fail instead.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bertie.formats.format import Bundle, new
from bertie.inference.predictor import Predictor
from bertie.models.bert import BertConfig
from bertie.serving.hub import Hub, Served
from bertie.serving.limits import Limits
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
