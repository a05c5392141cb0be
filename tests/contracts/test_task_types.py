"""Every task states the kinds of its items, outputs and predictions, and its methods have them."""

from __future__ import annotations

from typing import Any, ForwardRef, get_args, get_origin, get_type_hints

import pytest
from torch import Tensor

from bertie import registry
from bertie.items.item import Item
from bertie.nn.logits import Logits
from bertie.tasks._lookup import task_class
from bertie.tasks._outputs import ReplacedTokenOutputs
from bertie.tasks.task import Task

NAMES: dict[str, Any] = {"Tensor": Tensor, "Logits": Logits, "ReplacedTokenOutputs": ReplacedTokenOutputs}
"""Types that tasks import for type checkers only, because they need torch."""


def types_of(kind: Any) -> tuple[Any, ...]:
    """Return the kinds that a task states, itself or by a base class."""
    origin, given = get_origin(kind) or kind, get_args(kind)
    if origin is Task:
        return given
    base = next(one for one in origin.__orig_bases__ if issubclass(get_origin(one) or one, Task))
    return types_of(base[given] if given else base)


def resolved(reference: ForwardRef) -> Any:
    """Return the type of a name that a task states as text."""

    def holder() -> None: ...

    holder.__annotations__ = {"outputs": reference.__forward_arg__}
    return get_type_hints(holder, globalns=NAMES)["outputs"]


@pytest.mark.parametrize("name", registry.choices("tasks"))
def test_a_task_states_its_types(name: str) -> None:
    kind = task_class(name)
    item, outputs, prediction = types_of(kind)
    assert issubclass(item, Item)
    if isinstance(outputs, ForwardRef):
        outputs = resolved(outputs)
    assert get_type_hints(kind.loss, localns=NAMES)["outputs"] == outputs
    assert get_type_hints(kind.decode, localns=NAMES)["return"] == list[prediction]
