"""What a run does, and how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import nn

from bertie.tasks.task import Task
from bertie.training.feed import Progress
from bertie.training.loop import StepBatches
from bertie.training.optimizer import frozen_digest
from bertie.training.schedule import RunLength
from bertie.training.settings import OptimizerSettings, ScheduleSettings, TrainingSettings


@dataclass(frozen=True, eq=False)
class RunSpec:
    """The model, task, data and settings of a run."""

    model: nn.Module
    task: Task
    feed: Callable[[Progress, dict[str, Any]], Iterator[StepBatches]]
    """Yields draws without end, starting from a state."""
    horizon: RunLength
    peak: float
    """Learning rate at the end of the warm-up."""
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    training: TrainingSettings
    precision: Literal["fp32", "bf16"]
    device: torch.device
    seed: int
    evaluate: Callable[[Mapping[str, Any]], dict[str, float]] | None = None
    """(state of the feed) -> figures on the dev set."""
    watch: Callable[[Mapping[str, Any], float], str] = lambda record, done: ""
    """(logged line, share of the run that is done) -> warning, or ""."""
    keep: float = 0.0
    """Share of the first weights in the weights that are evaluated and saved."""
    epoch_steps: int | None = None
    """Steps of an epoch of the training table; None for a corpus, whose epochs differ in length."""

    @cached_property
    def frozen(self) -> str:
        """Digest of the frozen weights, which are in no checkpoint."""
        return frozen_digest(self.model)


@dataclass
class RunState:
    """The state of a run."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """Time of earlier processes; after the run, of the whole run."""
    feed: dict[str, Any] = field(default_factory=dict)
    window: list[dict[str, float]] = field(default_factory=list)
    """Figures of the steps since the last logged step."""
    timed_tokens: int = 0
    timed_seconds: float = 0.0
    """Tokens and time from which the next line's tokens per second are counted, without evaluations and saves."""
    chosen: dict[str, Any] = field(default_factory=dict)
    """Decisions by dev scores and the processes' shares of waiting, for the run's figures."""


class Clock:
    """Counts the seconds of the whole run, including earlier processes."""

    def __init__(self, before: float) -> None:
        self._before, self._start = before, time.monotonic()

    def __call__(self) -> float:
        """Return the seconds."""
        return self._before + time.monotonic() - self._start
