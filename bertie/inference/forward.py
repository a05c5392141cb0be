"""Run a model over a stream of items, in batches of at most so many tokens and of sequences of like length.

A window of items is encoded at once, by the task itself, and its sequences are then shared out: nothing is tokenised
twice, and a batch for use is bit for bit the batch that learning would see. What becomes of the outputs is decided by
`predictor.py` and `evaluate.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from bertie.batch import Batch
from bertie.errors import DataError
from bertie.nn.device import give_memory_back
from bertie.tasks.task import Keys, Task, TaskModel
from bertie.tokenizer.tokenizer import Tokenizer

MAX_TOKENS = 4096  # twice as many need twice the memory for activations
# A window holds so many items or characters: enough to find neighbours of like length, little enough to keep.
WINDOW_ITEMS = 4096
WINDOW_CHARACTERS = 1 << 20
# Memory is given back once in so many tokens: at every batch it costs a tenth of the time, as what comes next is fresh.
_TRIM_TOKENS = 8 * MAX_TOKENS


@dataclass(frozen=True, eq=False)
class Part:
    """A batch that went through the model."""

    numbers: list[int]
    """Places of its items in the stream, from 0."""
    items: list[Any]
    batch: Batch
    """On the model's device; its `rows` count within `items`."""
    outputs: Any
    """Of the task's head."""


def forward(
    model: nn.Module,
    task: Task,
    items: Iterable[Any],
    tokenizer: Tokenizer,
    *,
    max_tokens: int = MAX_TOKENS,
    draw_keys: Callable[[range], Keys] | None = None,
) -> Iterator[Part]:
    """Encode and run items, window by window, the longest of a window first.

    Args:
        model: in evaluation mode.
        task: encodes the items.
        items: of any number; one window of some thousands is held at a time.
        tokenizer: of the model.
        max_tokens: tokens of a batch at most; an item that has more makes a batch of its own.
        draw_keys: gives the streams of corruption for the items of those numbers; None for no corruption.

    Yields:
        Every item once; outputs are inference tensors, to be used under `torch.inference_mode`.

    Raises:
        DataError: an item that can't be encoded, by its number in the stream.
    """
    device = next(model.parameters()).device
    done = untrimmed = 0
    for window in _windows(items):
        numbers = range(done, done + len(window))
        with numbered(numbers, window):
            whole = task.encode(window, tokenizer, None if draw_keys is None else draw_keys(numbers))
        for places, share in _shares(whole, len(window), max_tokens):
            batch = share.to(device)
            untrimmed += batch.num_tokens
            if device.type == "cpu" and untrimmed >= _TRIM_TOKENS:
                give_memory_back()
                untrimmed = 0
            with torch.inference_mode():
                outputs = _outputs(model, batch, max_tokens)
            _check_finite(outputs)
            yield Part([done + place for place in places], [window[place] for place in places], batch, outputs)
        done += len(window)


def _outputs(model: nn.Module, batch: Batch, max_tokens: int) -> Any:
    """Run the model; an item of more tokens than a batch holds goes through the encoder in parts."""
    if batch.num_tokens <= max_tokens or not isinstance(model, TaskModel):
        return model(batch)
    parts = batch.split(max_tokens, whole_items=False)
    if getattr(model.head, "token_by_token", False):  # hidden states of a very long text are large, its outputs small
        outputs = model(parts[0])
        whole, done = outputs.new_empty(batch.num_tokens, *outputs.shape[1:]), 0
        for number, part in enumerate(parts):
            whole[done : done + part.num_tokens] = model(part) if number else outputs
            done += part.num_tokens
        return whole
    hidden = torch.cat([model.encoder(part) for part in parts])  # (T, H)
    return model.head(hidden, batch, None)


def _check_finite(outputs: Any) -> None:
    """Refuse outputs that are no numbers: scores made of them would look like scores.

    Raises:
        DataError: NaN or plus infinity; minus infinity is what a head writes where nothing may be chosen.
    """
    if isinstance(outputs, Mapping):
        outputs = tuple(outputs.values())
    if isinstance(outputs, tuple | list):
        for part in outputs:
            _check_finite(part)
    elif isinstance(outputs, torch.Tensor) and outputs.is_floating_point() and not bool((outputs < torch.inf).all()):
        raise DataError(
            "the model's outputs are no numbers (NaN or infinite): its weights are too large for this precision, or "
            "were damaged by training; try --precision exact, or an earlier checkpoint"
        )


@contextmanager
def numbered(numbers: Sequence[int], items: Sequence[Any]) -> Iterator[None]:
    """Let an error about "text 3", which counts within a batch, name its place in the stream and its line in a file."""
    try:
        yield
    except DataError as error:
        found = re.match(r"text (\d+)\b", str(error))
        if found is None or int(found[1]) > len(numbers):
            raise
        place = int(found[1]) - 1
        line = getattr(items[place], "line", 0)
        where = f"text {numbers[place] + 1}{f' (line {line})' if line else ''}"
        raise DataError(f"{where}{str(error)[found.end() :]}") from error


def _windows(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Cut a stream into lists of at most `WINDOW_ITEMS` items and about `WINDOW_CHARACTERS` characters."""
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
    """Share a window's sequences out, longest items first, all sequences of an item together."""
    if num_items == 1:
        yield [0], whole
        return
    rows = whole.rows.numpy()
    sizes = np.bincount(rows, weights=whole.lengths.numpy(), minlength=num_items)
    by_item = np.argsort(rows, kind="stable")
    edges = np.searchsorted(rows[by_item], np.arange(num_items + 1))

    def share(items: list[int]) -> tuple[list[int], Batch]:
        sequences = [by_item[edges[item] : edges[item + 1]] for item in items]
        return items, whole.select(torch.from_numpy(np.concatenate(sequences)))

    group: list[int] = []
    room = max_tokens
    for item in np.argsort(-sizes, kind="stable").tolist():
        if group and sizes[item] > room:
            yield share(group)
            group, room = [], max_tokens
        group.append(item)
        room -= int(sizes[item])
    yield share(group)
