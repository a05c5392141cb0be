"""The one loop, a generator: forward, backward, clip, step, yield.

Logging, evaluating, saving and stopping are plain `if`s around it (`run.py`); there are no callbacks. Every term of
the loss is divided once, by its count over all micro-batches of the step, whichever process computes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn

from bertie.batch import Batch
from bertie.errors import DataError
from bertie.ops.dropout.op import Noise, Place
from bertie.optimizers.optimizer import Optimizer
from bertie.tasks.task import Task
from bertie.training.optimizer import clip, total_norm
from bertie.training.parallel import SOLO, Group, merged
from bertie.training.precision import compute


@dataclass(frozen=True)
class StepBatches:
    """One process's micro-batches of a step, and the state of the feed after the step."""

    batches: list[Batch]
    """In the order of the step's batch; empty if the process has nothing to compute."""
    state: dict[str, Any] = field(default_factory=dict)
    """What the feed needs to continue from here."""
    origin: str = ""
    """Names the data for an error message ("epoch 2, batch 17")."""
    place: Place | None = None
    """Place of the first micro-batch in the step's batch, if other processes have parts of it."""
    tokens: int | None = None
    """Tokens of the whole batch, if other processes have parts of it."""

    @property
    def num_tokens(self) -> int:
        """Tokens of the step, of all processes."""
        return sum(batch.num_tokens for batch in self.batches) if self.tokens is None else self.tokens


@dataclass(frozen=True)
class Step:
    """The result of one update."""

    number: int
    """Number of updates done, including this one."""
    tokens: int
    """Tokens of this step."""
    learning_rate: float
    gradient_norm: float
    """Global norm before clipping."""
    figures: dict[str, float]
    """Means of the loss, of a `<term>_loss` for each term if there are several, and of the task's figures."""
    state: dict[str, Any]
    """State of the feed after this step."""
    notes: list[Any] = field(default_factory=list)
    """What each process said with `note`."""


def train(
    model: nn.Module,
    task: Task,
    draws: Iterable[StepBatches],
    *,
    optimizer: Optimizer,
    rate: Callable[[int], float],
    clip_norm: float,
    precision: Literal["fp32", "bf16"],
    device: torch.device,
    seed: int,
    start: int = 0,
    group: Group = SOLO,
    note: Callable[[], Any] = lambda: None,
) -> Iterator[Step]:
    """Update `model` once per draw.

    Args:
        model: changed in place; put into training mode before each step.
        task: computes the loss.
        draws: the micro-batches of each step.
        optimizer: its learning rate is set before each update.
        rate: learning rate of step n, counted from 0. A parameter group with a `scale` gets that share of it.
        clip_norm: largest global gradient norm; 0 for no clipping.
        precision: number format of the matrix products.
        device: where the batches go.
        seed: decides the dropout.
        start: number of steps done before.
        group: the processes that share each step.
        note: returns what this process tells the others in each step, as a value that JSON can hold.

    Yields:
        One `Step` after each update.

    Raises:
        DataError: the loss or gradient isn't finite. That step didn't change the weights.
    """
    for number, draw in enumerate(draws, start):
        model.train()
        group.enter("computing", number)
        counts = total_counts(group.exchange(_counts(task, draw.batches)))
        sums = _accumulate(model, task, draw, counts, number=number, precision=precision, device=device, seed=seed)
        written = {name: (repr(value), repr(count)) for name, (value, count) in sums.items()}
        messages = group.exchange([written, note()], ends_step=True)
        group.sum_gradients(model)
        sums = merged(figures for figures, _ in messages)
        figures = {name: value / (count or 1.0) for name, (value, count) in sums.items()}
        gradients = [value.grad for value in model.parameters() if value.grad is not None]
        norm = total_norm(gradients)
        if not math.isfinite(figures["loss"]) or not math.isfinite(norm):
            model.zero_grad()
            raise DataError(
                f"step {number + 1}: loss {figures['loss']}, gradient norm {norm}; nothing was updated. "
                f"The data are {draw.origin or 'unnamed'}; try a lower learning rate or --precision fp32"
            )
        learning_rate = rate(number)
        for each in optimizer.param_groups:
            each["lr"] = learning_rate * each.get("scale", 1.0)
        clip(gradients, optimizer, norm, most=clip_norm)
        with compute(precision, device):  # for Muon's products; the rest of an update is elementwise, in fp32
            optimizer.step()
        model.zero_grad()
        yield Step(
            number + 1, draw.num_tokens, learning_rate, norm, figures, draw.state, [said for _, said in messages]
        )


def _counts(task: Task, batches: Iterable[Batch]) -> dict[str, float]:
    """Add up the counts of the loss terms."""
    return total_counts(task.counts(batch) for batch in batches)


def total_counts(each: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Add up counts by name. They are whole numbers, so the order doesn't matter."""
    counts: dict[str, float] = {}
    for some in each:
        for name, count in some.items():
            counts[name] = counts.get(name, 0.0) + count
    return counts


def _accumulate(
    model: nn.Module,
    task: Task,
    draw: StepBatches,
    counts: Mapping[str, float],
    *,
    number: int,
    precision: Literal["fp32", "bf16"],
    device: torch.device,
    seed: int,
) -> dict[str, tuple[float, float]]:
    """Add up the gradients of this process's micro-batches and return the sum and the count of each figure.

    Each term of the loss is divided by its count over all processes.
    """
    sums: dict[str, tuple[float, float]] = {}

    def add(name: str, value: float, count: float) -> None:
        before = sums.get(name, (0.0, 0.0))
        sums[name] = (before[0] + value, before[1] + count)

    for batch, place in _places(draw):
        moved = batch.to(device)
        with compute(precision, device):
            loss = task.loss(model(moved, Noise(seed, number, place=place)), moved)
            total = loss.total(counts)
        total.backward()  # type: ignore[no-untyped-call]
        add("loss", float(total.detach()), 0.0)  # divided already
        if len(loss.terms) > 1:
            for name, term in loss.terms.items():
                add(f"{name}_loss", float(term.sum.detach()), term.count)
        for name, (value, many) in loss.figures.items():
            if (size := float(many)) > 0.0:  # without a count there is no mean
                add(name, float(value), size)
    return sums


def _places(draw: StepBatches) -> Iterator[tuple[Batch, Place]]:
    """Yield each micro-batch with its place in the step, by which dropout is drawn."""
    place = draw.place or Place(longest=longest_of(draw.batches))
    tokens, sequences, target_tokens = place.tokens, place.sequences, place.target_tokens
    for batch in draw.batches:
        yield batch, Place(tokens, sequences, place.longest, target_tokens)
        tokens, sequences = tokens + batch.num_tokens, sequences + len(batch)
        target_tokens += 0 if batch.target is None else batch.target.num_tokens


def longest_of(batches: Iterable[Batch]) -> int:
    """Return the tokens of the longest sequence, those of a decoder's side included."""
    sides = [side for batch in batches for side in (batch, batch.target) if side is not None]
    return max((side.max_length for side in sides), default=0)
