"""Every task states the kinds of its items, outputs and predictions, and its methods have them."""

from __future__ import annotations

from typing import Any, get_args, get_origin, get_type_hints

import pytest

from bertie import registry
from bertie.items.item import Item
from bertie.tasks._lookup import task_class
from bertie.tasks.task import Task


def types_of(kind: Any) -> tuple[Any, ...]:
    """Return the kinds that a task states, itself or by a base class."""
    origin, given = get_origin(kind) or kind, get_args(kind)
    if origin is Task:
        return given
    base = next(one for one in origin.__orig_bases__ if issubclass(get_origin(one) or one, Task))
    return types_of(base[given] if given else base)


@pytest.mark.parametrize("name", registry.choices("tasks"))
def test_a_task_states_its_types(name: str) -> None:
    kind = task_class(name)
    item, outputs, prediction = types_of(kind)
    assert issubclass(item, Item)
    assert get_type_hints(kind.loss)["outputs"] == outputs
    assert get_type_hints(kind.decode)["return"] == list[prediction]
