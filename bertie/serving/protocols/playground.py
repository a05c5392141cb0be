"""The playground: one page at `/` on which people try the models of the server, and the routes that the page calls.

The page is plain HTML, CSS and JavaScript in `bertie/serving/playground/`. It loads nothing from another host, and its
security policy forbids it to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from bertie.errors import BertieError, DataError
from bertie.inference.attention import ShownTokens, attention_of, tokens_of
from bertie.items.choice import Choice
from bertie.items.item import Item
from bertie.items.question import Question
from bertie.items.text import Text
from bertie.items.words import Words
from bertie.serving.hub import Hub, Served
from bertie.serving.limits import RequestError
from bertie.serving.page_models import FOLDER, described, panel_of
from bertie.serving.protocols._models import check_size
from bertie.serving.protocols._payload import AT_LEAST_ONE, FIRST_ERROR, Payload, PayloadRoute, wrong_part
from bertie.tasks._prediction import plain

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


class ItemsPayload(Payload):
    """The payload of POST /playground/predict."""

    model: str
    items: Annotated[list[dict[str, Any]], FIRST_ERROR, AT_LEAST_ONE]
    """Rows as in a JSON Lines file of the model's task."""


class ShownPayload(Payload):
    """The payload of POST /playground/pieces and POST /playground/attention."""

    model: str
    text: str
    pair: str | None = None


def router(hub: Hub) -> APIRouter:
    """Return the page's routes.

    Args:
        hub: the models that the page shows.
    """
    routes = APIRouter(route_class=PayloadRoute)
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
    async def predict(payload: ItemsPayload) -> Response:
        served = hub.get(payload.model)
        predictions = await served.predict(_items(payload.items, served))
        return await asyncio.to_thread(_answer, {"predictions": [plain(prediction) for prediction in predictions]})

    @routes.post("/playground/pieces", include_in_schema=False)
    async def pieces(payload: ShownPayload) -> Response:
        return _answer(_as_dict(await _tokens(hub.get(payload.model), payload, MAX_PIECES)))

    @routes.post("/playground/attention", include_in_schema=False)
    async def attention(payload: ShownPayload) -> Response:
        served = hub.get(payload.model)
        shown = await _tokens(served, payload, MAX_TOKENS)
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


def _items(rows: Sequence[dict[str, Any]], served: Served) -> list[Item]:
    """Return the items of a request.

    Raises:
        RequestError: one is not an item of the model's task.
    """
    kind = KINDS.get(panel_of(served.predictor.task), Text)
    items = []
    for number, row in enumerate(rows):
        of_kind = Text if kind is Words and "text" in row and "tokens" not in row else kind  # the task cuts it
        try:
            items.append(of_kind.from_row(row).unlabelled())
        except DataError as error:
            raise wrong_part(f"items[{number}]", str(error)) from error
    return items


async def _tokens(served: Served, payload: ShownPayload, most: int) -> ShownTokens:
    """Return the tokens of a request's text.

    Raises:
        RequestError: the text is longer than a request may be.
    """
    check_size(served.limits, [len(payload.text) + len(payload.pair or "")], "text")
    longest = getattr(served.predictor.task, "max_length", most)
    with _refusing():
        return await asyncio.to_thread(
            tokens_of, served.predictor.tokenizer, payload.text, payload.pair, max_length=min(most, longest)
        )


def _as_dict(shown: ShownTokens) -> dict[str, Any]:
    return {"tokens": [vars(token) for token in shown.tokens], "cut": shown.cut}


def _answer(body: Mapping[str, Any]) -> Response:
    return JSONResponse(body, headers=HEADERS)


def _with_attention(served: Served, shown: ShownTokens) -> Response:
    weights = attention_of(served.predictor, shown.batch).double().numpy().round(3)
    return _answer({**_as_dict(shown), "weights": weights.tolist()})


def _file(path: Path) -> Response:
    return Response(path.read_bytes(), media_type=f"{TYPES[path.suffix]}; charset=utf-8", headers=HEADERS)
