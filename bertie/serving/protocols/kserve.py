"""The Open Inference Protocol (KServe v2) over HTTP with JSON tensors.

A model has the inputs "text" and, for pairs, "pair", with one string for each item. Its outputs depend on the task:
"label" and "score", "value", or "embedding"; any other prediction is one JSON text for each item, "prediction".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from bertie.serving.described import Responses, like
from bertie.serving.hub import Hub, Served
from bertie.serving.limits import RequestError
from bertie.serving.protocols._payload import FIRST_ERROR, Payload, PayloadRoute, Whole, answer, shown, wrong_part
from bertie.tasks._prediction import plain
from bertie.version import VERSION

Tensor = dict[str, Any]
_PLATFORM = "bertie"


class InputTensor(Payload):
    """One input of a request."""

    name: str
    shape: Annotated[list[Whole], FIRST_ERROR]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class RequestedOutput(Payload):
    """One output that a client asks for."""

    name: str
    parameters: dict[str, Any] | None = None


class InferPayload(Payload):
    """The payload of POST /v2/models/{name}/infer."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: Annotated[list[InputTensor], FIRST_ERROR]
    outputs: Annotated[list[RequestedOutput], FIRST_ERROR] | None = None


def router(hub: Hub) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(route_class=PayloadRoute)
    handlers = _Handlers(hub)
    routes.get("/v2")(handlers.server)
    routes.get("/v2/health/live")(handlers.live)
    ready = {"ready": True}
    routes.get("/v2/health/ready", responses=_answers(ready))(handlers.ready)
    routes.get("/v2/models/{name}")(handlers.model)
    routes.get("/v2/models/{name}/ready", responses=_answers({"name": "", **ready}))(handlers.model_ready)
    outputs = [{"name": "", "datatype": "", "shape": [1], "data": [None]}]
    routes.post("/v2/models/{name}/infer", responses=like({"model_name": "", "id?": "", "outputs": outputs}))(
        handlers.infer
    )
    return routes


def _answers(example: dict[str, Any]) -> Responses:
    return {**like(example), **like(example, status=503, says="not ready")}


def refusal(error: RequestError) -> dict[str, Any]:
    """Return the body of a refusal; the clients expect a string."""
    return {"error": error.sentence}


@dataclass(frozen=True)
class _Handlers:
    hub: Hub

    async def server(self) -> dict[str, Any]:
        """Describe the server."""
        return {"name": _PLATFORM, "version": VERSION, "extensions": []}

    async def live(self) -> dict[str, Any]:
        """Tell that the server runs."""
        return {"live": True}

    async def ready(self) -> JSONResponse:
        """Tell whether all models predict."""
        is_ready = all((await self.hub.is_ready()).values())
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    async def model(self, name: str) -> dict[str, Any]:
        """Describe a model: its inputs, and its outputs for single texts."""
        served = self.hub.get(name)
        inputs = [{"name": key, "datatype": "BYTES", "shape": [-1]} for key in ("text", "pair")]
        outputs = [{"name": key, "datatype": kind, "shape": shape} for key, kind, shape in _outputs_of(served)]
        return {"name": name, "versions": [], "platform": _PLATFORM, "inputs": inputs, "outputs": outputs}

    async def model_ready(self, name: str) -> JSONResponse:
        """Tell whether a model predicts."""
        is_ready = await self.hub.get(name).is_ready()
        return JSONResponse({"name": name, "ready": is_ready}, 200 if is_ready else 503)

    async def infer(self, name: str, payload: InferPayload) -> JSONResponse:
        """Predict for each text, or pair of texts."""
        served = self.hub.get(name)
        _refuse_binary(payload)
        predictions = await served.predict(_items(payload.inputs))
        outputs = _chosen(_tensors(predictions), payload.outputs)
        identity = {} if payload.id is None else {"id": payload.id}
        return answer({"model_name": name, **identity, "outputs": outputs})


def _no_binary(what: str) -> RequestError:
    return RequestError(422, "no_binary", f"{what} asks for binary tensors; this server reads and writes JSON only")


def _refuse_binary(payload: InferPayload) -> None:
    """Refuse what the extension of binary tensors adds to a request.

    Raises:
        RequestError: the request uses it, or encodes its texts.
    """
    if (payload.parameters or {}).get("binary_data_output"):
        raise _no_binary("parameters.binary_data_output")
    for number, wanted in enumerate(payload.outputs or ()):
        if (wanted.parameters or {}).get("binary_data"):
            raise _no_binary(f"outputs[{number}].parameters.binary_data")
    for number, tensor in enumerate(payload.inputs):
        parameters = tensor.parameters or {}
        if "binary_data_size" in parameters:
            raise _no_binary(f"inputs[{number}].parameters.binary_data_size")
        if parameters.get("content_type", "str") != "str":
            kind = shown(parameters["content_type"])
            raise wrong_part(f"inputs[{number}].parameters.content_type", f"must be 'str', for plain texts; got {kind}")


