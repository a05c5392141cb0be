"""Settings of training, free of torch so that the command line can read them without loading it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from bertie.errors import SettingsError


@dataclass(frozen=True)
class OptimizerSettings:
    """How weights are updated."""

    name: Literal["auto", "adamw", "bert_adam", "lamb", "muon", "stable_adamw"] = "auto"
    """auto: muon for random weights that learn to guess tokens from a corpus, adamw for all else; adamw; bert_adam: the
    paper's form, without bias correction; lamb: steps by the size of each tensor, for large batches and rates about ten
    times AdamW's; muon: orthogonal steps for the matrices of blocks, AdamW for the rest, at one to six times AdamW's
    rate; stable_adamw: AdamW whose steps are cut where gradients jump, to be run with clip_norm 0."""
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
    layer_decay: float = 1.0
    """What the rate is multiplied with for each layer further down: the head has the whole rate, the top block this
    share of it, the embeddings the smallest; 1: all alike."""
    momentum: float = 0.95
    """Of muon: decay of the sum of gradients."""
    largest_norm: float = 0.0
    """Of lamb: largest norm of a tensor's weights that its step grows with; 0: no bound."""
    ema: float = 0.0
    """Decay of a mean of the weights over the steps, which is then what is evaluated and written in place of the last
    weights; early on the mean is over fewer steps. 0: none."""

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2", "momentum", "ema"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise SettingsError(f"optimizer.{name} must be at least 0 and below 1; got {getattr(self, name)}")
        if self.largest_norm < 0.0:
            raise SettingsError(f"optimizer.largest_norm must be at least 0; got {self.largest_norm}")
        if not 0.0 < self.layer_decay <= 1.0:
            raise SettingsError(f"optimizer.layer_decay must be above 0 and at most 1; got {self.layer_decay}")

    def chosen(self, name: Literal["adamw", "muon"]) -> Self:
        """Return the settings with an optimizer in place of auto; those that name one are returned as they are."""
        return replace(self, name=name) if self.name == "auto" else self


PEAKS = {"adamw": 1e-3, "bert_adam": 1e-3, "lamb": 1e-2, "muon": 4e-3, "stable_adamw": 1e-3}
"""Peak rate of each optimizer in pre-training when none is given: for AdamW, LAMB and Muon the best on BERT-mini
(docs/measured/studies.md), AdamW's for the others."""
PEAK_FROM_NEIGHBOURS = 6e-3
"""Muon's where the weights begin at neighbours, which bear higher rates."""


