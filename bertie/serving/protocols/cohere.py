"""Cohere's rerank API, versions 1 and 2: sort documents by their relevance to a query."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from bertie.serving.described import like
from bertie.serving.hub import Hub
from bertie.serving.limits import RequestError
from bertie.serving.protocols._payload import (
    FIRST_ERROR,
    Ignored,
    Payload,
    PayloadRoute,
    Positive,
    answer,
    checked_by,
    shown,
)
from bertie.serving.protocols._relevance import ranker, relevance


def _documents(value: Any) -> list[str]:
    """Return the texts of documents, each a string or an object with the key text."""
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of strings, at least one; got {shown(value)}")
    texts = []
    for number, document in enumerate(value):
        text = document["text"] if isinstance(document, dict) and list(document) == ["text"] else document
        if not isinstance(text, str):
            raise ValueError(f'number {number} must be a string or {{"text": string}}; got {shown(document)}')
        texts.append(text)
    return texts


_TEXT_OBJECT: dict[str, Any] = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
_TEXT_OBJECT["additionalProperties"] = False
_DOCUMENTS = {"type": "array", "items": {"anyOf": [{"type": "string"}, _TEXT_OBJECT]}, "minItems": 1}


class RerankPayload(Payload):
    """The payload of POST /v1/rerank and POST /v2/rerank."""

    query: str
    documents: Annotated[list[str], *checked_by(_documents, _DOCUMENTS)]
    model: str | None = None
    """Name of the model; None for the first suitable one."""
    top_n: Positive | None = None
    return_documents: bool | None = None
    rank_fields: Annotated[list[Literal["text"]], FIRST_ERROR] | None = None
    """Fields of a document that are compared; documents here have only one."""
    priority: Ignored = None


def router(hub: Hub) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(route_class=PayloadRoute)
    results = [{"index": 0, "relevance_score": 0.5, "document?": {"text": ""}}]
    for version in ("1", "2"):
        routes.post(f"/v{version}/rerank", responses=like({"id": "", "results": results, "meta": {}}))(
            _Handler(hub, version).rerank
        )
    return routes


def refusal(error: RequestError) -> dict[str, Any]:
    """Return the body of a refusal."""
    return {"message": error.sentence}


@dataclass(frozen=True)
class _Handler:
    hub: Hub
    version: str

    async def rerank(self, payload: RerankPayload) -> JSONResponse:
        """Return the documents' numbers and relevance, the most relevant first."""
        served = await ranker(self.hub, payload.model)
        scores = await relevance(served, payload.query, payload.documents)
        order = sorted(range(len(scores)), key=lambda index: -scores[index])[: payload.top_n]
        results: list[dict[str, Any]] = [{"index": index, "relevance_score": scores[index]} for index in order]
        if payload.return_documents:
            for result in results:
                result["document"] = {"text": payload.documents[result["index"]]}
        meta = {"api_version": {"version": self.version}, "billed_units": {"search_units": 1}}
        return answer({"id": str(uuid.uuid4()), "results": results, "meta": meta})
