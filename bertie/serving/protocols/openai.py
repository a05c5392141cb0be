"""OpenAI's API: the list of models, and embeddings. The `openai` package works unchanged."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from bertie.serving.described import like
from bertie.serving.hub import Hub, Served
from bertie.serving.limits import RequestError
from bertie.serving.protocols._models import check_dimensions, suitable
from bertie.serving.protocols._payload import (
    STRINGS,
    Ignored,
    Payload,
    PayloadRoute,
    Positive,
    answer,
    checked_by,
    text_list,
)


def _input(value: Any) -> list[str]:
    """Return the texts. Refuse token ids: they are those of OpenAI's vocabularies, which other models don't have."""
    if isinstance(value, list) and value and type(value[0]) in (int, list):
        raise ValueError(
            "token ids mean other pieces in each vocabulary, so they are refused; send texts (in LangChain: "
            "check_embedding_ctx_length=False)"
        )
    return text_list(value)


class EmbeddingsPayload(Payload):
    """The payload of POST /v1/embeddings."""

    input: Annotated[list[str], *checked_by(_input, {"anyOf": [{"type": "string"}, STRINGS]})]
    model: str
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None
    user: Ignored = None


def router(hub: Hub) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(route_class=PayloadRoute)
    handlers = _Handlers(hub)
    routes.get("/v1/models")(handlers.models)
    routes.get("/v1/models/{name:path}")(handlers.model)
    data = [{"object": "", "index": 0, "embedding": ([0.5], "")}]
    usage = {"prompt_tokens": 0, "total_tokens": 0}
    responses = like({"object": "", "data": data, "model": "", "usage": usage})
    routes.post("/v1/embeddings", responses=responses)(handlers.embeddings)
    return routes


_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def refusal(error: RequestError) -> dict[str, Any]:
    """Return the body of a refusal."""
    kind = _TYPES.get(error.status, "invalid_request_error" if error.status < 500 else "server_error")
    return {"error": {"message": error.sentence, "type": kind, "param": error.limit, "code": error.kind}}


@dataclass(frozen=True)
class _Handlers:
    hub: Hub
    since: int = field(default_factory=lambda: int(time.time()))
    """When the server started, in seconds since 1970; clients expect such a number for each model."""

    async def models(self) -> dict[str, Any]:
        """List the models of this server."""
        return {"object": "list", "data": [self._describe(model) for model in self.hub.models.values()]}

    async def model(self, name: str) -> dict[str, Any]:
        """Describe one model."""
        return self._describe(self.hub.get(name))

    def _describe(self, model: Served) -> dict[str, Any]:
        return {"id": model.name, "object": "model", "created": self.since, "owned_by": "bertie"}

    async def embeddings(self, payload: EmbeddingsPayload) -> JSONResponse:
        """Return one vector for each text."""
        served = await suitable(self.hub, payload.model, "embedding")
        check_dimensions(served, payload.dimensions)
        predictions, sizes = await served.predict_and_count(payload.input)
        rows = np.stack([prediction.vector for prediction in predictions])
        encoded = [_base64(row) for row in rows] if payload.encoding_format == "base64" else rows.tolist()
        data = [{"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(encoded)]
        usage = {"prompt_tokens": sum(sizes), "total_tokens": sum(sizes)}
        return answer({"object": "list", "data": data, "model": payload.model, "usage": usage})


def _base64(vector: Any) -> str:
    """Encode little-endian fp32 numbers."""
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")
