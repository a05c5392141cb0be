"""The payloads of `huggingface_hub.InferenceClient`: one URL for each model, whose task decides the form of the answer.

`/models/NAME` answers by the model's own task. `/models/NAME/pipeline/TASK` names one, such as feature-extraction.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from bertie.serving.hub import Hub
from bertie.serving.payload import object_of
from bertie.serving.protocols._pipelines import PIPELINES, pipeline_of

_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {"inputs": {}, "parameters": {"type": "object"}, "options": {"type": "object"}},
                }
            }
        },
    }
}


def router(hub: Hub) -> APIRouter:
    """Return the routes."""
    routes = APIRouter()

    @routes.post("/models/{name}", openapi_extra=_FORM)
    async def predict(name: str, request: Request) -> JSONResponse:
        """Answer as a Hugging Face endpoint for this model does."""
        served, payload = hub.get(name), object_of(request.scope)
        return JSONResponse(await PIPELINES[pipeline_of(served, payload)](served, payload))

    @routes.post("/models/{name}/pipeline/{task}", openapi_extra=_FORM)
    async def predict_by(name: str, task: str, request: Request) -> JSONResponse:
        """Answer by a named task of Hugging Face, such as feature-extraction."""
        served, payload = hub.get(name), object_of(request.scope)
        return JSONResponse(await PIPELINES[pipeline_of(served, payload, task)](served, payload))

    return routes
