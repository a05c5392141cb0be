"""The one loop, a generator: forward, backward, clip, step, yield.

Logging, evaluating, saving and stopping are plain `if`s around it (`run.py`); there are no callbacks. Every term of
the loss is divided once, by its count over all micro-batches of the step, whichever process computes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
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
    """The micro-batches of one step, and the state of the feed after them."""

    batches: list[Batch]
    """Of all processes, in the order of the step's batch."""
    state: dict[str, Any] = field(default_factory=dict)
    """What the feed needs to continue from here."""
    origin: str = ""
    """Names the data for an error message ("epoch 2, batch 17")."""
    owners: tuple[int, ...] = ()
    """The process that computes each micro-batch; empty: process 0 computes all."""


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
        sums = _accumulate(
            model, task, draw, number=number, precision=precision, device=device, seed=seed, rank=group.rank
        )
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
        tokens = sum(batch.num_tokens for batch in draw.batches)
        yield Step(number + 1, tokens, learning_rate, norm, figures, draw.state, [said for _, said in messages])


def _accumulate(
    model: nn.Module,
    task: Task,
    draw: StepBatches,
    *,
    number: int,
    precision: Literal["fp32", "bf16"],
    device: torch.device,
    seed: int,
    rank: int,
) -> dict[str, tuple[float, float]]:
    """Add up the gradients of this process's micro-batches and return the sum and the count of each figure."""
    counts: dict[str, float] = {}
    for batch in draw.batches:
        for name, count in task.counts(batch).items():
            counts[name] = counts.get(name, 0.0) + count
    sums: dict[str, tuple[float, float]] = {}

    def add(name: str, value: float, count: float) -> None:
        before = sums.get(name, (0.0, 0.0))
        sums[name] = (before[0] + value, before[1] + count)

    for (batch, place), owner in zip(_places(draw.batches), draw.owners or [rank] * len(draw.batches), strict=True):
        if owner != rank:
            continue
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


def _places(batches: list[Batch]) -> Iterator[tuple[Batch, Place]]:
    """Yield each micro-batch with its place in the step, by which dropout is drawn."""
    targets = [batch.target for batch in batches if batch.target is not None]
    longest = max((batch.max_length for batch in (*batches, *targets)), default=0)
    tokens, sequences, target_tokens = 0, 0, 0
    for batch in batches:
        yield batch, Place(tokens, sequences, longest, target_tokens)
        tokens, sequences = tokens + batch.num_tokens, sequences + len(batch)
        target_tokens += 0 if batch.target is None else batch.target.num_tokens