def _items(inputs: Sequence[InputTensor]) -> list[Any]:
    """Return the texts or pairs of a request.

    Raises:
        RequestError: an input is unknown or given twice, or its data don't fit its shape.
    """
    columns: dict[str, list[str]] = {}
    for number, tensor in enumerate(inputs):
        place = f"inputs[{number}]"
        if tensor.name not in ("text", "pair") or tensor.name in columns:
            raise wrong_part(f"{place}.name", f"must be 'text' or 'pair', each once; got {shown(tensor.name)}")
        if tensor.datatype != "BYTES":
            raise wrong_part(f"{place}.datatype", f"must be 'BYTES', for texts; got {shown(tensor.datatype)}")
        columns[tensor.name] = _strings(tensor, place)
    if "text" not in columns:
        raise wrong_part("inputs", "the input named 'text' is missing")
    if "pair" not in columns:
        return list(columns["text"])
    if len(columns["text"]) != len(columns["pair"]):
        sizes = f"{len(columns['text'])} and {len(columns['pair'])}"
        raise wrong_part("inputs", f"'text' and 'pair' must have equally many strings; got {sizes}")
    return list(zip(columns["text"], columns["pair"], strict=True))


def _strings(tensor: InputTensor, place: str) -> list[str]:
    """Return the strings of an input of shape (n) or (n, 1); the latter may be nested lists."""
    shape = tensor.shape
    if len(shape) not in (1, 2) or shape[0] < 1 or shape[1:] not in ([], [1]):
        raise wrong_part(f"{place}.shape", f"must be [n] or [n, 1], one text an item; got {shown(shape)}")
    if len(tensor.data) != shape[0]:
        raise wrong_part(f"{place}.data", f"has {len(tensor.data)} elements, but the shape is {shown(shape)}")
    strings = []
    for number, value in enumerate(tensor.data):
        text = value[0] if len(shape) == 2 and isinstance(value, list) and len(value) == 1 else value
        if not isinstance(text, str):
            raise wrong_part(f"{place}.data[{number}]", f"must be a string; got {shown(value)}")
        strings.append(text)
    return strings


def _outputs_of(served: Served) -> list[tuple[str, str, list[int]]]:
    """Return name, datatype and shape of each output for single texts."""
    if served.task in ("classification", "next_sentence"):
        return [("label", "BYTES", [-1]), ("score", "FP32", [-1])]
    if served.task == "embedding":
        return [("embedding", "FP32", [-1, served.predictor.bundle.config.hidden_size])]
    return [("value", "FP32", [-1])] if served.task == "regression" else [("prediction", "BYTES", [-1])]


def _tensors(predictions: Sequence[Any]) -> list[Tensor]:
    """Return the outputs for predictions of one class, by their fields."""
    fields = set(predictions[0]) if isinstance(predictions[0], dict) else set()
    if {"label", "score", "scores"} == fields:
        return [
            _tensor("label", "BYTES", [one.label for one in predictions]),
            _tensor("score", "FP32", [one.score for one in predictions]),
        ]
    if fields == {"value"}:
        return [_tensor("value", "FP32", [one.value for one in predictions])]
    if fields == {"vector"}:
        vectors = np.stack([one.vector for one in predictions])
        return [{**_tensor("embedding", "FP32", vectors.ravel().tolist()), "shape": list(vectors.shape)}]
    texts = [json.dumps(plain(one), ensure_ascii=False) for one in predictions]
    return [_tensor("prediction", "BYTES", texts)]


def _tensor(name: str, datatype: str, data: list[Any]) -> Tensor:
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}


def _chosen(outputs: list[Tensor], wanted: Sequence[RequestedOutput] | None) -> list[Tensor]:
    """Return the outputs that the client asks for, in its order; all without a list."""
    by_name = {output["name"]: output for output in outputs}
    for number, one in enumerate(wanted or ()):
        if one.name not in by_name:
            raise wrong_part(f"outputs[{number}].name", f"must be one of {', '.join(by_name)}; got {shown(one.name)}")
    return [by_name[one.name] for one in wanted] if wanted else outputs
