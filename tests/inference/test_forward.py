"""Running a stream through a model: windows, shares, budgets, numbers in errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertie.batch import Batch
from bertie.errors import DataError
from bertie.inference import forward as room
from bertie.inference.forward import forward
from bertie.tasks.classification import Classification
from bertie.tasks.task import TaskModel, Text

TASK = Classification(labels=("bad", "good"), max_length=30)


class Counted:
    """A task that makes several sequences of an item: "3 1" is one of 3 tokens and one of 1."""

    def encode(self, items: list[str], tokenizer: Any, keys: Any = None) -> Batch:
        lengths = [[int(word) for word in item.split()] for item in items]
        flat = [length for item in lengths for length in item]
        rows = np.repeat(np.arange(len(items)), [len(item) for item in lengths])
        tokens = np.repeat(np.arange(len(flat)), flat)
        return Batch.pack(tokens, np.zeros_like(tokens), np.cumsum([0, *flat]), rows=rows)


class Silent(torch.nn.Module):
    """A model that says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, batch: Batch) -> None:
        return None


ITEMS = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=12)


@given(ITEMS, st.integers(1, 40))
def test_all_sequences_of_an_item_stay_together(lengths: list[list[int]], max_tokens: int) -> None:
    items = [" ".join(map(str, item)) for item in lengths]
    task: Any = Counted()
    seen, sizes = [], []
    for part in forward(Silent(), task, items, None, max_tokens=max_tokens):  # type: ignore[arg-type]
        assert part.items == [items[number] for number in part.numbers]
        assert part.batch.num_tokens <= max_tokens or len(part.items) == 1
        found = [part.batch.lengths[part.batch.rows == row].tolist() for row in range(len(part.items))]
        assert found == [lengths[number] for number in part.numbers]
        assert bool((part.batch.rows.diff() >= 0).all())
        seen += part.numbers
        sizes += [sum(lengths[number]) for number in part.numbers]
    assert sorted(seen) == list(range(len(items)))
    assert sizes == sorted(sizes, reverse=True)


def test_a_stream_is_read_a_window_at_a_time(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "WINDOW_ITEMS", 4)
    monkeypatch.setattr(room, "WINDOW_CHARACTERS", 30)
    taken: list[int] = []

    def endless() -> Iterator[Any]:
        while True:
            taken.append(len(taken))
            yield "cat" if len(taken) < 9 else ("x" * 20, "y" * 20)

    parts = forward(build_model(TASK).eval(), TASK, endless(), tiny_tokenizer)
    assert next(parts).numbers == [0, 1, 2, 3] and len(taken) == 4
    assert next(parts).numbers == [4, 5, 6, 7] and len(taken) == 8
    assert next(parts).numbers == [8] and len(taken) == 9  # characters, not items, close this window


def test_errors_name_the_place_in_the_stream(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "WINDOW_ITEMS", 4)
    model = build_model(TASK).eval()

    def run(bad: Any) -> None:
        list(forward(model, TASK, [*["fine"] * 6, bad], tiny_tokenizer))

    with pytest.raises(DataError, match=r"^text 7 is 5; give a string"):
        run(5)
    with pytest.raises(DataError, match=r"^text 7 holds a lone surrogate"):
        run("a\ud800")
    with pytest.raises(DataError, match=r"^text 7 \(line 12\) holds a lone surrogate"):
        run(Text("a\udfff", line=12))
    with pytest.raises(DataError, match=r"^text 7 holds a lone surrogate"):
        run(("fine", "b\udc00"))


def test_outputs_are_those_of_the_model(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    model = build_model(TASK).eval()
    (part,) = forward(model, TASK, ["the cat", "a dog sat"], tiny_tokenizer)
    assert part.numbers == [1, 0] and part.outputs.is_inference()
    with torch.inference_mode():
        assert torch.equal(model(TASK.encode(["a dog sat", "the cat"], tiny_tokenizer)), part.outputs)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_outputs_that_are_no_numbers_are_no_predictions(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, value: float
) -> None:
    model = build_model(TASK).eval()
    list(forward(model, TASK, ["the cat"], tiny_tokenizer))
    with torch.no_grad():
        next(model.head.parameters()).fill_(value)
    with pytest.raises(DataError, match="outputs are NaN or infinite"):
        list(forward(model, TASK, ["the cat"], tiny_tokenizer))
