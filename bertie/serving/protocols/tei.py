"""The API of text-embeddings-inference: vectors, classes, ranking, similarity and tokens.

A server may have several models. The query parameter or the header `model` names one; without it the first suitable
model answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from bertie.metrics.retrieval import unit
from bertie.serving.described import Responses, like
from bertie.serving.hub import Hub, Served
from bertie.serving.limits import RequestError
from bertie.serving.protocols._models import (
    by_task,
    check_dimensions,
    check_size,
    cosines,
    first,
    num_tokens,
    suitable,
    vectors,
    wanted,
)
from bertie.serving.protocols._payload import PayloadRoute, answer, wrong_part
from bertie.serving.protocols._relevance import class_scores, estimates, labels_of, ranker, relevance
from bertie.serving.protocols._tei_payloads import (
    DecodePayload,
    EmbedAllPayload,
    EmbedPayload,
    PredictPayload,
    SimilarityPayload,
    TeiRerankPayload,
    TokenizePayload,
)
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.version import VERSION

Model = Annotated[str | None, Depends(wanted)]
_ONLY_LABEL = "LABEL_0"
_DTYPES = {"exact": "float32", "bf16": "bfloat16", "int8": "int8"}


def router(hub: Hub) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(route_class=PayloadRoute)
    handlers = _Handlers(hub)
    label, token = {"score": 0.5, "label": ""}, {"id": 0, "text": "", "special": True, "start": None, "stop": None}
    posts: dict[Callable[..., Any], Any] = {
        handlers.embed: [[0.5]],
        handlers.embed_all: [[[0.5]]],
        handlers.predict: ([label], [[label]]),
        handlers.rerank: [{"index": 0, "score": 0.5, "text?": ""}],
        handlers.similarity: [0.5],
        handlers.tokenize: [[token]],
        handlers.decode: [""],
    }
    for handler, example in posts.items():
        routes.post(f"/{handler.__name__}", responses=like(example))(handler)
    routes.get("/info")(handlers.info)
    empty: Responses = {200: {"description": "all models predict"}, 503: {"description": "one doesn't"}}
    routes.get("/health", responses=empty, response_class=Response)(handlers.health)
    return routes


_TYPES = {424: "Backend", 429: "Overloaded", 500: "Backend", 503: "Unhealthy", 504: "Overloaded"}


def refusal(error: RequestError) -> dict[str, Any]:
    """Return the body of a refusal."""
    return {"error": error.sentence, "error_type": _TYPES.get(error.status, "Validation")}


@dataclass(frozen=True)
class _Handlers:
    hub: Hub

    async def embed(self, payload: EmbedPayload, model: Model) -> JSONResponse:
        """Return one vector for each text."""
        served = await suitable(self.hub, model, "embedding")
        check_dimensions(served, payload.dimensions)
        task: Any = served.predictor.task
        is_normal = task.normalize
        if is_normal and not payload.normalize:
            raise wrong_part("normalize", f"{served.name} always scales its vectors to length 1; leave normalize out")
        rows = await vectors(served, await _texts(payload.inputs, served), **payload.settings())
        return answer((rows if is_normal or not payload.normalize else unit(rows)).tolist())

    async def embed_all(self, payload: EmbedAllPayload, model: Model) -> JSONResponse:
        """Return the vector of each token of each text, special tokens included."""
        served = await self._encoder(model)
        texts = await _texts(payload.inputs, served)
        check_size(served.limits, [len(text) for text in texts], "inputs")
        tokens, most = await num_tokens(served, texts, **payload.settings()), served.limits.batch
        if tokens > most:  # a short request could ask for gigabytes
            message = f"inputs: {tokens:,} tokens give too many vectors for one answer; send at most {most:,} tokens"
            raise RequestError(413, "too_many_tokens", message, limit="batch", value=tokens)
        found = await served.predict(texts, **payload.settings())
        return answer([features.hidden.tolist() for features in found])

    async def _encoder(self, name: str | None) -> Served:
        """Return a model by the task features: the named one, or the first that can do it, embedding models first."""
        if name is not None:
            return await by_task(self.hub.get(name), "features")
        models = sorted(self.hub.models.values(), key=lambda model: model.task != "embedding")
        for model in models[:-1]:
            with suppress(RequestError):
                return await by_task(model, "features")
        return await by_task(models[-1], "features")

    async def predict(self, payload: PredictPayload, model: Model) -> JSONResponse:
        """Return the labels of each text or pair with their scores, the most probable first."""
        served = await suitable(self.hub, model, "classification", "regression")
        is_batch, items = payload.inputs
        if served.task == "regression":
            values = await estimates(served, items, raw=payload.raw_scores, **payload.settings())
            tables = [{_ONLY_LABEL: value} for value in values]
        else:
            tables = await class_scores(served, items, raw=payload.raw_scores, **payload.settings())
        ranked = [sorted(scores.items(), key=lambda pair: -pair[1]) for scores in tables]
        rows = [[{"score": score, "label": label} for label, score in row] for row in ranked]
        return answer(rows if is_batch else rows[0])

    async def rerank(self, payload: TeiRerankPayload, model: Model) -> JSONResponse:
        """Return the texts' numbers with their relevance to the query, the most relevant first."""
        served = await ranker(self.hub, model)
        scores = await relevance(served, payload.query, payload.texts, raw=payload.raw_scores, **payload.settings())
        ranks: list[dict[str, Any]] = [{"index": index, "score": score} for index, score in enumerate(scores)]
        if payload.return_text:
            for rank, text in zip(ranks, payload.texts, strict=True):
                rank["text"] = text
        return answer(sorted(ranks, key=lambda rank: -rank["score"]))

    async def similarity(self, payload: SimilarityPayload, model: Model) -> JSONResponse:
        """Return the cosine of the source sentence with each sentence."""
        served = await suitable(self.hub, model, "embedding")
        settings = payload.parameters.settings() if payload.parameters else {}
        inputs = payload.inputs
        return answer(await cosines(served, inputs.source_sentence, inputs.sentences, **settings))

    async def tokenize(self, payload: TokenizePayload, model: Model) -> JSONResponse:
        """Return the tokens of each text, with the bytes of the text that each stands for."""
        tokenizer = first(self.hub, model).predictor.tokenizer
        check_size(self.hub.limits, [len(text) for text in payload.inputs], "inputs")
        return answer(await asyncio.to_thread(_tokens, tokenizer, payload.inputs, payload.add_special_tokens))

    async def decode(self, payload: DecodePayload, model: Model) -> JSONResponse:
        """Return the text of each list of token ids."""
        tokenizer = first(self.hub, model).predictor.tokenizer
        check_size(self.hub.limits, [len(ids) for ids in payload.ids], "ids")
        _check_ids(payload.ids, tokenizer, "ids")
        specials = not payload.skip_special_tokens
        return answer(
            await asyncio.to_thread(lambda: [tokenizer.decode(ids, specials=specials) for ids in payload.ids])
        )

    async def health(self) -> Response:
        """Answer 200 if all models predict, else 503."""
        return Response(status_code=200 if all((await self.hub.is_ready()).values()) else 503)

    async def info(self, model: Model) -> dict[str, Any]:
        """Describe a model and the limits."""
        served, limits = first(self.hub, model), self.hub.limits
        predictor = served.predictor
        return {
            "model_id": served.name,
            "model_sha": None,
            "model_dtype": _DTYPES[predictor.precision],
            "served_model_name": served.name,
            "model_type": _model_type(served),
            "max_concurrent_requests": limits.queue,  # a request has at least one token
            "max_input_length": getattr(predictor.task, "max_length", predictor.bundle.config.max_positions),
            "max_batch_tokens": limits.batch,
            "max_batch_requests": None,
            "max_client_batch_size": limits.inputs,
            "auto_truncate": getattr(predictor.task, "truncation", "error") != "error",
            "tokenization_workers": 1,
            "version": VERSION,
            "sha": None,
            "docker_label": None,
        }


