"""The playground: one page at `/` on which people try the models of the server, and the routes that the page calls.

The page is plain HTML, CSS and JavaScript in `bertie/serving/playground/`. It loads nothing from another host, and its
security policy forbids it to.
"""

from __future__ import annotations

import asyncio
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from bertie.errors import BertieError, DataError
from bertie.inference.attention import ShownTokens, attention_of, tokens_of
from bertie.items.choice import Choice
from bertie.items.item import Item, string
from bertie.items.question import Question
from bertie.items.text import Text
from bertie.items.words import Words
from bertie.registry import did_you_mean
from bertie.serving.described import FOLDER, described, panel_of
from bertie.serving.hub import Hub, Served
from bertie.serving.limits import RequestError
from bertie.tasks._prediction import plain
from bertie.untrusted import parse_object

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
MAX_TOKENS = 64
"""Tokens whose attention is shown: the weights grow with the square of their number."""
MAX_PIECES = 512
"""Tokens that are shown as pieces."""
KINDS: dict[str, type[Item]] = {"spans": Words, "answer": Question, "choice": Choice}
"""The kind of item of each panel; `Text` for all others."""


def router(hub: Hub) -> APIRouter:
    """Return the page's routes.

    Args:
        hub: the models that the page shows.
    """
    routes = APIRouter()
    files = {path.name: path for path in FOLDER.iterdir() if path.suffix in TYPES}

    @lru_cache(maxsize=1)  # counting the words of a large vocabulary takes a while
    def descriptions() -> list[dict[str, Any]]:
        return [described(served.name, served.predictor) for served in hub.models.values()]

    @routes.get("/", include_in_schema=False)
    async def index() -> Response:
        return _file(files["index.html"])

    @routes.get("/playground/models", include_in_schema=False)
    async def models() -> Response:
        return _answer({"models": await asyncio.to_thread(descriptions)})

    @routes.post("/playground/predict", include_in_schema=False)
    async def predict(request: Request) -> Response:
        served, body = await _read(hub, request, ("model", "items"))
        items = _items(body.get("items"), served)
        with _refusing():
            predictions = await served.predict(items)
        return await asyncio.to_thread(_answer, {"predictions": [plain(prediction) for prediction in predictions]})

    @routes.post("/playground/pieces", include_in_schema=False)
    async def pieces(request: Request) -> Response:
        shown, _ = await _tokens(hub, request, MAX_PIECES)
        return _answer(_as_dict(shown))

    @routes.post("/playground/attention", include_in_schema=False)
    async def attention(request: Request) -> Response:
        shown, served = await _tokens(hub, request, MAX_TOKENS)
        with _refusing():
            return await asyncio.to_thread(_with_attention, served, shown)

    @routes.get("/playground/{name}", include_in_schema=False)
    async def file(name: str) -> Response:
        if name not in files:
            raise RequestError(404, "no_such_file", f"the playground has no file {name!r:.80}")
        return _file(files[name])

    return routes


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn bertie's errors into refusals."""
    try:
        yield
    except BertieError as error:
        raise RequestError(422, "unusable", str(error)) from error


async def _read(hub: Hub, request: Request, keys: Sequence[str]) -> tuple[Served, dict[str, Any]]:
    """Return the model and the values of a request.

    Raises:
        RequestError: it is not a JSON object with these keys, or there is no such model.
    """
    content = await request.body()
    with _refusing():
        body = parse_object(content, "the request")
        for key in body:
            if key not in keys:
                raise DataError(f"unknown key {key!r:.80}; {did_you_mean(key, keys)}")
        name = string(body.get("model"), "model")
    return hub.get(name), body


def _items(rows: Any, served: Served) -> list[Item]:
    """Return the items of a request.

    Raises:
        RequestError: there is none, or one is not an item of the model's task.
    """
    kind = KINDS.get(panel_of(served.predictor.task), Text)
    items = []
    with _refusing():
        if not isinstance(rows, list) or not rows:
            raise DataError("items must be a list with one or more JSON objects")
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict):
                raise DataError(f"item {number} is {reprlib.repr(row)}; it must be a JSON object")
            of_kind = Text if kind is Words and "text" in row and "tokens" not in row else kind  # the task cuts it
            try:
                items.append(of_kind.from_row(row).unlabelled())
            except DataError as error:
                raise DataError(f"item {number}: {error}") from error
    return items


async def _tokens(hub: Hub, request: Request, most: int) -> tuple[ShownTokens, Served]:
    """Return the tokens of a request's text, and its model.

    Raises:
        RequestError: the request is wrong, or the text is longer than a request may be.
    """
    served, body = await _read(hub, request, ("model", "text", "pair"))
    with _refusing():
        text = string(body.get("text"), "text")
        pair = None if body.get("pair") is None else string(body["pair"], "pair")
    length = len(text) + len(pair or "")
    if length > hub.limits.characters:
        message = f"the text has {length:,} characters; at most {hub.limits.characters:,} are allowed"
        raise RequestError(413, "too_long", message, limit="characters", value=length)
    longest = getattr(served.predictor.task, "max_length", most)
    with _refusing():
        shown = await asyncio.to_thread(
            tokens_of, served.predictor.tokenizer, text, pair, max_length=min(most, longest)
        )
    return shown, served


def _as_dict(shown: ShownTokens) -> dict[str, Any]:
    return {"tokens": [vars(token) for token in shown.tokens], "cut": shown.cut}


def _answer(body: Mapping[str, Any]) -> Response:
    return JSONResponse(body, headers=HEADERS)


def _with_attention(served: Served, shown: ShownTokens) -> Response:
    weights = attention_of(served.predictor, shown.batch).double().numpy().round(3)
    return _answer({**_as_dict(shown), "weights": weights.tolist()})


def _file(path: Path) -> Response:
    return Response(path.read_bytes(), media_type=f"{TYPES[path.suffix]}; charset=utf-8", headers=HEADERS)
