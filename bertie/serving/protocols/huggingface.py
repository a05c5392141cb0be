"""The payloads of `huggingface_hub.InferenceClient`: one URL for each model, whose task decides the form of the answer.

`/models/NAME` answers by the model's own task. `/models/NAME/pipeline/TASK` names one, such as feature-extraction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from bertie.registry import did_you_mean
from bertie.serving.described import like
from bertie.serving.hub import Hub
from bertie.serving.limits import RequestError
from bertie.serving.protocols import _hf_payloads as payloads
from bertie.serving.protocols._payload import Payload, PayloadRoute, answer, checked, object_of
from bertie.serving.protocols._pipelines import PIPELINES, Pipeline, pipeline_of

_NAMES = sorted(pipeline.payload.__name__ for pipeline in PIPELINES.values())
# A model's own task decides the payload, so FastAPI can't know it. The routes of the tasks describe its parts.
_FORM = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"anyOf": [{"$ref": f"#/components/schemas/{n}"} for n in _NAMES]}}},
    }
}


_FILL = {"score": 0.5, "token": 0, "token_str": "", "sequence": ""}
_LABEL = {"score": 0.5, "label": ""}
_SPAN = {"score": 0.5, "word": "", "start": 0, "end": 0, "entity?": "", "entity_group?": "", "index?": 0}
_FOUND = {"answer": "", "score": 0.5, "start": 0, "end": 0}
_ANSWERS: dict[str, Any] = {
    "fill-mask": ([_FILL], [[_FILL]], [[[_FILL]]]),
    "text-classification": [[_LABEL]],
    "token-classification": ([_SPAN], [[_SPAN]]),
    "question-answering": (_FOUND, [_FOUND], [[_FOUND]]),
    "sentence-similarity": [0.5],
    "feature-extraction": ([0.5], [[0.5]], [[[0.5]]]),
    "zero-shot-classification": ([_LABEL], [[_LABEL]]),
}


def router(hub: Hub) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(route_class=PayloadRoute)
    handlers = _Handlers(hub)
    routes.post("/models/{name}", openapi_extra=_FORM)(handlers.predict)
    for task in PIPELINES:
        responses = like(_ANSWERS[task])
        routes.post(f"/models/{{name}}/pipeline/{task}", responses=responses)(getattr(handlers, task.replace("-", "_")))
    routes.post("/models/{name}/pipeline/{task}", include_in_schema=False)(handlers.unknown)
    return routes


@dataclass(frozen=True)
class _Handlers:
    hub: Hub

    async def predict(self, name: str, request: Request) -> JSONResponse:
        """Answer as a Hugging Face endpoint for this model does."""
        values = object_of(request.scope)
        pipeline = pipeline_of(self.hub.get(name), values)
        return await self._answer(name, pipeline, checked(pipeline.payload, values))

    async def fill_mask(self, name: str, payload: payloads.FillMaskPayload) -> JSONResponse:
        """Return the best words for the mask of a text."""
        return await self._answer(name, PIPELINES["fill-mask"], payload)

    async def text_classification(self, name: str, payload: payloads.ClassificationPayload) -> JSONResponse:
        """Return the labels of a text, the most probable first."""
        return await self._answer(name, PIPELINES["text-classification"], payload)

    async def token_classification(self, name: str, payload: payloads.TokenPayload) -> JSONResponse:
        """Return the entities of a text."""
        return await self._answer(name, PIPELINES["token-classification"], payload)

    async def question_answering(self, name: str, payload: payloads.QuestionPayload) -> JSONResponse:
        """Return the part of a text that answers a question."""
        return await self._answer(name, PIPELINES["question-answering"], payload)

    async def sentence_similarity(self, name: str, payload: payloads.ComparisonPayload) -> JSONResponse:
        """Return the similarity of a sentence with each of others."""
        return await self._answer(name, PIPELINES["sentence-similarity"], payload)

    async def feature_extraction(self, name: str, payload: payloads.FeaturePayload) -> JSONResponse:
        """Return the vector of a text, or those of its tokens."""
        return await self._answer(name, PIPELINES["feature-extraction"], payload)

    async def zero_shot_classification(self, name: str, payload: payloads.ZeroShotPayload) -> JSONResponse:
        """Return how well each of some labels fits a text."""
        return await self._answer(name, PIPELINES["zero-shot-classification"], payload)

    async def unknown(self, name: str, task: str) -> JSONResponse:
        """Refuse a task that there isn't."""
        self.hub.get(name)
        message = f"no pipeline {task[:80]!r}; {did_you_mean(task[:80], PIPELINES)}"
        raise RequestError(404, "no_such_route", message)

    async def _answer(self, name: str, pipeline: Pipeline, payload: Payload) -> JSONResponse:
        return answer(await pipeline.answer(self.hub.get(name), payload))
