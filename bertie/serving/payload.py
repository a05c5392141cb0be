"""Read the parts of a request's JSON object, each checked for its type. Every message names the key."""

from __future__ import annotations

from collections.abc import Collection, Mapping, MutableMapping
from typing import Any

from bertie.registry import did_you_mean
from bertie.serving.limits import RequestError

_NAMES = {str: "a string", bool: "true or false", int: "a whole number", float: "a number", list: "a list"}
_NAMES[dict] = "an object"


def object_of(scope: MutableMapping[str, Any]) -> dict[str, Any]:
    """Return the JSON object that the guard read from a request's body.

    Args:
        scope: of the request.

    Raises:
        RequestError: it is another JSON value.
    """
    value = scope["bertie.payload"]
    if not isinstance(value, dict):
        raise wrong("the body must be a JSON object")
    return value


def wrong(message: str) -> RequestError:
    """Return the error for a payload of a wrong form."""
    return RequestError(422, "wrong_payload", message)


def check_keys(values: Mapping[str, Any], known: Collection[str], place: str = "the body") -> None:
    """Check that an object has no other keys than these.

    Raises:
        RequestError: it has.
    """
    for name in values:
        if name not in known:
            raise wrong(f"{place} has the unknown key {name!r:.80}; {did_you_mean(name[:80], known)}")


def part(values: Mapping[str, Any], name: str, kind: type, default: Any = ...) -> Any:
    """Return one part of an object.

    Args:
        values: the object.
        name: the key.
        kind: str, bool, int, float, list or dict. A whole number is a float too.
        default: for an absent key, or null. Without it, the key is required.

    Raises:
        RequestError: the key is missing, or its value has another type.
    """
    value = values.get(name)
    if value is None and default is not ...:
        return default
    if value is None:
        raise wrong(f"the key {name!r} is missing")
    kinds = (int, float) if kind is float else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        raise wrong(f"{name} is {value!r:.60}; it must be {_NAMES[kind]}")
    return value


def strings(values: Mapping[str, Any], name: str, default: Any = ...) -> list[str]:
    """Return a part of an object that is a list of strings.

    Raises:
        RequestError: the key is missing, or its value is something else.
    """
    value = part(values, name, list, default)
    for number, one in enumerate(value or (), 1):
        if not isinstance(one, str):
            raise wrong(f"{name} has {one!r:.60} in place {number}; it must be a list of strings")
    return list(value)
