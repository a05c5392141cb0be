"""Private helper of the protocols: read payloads strictly, and refuse wrong ones with messages that name the key.

The guard parses the JSON, so NaN, numbers too large, deep nesting, keys given twice and lone surrogates never reach a
protocol. pydantic then checks keys and types, without converting any value, and describes them for the list of routes.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Coroutine, Iterable, MutableMapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bertie.registry import did_you_mean
from bertie.serving.limits import RequestError

_MAX_NAME = 200  # characters of a wrong value that a message repeats


def shown(value: object) -> str:
    """Return a client's value as a message repeats it: at most some hundred characters."""
    return reprlib.repr(value[:_MAX_NAME] if isinstance(value, str) else value)


class Payload(BaseModel):
    """Base class of payloads, and of the objects inside them.

    A field with the type `Ignored` is accepted and has no effect.
    """

    model_config = ConfigDict(strict=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, value: Any) -> Any:
        """Refuse the first unknown key; pydantic would list all of them, however many a client sends."""
        known = cls.model_fields
        for key in value if isinstance(value, dict) else ():
            if key not in known:
                raise PydanticCustomError("unknown", "unknown key {key}; {near}", _unknown(key, known))
        return value


def _unknown(key: str, known: Iterable[str]) -> dict[str, str]:
    return {"key": shown(key), "near": did_you_mean(key[:_MAX_NAME], known)}


Kind = TypeVar("Kind", bound=Payload)


def object_of(scope: MutableMapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object that the guard read from a request's body.

    Args:
        scope: of the request.

    Raises:
        RequestError: it is another JSON value, or there is no body.
    """
    if "bertie.payload" not in scope:
        raise RequestError(400, "wrong_json", "body: this is not valid JSON (it is empty); send a JSON object")
    value = scope["bertie.payload"]
    if not isinstance(value, dict):
        raise RequestError(422, "wrong_payload", "the body must be a JSON object")
    return value


def checked(kind: type[Kind], values: dict[str, Any]) -> Kind:
    """Check a JSON object whose kind depends on the model, so that no signature of a route can name it.

    Args:
        kind: the class of payloads.
        values: the object.

    Raises:
        RequestError: a key is unknown or missing, or its value has another type.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        place, message = _first(error.errors(include_url=False))
        raise wrong_part(place or "the body", message) from error


def wrong_part(place: str, message: str) -> RequestError:
    """Return the refusal of one part of a payload.

    Args:
        place: the key, such as inputs[3].
        message: what is wrong, and what to do.
    """
    return RequestError(422, "wrong_payload", f"{place}: {message}")


def text_list(value: Any) -> list[str]:
    """Return a string or a list of strings, at least one, as a list.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, str | list):
        raise ValueError(f"must be a string or a list of strings; got {shown(value)}")
    return string_list([value] if isinstance(value, str) else value)


def string_list(value: Any) -> list[str]:
    """Return a list of strings, at least one.

    Raises:
        ValueError: it is something else.
    """
    if not isinstance(value, list) or not value:
        raise ValueError(f"must be a list of strings, at least one; got {shown(value)}")
    for number, text in enumerate(value):
        if not isinstance(text, str):
            raise ValueError(f"number {number} must be a string; got {shown(text)}")
    return value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def objects_of(kind: type[Kind], values: Sequence[Any], form: str, *, or_text: bool = False) -> list[Kind | str]:
    """Return a list of objects of one kind, and of strings where they are allowed.

    Args:
        kind: the class of the objects.
        values: the list.
        form: how an object looks, for messages.
        or_text: whether strings are allowed.

    Raises:
        ValueError: a value is something else; for use in `checked_by`.
    """
    found: list[Kind | str] = []
    for number, one in enumerate(values):
        if or_text and isinstance(one, str):
            found.append(one)
            continue
        if not isinstance(one, dict):
            raise ValueError(f"number {number} must be {form}; got {shown(one)}")
        try:
            found.append(kind.model_validate(one))
        except ValidationError as error:
            place, message = _first(error.errors(include_url=False))
            raise ValueError(f"number {number} must be {form}; {place or 'the object'}: {message}") from None
    return found


def checked_by(check: Callable[[Any], Any], schema: dict[str, Any]) -> Any:
    """Return the two annotations of a key that a function checks, where unions would give a message for each type.

    Args:
        check: returns the value to use; raises ValueError.
        schema: of the values, for the API's description.
    """
    return PlainValidator(check), WithJsonSchema(schema)


STRINGS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
Texts = Annotated[list[str], *checked_by(text_list, {"anyOf": [{"type": "string"}, STRINGS]})]
"""A string, or a list of strings; always a list after the check."""
Strings = Annotated[list[str], *checked_by(string_list, STRINGS)]
"""A list of strings, at least one."""
Right = Literal["Right", "right"]
"""The only end at which bertie cuts a text."""
Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number; 3.0 is one too, as in JSON schemas."""
Positive = Annotated[int, Field(ge=1), BeforeValidator(_whole)]  # in this order the description has the 1
"""A whole number of at least 1."""
FIRST_ERROR: Any = Field(fail_fast=True)
"""Annotation of a list that is checked up to its first error; a client may send very many."""
AT_LEAST_ONE: Any = Field(min_length=1)
"""Annotation of a list that can't be empty."""
Ignored = Any
"""A key that clients send and that changes no answer."""


class _ParsedRequest(Request):
    """A request whose JSON the guard parsed, more strictly than FastAPI would."""

    async def json(self) -> Any:
        """Return the value."""
        return self.scope["bertie.payload"]


class PayloadRoute(APIRoute):
    """A route that reads its JSON object from the guard, and turns every error of pydantic into a `RequestError`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        answer_request = super().get_route_handler()

        async def handle(request: Request) -> Response:
            if self.body_field is not None:
                object_of(request.scope)
            try:
                return await answer_request(_ParsedRequest(request.scope, request.receive))
            except RequestValidationError as error:
                place, message = _first(error.errors(), skip=1)  # "body", "path" or "query"
                raise wrong_part(place or "the body", message) from error

        return handle


def _first(errors: Sequence[Any], *, skip: int = 0) -> tuple[str, str]:
    """Return the place and the message of the first error of pydantic.

    Args:
        errors: of pydantic.
        skip: the words at the start of the path that are no keys.
    """
    first = errors[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"][skip:])
    message = str(first["msg"]).removeprefix("Value error, ").replace("Input should", "must", 1)
    if first["type"] == "missing":
        message = "is missing"
    elif first["type"] != "unknown" and "got" not in message:
        message += f"; got {shown(first['input'])}"
    return path.removeprefix("."), message


def answer(content: Any) -> JSONResponse:
    """Return an answer that holds numbers of a model.

    Raises:
        RequestError: a number is NaN or infinite, which JSON can't hold.
    """
    try:
        return JSONResponse(content)
    except ValueError as error:
        message = "the model's answer holds NaN or an infinity, which JSON can't; the model's weights may be broken"
        raise RequestError(424, "not_finite", message) from error
