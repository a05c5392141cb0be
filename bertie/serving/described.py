"""Describe answers in the list of routes (/openapi.json), each by an example of it."""

from __future__ import annotations

from typing import Any

Responses = dict[int | str, dict[str, Any]]


def schema_of(example: Any) -> dict[str, Any]:
    """Return the JSON schema of the values that look like an example.

    Args:
        example: a JSON value. The items of a list look like its first item, and a tuple holds alternatives. A key that
            ends in "?" may be missing, and None stands for any value.
    """
    if isinstance(example, dict):
        parts = {key.removesuffix("?"): schema_of(value) for key, value in example.items()}
        return {"type": "object", "properties": parts, "required": [key for key in example if not key.endswith("?")]}
    if isinstance(example, list):
        return {"type": "array", "items": schema_of(example[0])}
    if isinstance(example, tuple):
        return {"anyOf": [schema_of(one) for one in example]}
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string"}
    return {"type": kinds[type(example)]} if example is not None else {}


def like(
    example: Any, *, status: int | str = 200, says: str = "the answer", media: str = "application/json"
) -> Responses:
    """Describe the answer of a route.

    Args:
        example: an answer, as for `schema_of`.
        status: its HTTP status; "default" for all statuses that aren't described.
        says: what the answer is.
        media: its type.
    """
    return {status: {"description": says, "content": {media: {"schema": schema_of(example)}}}}