async def _texts(inputs: Sequence[Any], served: Served) -> list[str]:
    """Return texts, and the texts of token ids that encode to the same ids.

    Raises:
        RequestError: there are ids that no text encodes to.
    """
    if all(isinstance(one, str) for one in inputs):
        return list(inputs)
    tokenizer = served.predictor.tokenizer
    check_size(served.limits, [len(one) for one in inputs], "inputs")
    return await asyncio.to_thread(_as_texts, inputs, tokenizer)


def _as_texts(inputs: Sequence[Any], tokenizer: Tokenizer) -> list[str]:
    texts = list(inputs)
    for number, ids in enumerate(inputs):
        if isinstance(ids, str):
            continue
        _check_ids([ids], tokenizer, f"inputs[{number}]")
        bare = ids[1:-1] if len(ids) > 1 and (ids[0], ids[-1]) == (tokenizer.start, tokenizer.separator) else ids
        texts[number] = tokenizer.decode(bare)
        if tokenizer.encode_batch([texts[number]])[0] != bare:
            message = f"no text has exactly these ids (they read {texts[number]!r:.100}); send the text"
            raise wrong_part(f"inputs[{number}]", message)
    return texts


def _check_ids(lists: Sequence[Sequence[int]], tokenizer: Tokenizer, key: str) -> None:
    largest = max(max(ids) for ids in lists)
    if largest >= tokenizer.vocab_size:
        raise wrong_part(key, f"the model has the token ids 0 to {tokenizer.vocab_size - 1}; got {largest}")


def _tokens(tokenizer: Tokenizer, texts: Sequence[str], with_specials: bool) -> list[list[dict[str, Any]]]:
    """Return the tokens of texts. Positions count bytes of UTF-8, as text-embeddings-inference does."""
    around = (tokenizer.start, tokenizer.separator) if with_specials else ()
    specials = [
        {"id": token, "text": tokenizer.tokens[token], "special": True, "start": None, "stop": None} for token in around
    ]
    rows = []
    for text, (ids, edges) in zip(texts, tokenizer.encode_batch_aligned(texts), strict=True):
        lengths = [len(character.encode()) for character in text]
        places = np.cumsum([0, *lengths]).tolist()
        row = [
            {"id": token, "text": text[start:end], "special": False, "start": places[start], "stop": places[end]}
            for token, (start, end) in zip(ids, edges, strict=True)
        ]
        rows.append([*specials[:1], *row, *specials[1:]])
    return rows


def _model_type(served: Served) -> dict[str, Any]:
    """Return the kind of a model; tasks that text-embeddings-inference doesn't have go by their own name."""
    task: Any = served.predictor.task
    if task.name == "embedding":
        return {"embedding": {"pooling": task.pooling}}
    if task.name not in ("classification", "regression"):
        return {task.name: {}}
    labels = labels_of(served) if task.name == "classification" else (_ONLY_LABEL,)
    names = {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    return {"classifier" if task.name == "classification" else "reranker": names}