@dataclass(frozen=True)
class ScheduleSettings:
    """The learning rate over a run."""

    warmup: float = 0.1
    """Share of the run in which the rate climbs from 0 to the peak."""
    shape: Literal["linear", "constant", "cosine", "trapezoid"] = "linear"
    """linear falls to 0 at the end of the run; constant stays at the peak after the warm-up; cosine falls to 0 along
    half a wave; trapezoid stays at the peak and falls to 0 in the last part of the run (WSD)."""
    decay: float = 0.2
    """Of trapezoid: share of the run in which the rate falls."""
    decay_shape: Literal["linear", "one_minus_sqrt"] = "linear"
    """Of trapezoid: along a line, or as 1 - sqrt(x) of the part's share x done, which falls faster at first."""
    batch_warmup: float = 0.0
    """Of pretrain: share of the run in which the batch grows from an eighth of batch_tokens to all of it; 0: none."""
    random_positions: bool | None = None
    """Of pretrain: whether the sequences of stages that are shorter than the longest begin at random positions, so that
    the positions of longer ones are learned too. When not given: yes, where the encoder learns positions at all."""

    def __post_init__(self) -> None:
        for name in ("warmup", "decay", "batch_warmup"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SettingsError(f"schedule.{name} is a share of the run, 0 to 1; got {getattr(self, name)}")
        if self.shape == "trapezoid" and self.warmup + self.decay > 1.0:
            raise SettingsError(
                f"schedule.warmup {self.warmup} and schedule.decay {self.decay} are more than the whole run together"
            )


@dataclass(frozen=True)
class TrainingSettings:
    """How a run is logged, evaluated and saved."""

    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    evaluate_every: int | None = None
    """Steps between two evaluations on the dev data; at the end only when None."""
    evaluate_each_epoch: bool = False
    """Evaluate after each pass over the training table."""
    best: bool = False
    """Keep the weights of the evaluation with the best score on dev; the last ones otherwise."""
    patience: int | None = None
    """Evaluations in a row without a better score after which the run ends early; never when None."""
    save_every: int = 200
    """Steps between two checkpoints; 0: at the end only."""
    keep: int | None = None
    """Checkpoints kept, also after the run; when not given two on the way, and none once the run is finished."""
    micro_tokens: int = 16384
    """Tokens of one forward pass at most; a larger update is split and its gradients are added."""

    def __post_init__(self) -> None:
        least = {"log_every": 1, "save_every": 0, "keep": 1, "micro_tokens": 1, "evaluate_every": 1, "patience": 1}
        for name, lowest in least.items():
            value = getattr(self, name)
            if value is not None and value < lowest:
                raise SettingsError(f"training.{name} must be at least {lowest}; got {value}")
        if self.selects and not self.watches:
            raise SettingsError(
                f"training.{'best' if self.best else 'patience'} compares evaluations of one run; say how often with "
                "--training.evaluate-every STEPS or --training.evaluate-each-epoch"
            )

    @property
    def watches(self) -> bool:
        """Whether dev is measured along the way, and not at the end only."""
        return self.evaluate_every is not None or self.evaluate_each_epoch

    @property
    def selects(self) -> bool:
        """Whether dev scores decide which weights are kept or when the run ends."""
        return self.best or self.patience is not None


@dataclass(frozen=True)
class LoraSettings:
    """Small updates that are learned in place of the encoder's matrices (LoRA), and added to them when written."""

    rank: int = 0
    """Rank of each matrix's update; 0: no LoRA, all weights learn."""
    alpha: float = 16.0
    """Updates are multiplied with alpha / rank."""
    targets: Literal["all", "attention", "feedforward"] = "all"
    """Which matrices of a block get one."""

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise SettingsError(f"lora.rank must be at least 0; got {self.rank}")
        if not self.alpha > 0.0:
            raise SettingsError(f"lora.alpha must be above 0; got {self.alpha}")


@dataclass(frozen=True)
class DistillSettings:
    """A teacher, a finished model with the same vocabulary that is learned from beside the task's own targets."""

    teacher: str | None = None
    """Folder or hub id of the teacher; none when not given."""
    logits: float = 0.5
    """Weight of the distance from its guesses."""
    task: float = 0.5
    """What the task's own loss is multiplied with."""
    temperature: float = 2.0
    """Guesses of both are compared as softmax(scores / temperature); above 1, unlikely answers count for more."""
    hidden: float = 0.0
    """Weight of the squared distance from its hidden vectors, layer by layer."""
    attention: float = 0.0
    """Weight of the distance from the relations in its last layer's attention."""

    def __post_init__(self) -> None:
        if self.teacher is None:
            for name in ("logits", "task", "temperature", "hidden", "attention"):
                if getattr(self, name) != getattr(DistillSettings, name):
                    raise SettingsError(f"distill.{name} {getattr(self, name)} has no effect without distill.teacher")
        for name in ("logits", "task", "hidden", "attention"):
            if getattr(self, name) < 0.0:
                raise SettingsError(f"distill.{name} must be at least 0; got {getattr(self, name)}")
        if not self.temperature > 0.0:
            raise SettingsError(f"distill.temperature must be above 0; got {self.temperature}")
        if not self.logits + self.hidden + self.attention > 0.0:
            raise SettingsError("distill.logits, .hidden and .attention are all 0: nothing is learned from the teacher")
