"""Run a model over a stream of items, in batches of limited tokens and of items of similar length.

The task encodes a window of items at once, and the sequences are then divided into batches. So each text is tokenized
once, and a batch equals bit for bit the one that training would see. `predictor.py` and `evaluate.py` use the outputs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertie.batch import Batch
from bertie.errors import DataError
from bertie.inference.network import device_of, placed, without_gradients
from bertie.nn.device import give_memory_back
from bertie.tasks.task import Keys, Task
from bertie.tokenizer.tokenizer import Tokenizer

MAX_TOKENS = 4096  # the memory for activations is proportional to it
# Maximum of a window: enough items of similar length for a batch, but few enough to hold in memory.
WINDOW_ITEMS = 4096
WINDOW_CHARACTERS = 1 << 20
# Memory is returned to the system once in so many tokens. Doing it after every batch would cost a tenth of the time,
# because the next batch would have to ask the system for memory again.
_TRIM_TOKENS = 8 * MAX_TOKENS


@dataclass(frozen=True, eq=False)
class Part:
    """A batch with its outputs."""

    numbers: list[int]
    """Indices of its items in the stream, from 0."""
    items: list[Any]
    batch: Batch
    """On the model's device. Its `rows` are indices of `items`."""
    outputs: Any
    """Outputs of the task's head."""


def forward(
    model: Any,
    task: Task,
    items: Iterable[Any],
    tokenizer: Tokenizer,
    *,
    max_tokens: int = MAX_TOKENS,
    draw_keys: Callable[[range], Keys] | None = None,
) -> Iterator[Part]:
    """Encode and run items, window by window, the longest items of a window first.

    Args:
        model: a network in evaluation mode, or the graph of an exported model.
        task: encodes the items.
        items: any number; one window of some thousand items is in memory at a time.
        tokenizer: of the model.
        max_tokens: maximum number of tokens in a batch. A longer item is a batch by itself.
        draw_keys: returns the random streams that corrupt the items of the given numbers. None: no corruption.

    Yields:
        Batches that hold every item once. Outputs of a network in torch are inference tensors, for use under
        `without_gradients`; those of a graph are arrays.

    Raises:
        DataError: an item can't be encoded (the message names its number in the stream), or outputs are not finite.
    """
    device = device_of(model)
    on_cpu = device is None or device.type == "cpu"
    done = untrimmed = 0
    for window in _windows(items):
        numbers = range(done, done + len(window))
        with numbered(numbers, window):
            whole = task.encode(window, tokenizer, None if draw_keys is None else draw_keys(numbers))
        for indices, share in _shares(whole, len(window), max_tokens):
            batch = placed(share, model)
            untrimmed += batch.num_tokens
            if on_cpu and untrimmed >= _TRIM_TOKENS:
                give_memory_back()
                untrimmed = 0
            with without_gradients(model):
                outputs = _outputs(model, batch, max_tokens)
            _check_finite(outputs)
            yield Part([done + index for index in indices], [window[index] for index in indices], batch, outputs)
        done += len(window)


def _outputs(model: Any, batch: Batch, max_tokens: int) -> Any:
    """Run the model. An item with more than `max_tokens` tokens goes through the encoder in parts."""
    if batch.num_tokens <= max_tokens or getattr(model, "in_one", True):  # a graph divides the tokens itself
        return model(batch)
    import torch

    parts = batch.split(max_tokens, whole_items=False)
    if getattr(model.head, "token_by_token", False):  # then the large hidden vectors of a long text need not be kept
        outputs = model(parts[0])
        whole, done = outputs.new_empty(batch.num_tokens, *outputs.shape[1:]), 0
        for number, part in enumerate(parts):
            whole[done : done + part.num_tokens] = model(part) if number else outputs
            done += part.num_tokens
        return whole
    hidden = torch.cat([model.encoder(part) for part in parts])  # (T, H)
    return model.head(hidden, batch, None)


def _check_finite(outputs: Any) -> None:
    """Check that outputs hold no NaN or plus infinity, as scores computed from them would look valid.

    Minus infinity is allowed: heads give it to choices that are ruled out.

    Raises:
        DataError: an output is NaN or plus infinity.
    """
    if isinstance(outputs, Mapping):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        for part in outputs:
            _check_finite(part)
    elif _is_floating(outputs) and not bool((outputs < float("inf")).all()):
        raise DataError(
            "the model's outputs are NaN or infinite: its weights are too large for this precision, or training "
            "damaged them; try --precision exact, or an earlier checkpoint"
        )


def _is_floating(values: Any) -> bool:
    """Tell whether these are numbers with a point, in numpy or torch."""
    if isinstance(values, np.ndarray):
        return bool(values.dtype.kind == "f")
    floating: bool = hasattr(values, "is_floating_point") and values.is_floating_point()
    return floating


@contextmanager
def numbered(numbers: Sequence[int], items: Sequence[Any]) -> Iterator[None]:
    """Renumber errors: "text 3" of a batch becomes its number in the stream, with its line in the file if known."""
    try:
        yield
    except DataError as error:
        match = re.match(r"text (\d+)\b", str(error))
        if match is None or int(match[1]) > len(numbers):
            raise
        index = int(match[1]) - 1
        line = getattr(items[index], "line", 0)
        where = f"text {numbers[index] + 1}{f' (line {line})' if line else ''}"
        raise DataError(f"{where}{str(error)[match.end() :]}") from error


def _windows(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Split a stream into lists of at most `WINDOW_ITEMS` items and about `WINDOW_CHARACTERS` characters."""
    window: list[Any] = []
    characters = 0
    for item in items:
        window.append(item)
        characters += _characters(item)
        if len(window) >= WINDOW_ITEMS or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


def _characters(item: Any) -> int:
    """Count the characters of a text, of a tuple of texts, or of an object's texts."""
    if isinstance(item, str):
        return len(item)
    parts = item if isinstance(item, tuple) else vars(item).values() if hasattr(item, "__dict__") else ()
    return sum(_characters(part) for part in parts if isinstance(part, str | tuple))


def _shares(whole: Batch, num_items: int, max_tokens: int) -> Iterator[tuple[list[int], Batch]]:
    """Divide a window's sequences into batches, longest items first. All sequences of an item stay together."""
    if num_items == 1:
        yield [0], whole
        return
    rows = whole.arrays.rows
    sizes = np.bincount(rows, weights=whole.arrays.lengths, minlength=num_items)
    by_item = np.argsort(rows, kind="stable")
    edges = np.searchsorted(rows[by_item], np.arange(num_items + 1))

    def share(items: list[int]) -> tuple[list[int], Batch]:
        sequences = [by_item[edges[item] : edges[item + 1]] for item in items]
        return items, whole.select(np.concatenate(sequences))

    group: list[int] = []
    room = max_tokens
    for item in np.argsort(-sizes, kind="stable").tolist():
        if group and sizes[item] > room:
            yield share(group)
            group, room = [], max_tokens
        group.append(item)
        room -= int(sizes[item])
    yield share(group)
