"""Settings of training, free of torch so that the command line can read them without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bertie.errors import SettingsError


@dataclass(frozen=True)
class OptimizerSettings:
    """How weights are updated."""

    name: Literal["adamw", "bert_adam"] = "adamw"
    """adamw, or bert_adam: the paper's form, without bias correction."""
    weight_decay: float = 0.01
    """Decoupled decay of matrices and tables."""
    beta1: float = 0.9
    """Decay of the mean of gradients."""
    beta2: float = 0.999
    """Decay of the mean of their squares."""
    epsilon: float = 1e-6
    """Added to the root in the denominator."""
    clip_norm: float = 1.0
    """Largest global norm of the gradient; 0 switches clipping off."""


@dataclass(frozen=True)
class ScheduleSettings:
    """The learning rate over a run."""

    warmup: float = 0.1
    """Share of the run in which the rate climbs from 0 to the peak."""
    shape: Literal["linear", "constant"] = "linear"
    """linear falls to 0 at the end of the run; constant stays at the peak after the warm-up."""


@dataclass(frozen=True)
class TrainingSettings:
    """How a run is logged, evaluated and saved."""

    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    evaluate_every: int | None = None
    """Steps between two evaluations on the dev data; at the end only when None."""
    save_every: int = 200
    """Steps between two checkpoints; 0: at the end only."""
    keep: int = 2
    """Checkpoints kept."""
    micro_tokens: int = 16384
    """Tokens of one forward pass at most; a larger update is split and its gradients are added."""

    def __post_init__(self) -> None:
        for name, least in (("log_every", 1), ("save_every", 0), ("keep", 1), ("micro_tokens", 1)):
            if getattr(self, name) < least:
                raise SettingsError(f"training.{name} must be at least {least}; got {getattr(self, name)}")
