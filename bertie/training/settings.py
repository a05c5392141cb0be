"""Settings of training. This file doesn't import torch, so the command line can read the settings quickly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from typing_extensions import Doc

from bertie import registry
from bertie.errors import SettingsError
from bertie.schedules.schedule import Schedule, schedule_class
from bertie.schedules.trapezoid import DECAY_SHAPES
from bertie.training.duration import parse_duration

if TYPE_CHECKING:
    OptimizerName = str
    Shape = str
    DecayShape = str
    TrackerName = str
else:  # a file in one of these folders is a choice
    OptimizerName = Literal[("auto", *registry.choices("optimizers"))]
    Shape = Literal[tuple(registry.choices("schedules"))]
    DecayShape = Literal[tuple(DECAY_SHAPES)]
    TrackerName = Literal[tuple(registry.choices("trackers"))]


def _summaries(folder: str) -> str:
    """Return what each choice of a folder does, as help for its flag."""
    return "; ".join(f"{name}: {registry.summary(folder, name)}" for name in registry.choices(folder))


_AUTO = "auto: muon for random weights that learn to predict tokens of a corpus, adamw otherwise"


@dataclass(frozen=True)
class OptimizerSettings:
    """How weights are updated."""

    name: Annotated[OptimizerName, Doc(f"{_AUTO}; {_summaries('optimizers')}.")] = "auto"
    """A file of bertie/optimizers, or auto."""
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
    """Factor of the learning rate from each layer to the next lower one: the head has the full rate, the top block this
    share of it, the embeddings the smallest; 1: the same rate for all."""
    momentum: float = 0.95
    """For muon and normuon: decay of the sum of gradients, and with normuon of the mean of each row's squares."""
    largest_norm: float = 0.0
    """For lamb: norm of a tensor's weights above which its step no longer grows; 0: no bound."""
    ema: float = 0.0
    """Decay of a running mean of the weights (EMA), which is evaluated and saved in place of the last weights; early in
    the run the mean is over fewer steps. 0: no mean."""

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2", "momentum", "ema"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise SettingsError(f"optimizer.{name} must be at least 0 and below 1; got {getattr(self, name)}")
        if self.largest_norm < 0.0:
            raise SettingsError(f"optimizer.largest_norm must be at least 0; got {self.largest_norm}")
        if not 0.0 < self.layer_decay <= 1.0:
            raise SettingsError(f"optimizer.layer_decay must be above 0 and at most 1; got {self.layer_decay}")
        if self.name != "auto":
            _refuse_unused(self, "optimizer", self.name, ("beta1", "beta2", "epsilon", "momentum", "largest_norm"))

    def chosen(self, name: Literal["adamw", "muon"]) -> Self:
        """Return the settings with `name` in place of auto. If they name an optimizer, return them unchanged.

        Raises:
            SettingsError: a setting was given that the chosen optimizer doesn't use.
        """
        return replace(self, name=name) if self.name == "auto" else self


@dataclass(frozen=True)
class ScheduleSettings:
    """The learning rate over a run."""

    warmup: float = 0.1
    """Share of the run in which the rate rises from 0 to the peak."""
    shape: Annotated[Shape, Doc(f"{_summaries('schedules')}.")] = "linear"
    """A file of bertie/schedules."""
    decay: float = 0.2
    """For trapezoid: share of the run in which the rate falls."""
    decay_shape: DecayShape = "linear"
    """For trapezoid: linear, or one_minus_sqrt: 1 - sqrt(x) at share x of the decay, which falls faster at first."""
    batch_warmup: float = 0.0
    """For pretrain: share of the run in which the batch grows from an eighth of batch_tokens to all of it; 0: none."""
    random_positions: bool | None = None
    """For pretrain: whether sequences of stages shorter than the longest begin at random positions, so that the later
    positions are learned too. When not given: yes, if the encoder has a table of learned positions."""

    def __post_init__(self) -> None:
        for name in ("warmup", "decay", "batch_warmup"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SettingsError(f"schedule.{name} is a share of the run, 0 to 1; got {getattr(self, name)}")
        _refuse_unused(self, "schedule", self.shape, ("decay", "decay_shape"))
        _ = self.course  # raises if they don't fit together

    @property
    def course(self) -> Schedule:
        """The course of the rate after the warm-up."""
        kind = schedule_class(self.shape)
        return kind(**{name: getattr(self, name) for name in registry.settings_used(kind)})


def _refuse_unused(settings: Any, group: Literal["optimizer", "schedule"], choice: str, special: Iterable[str]) -> None:
    """Refuse settings that aren't their defaults and that the choice doesn't use.

    The file of the choice is imported only if there is such a setting, because an optimizer imports torch.

    Args:
        settings: the settings of the group.
        group: the group's name in a settings file; the folder of its choices is the plural.
        choice: a file of that folder.
        special: the settings that not every choice uses.

    Raises:
        SettingsError: a setting has no effect; the message says which choices use it.
    """
    defaults = {field.name: field.default for field in fields(settings)}
    for name in special:
        value = getattr(settings, name)
        if value != defaults[name] and name not in _used(group, choice):
            users = [other for other in registry.choices(f"{group}s") if name in _used(group, other)]
            raise SettingsError(
                f"{group}.{name} {value} has no effect with {choice}, only with {' and '.join(users)}; leave it out"
            )


def _used(group: str, choice: str) -> list[str]:
    """List the settings of a group that a choice uses."""
    return registry.settings_used(getattr(registry.load(f"{group}s", choice), group.upper()))


def _seconds(name: str, text: str) -> float:
    """Parse a duration of the group `training`."""
    try:
        return parse_duration(text)
    except SettingsError as error:
        raise SettingsError(f"training.{name}: {error}") from error


@dataclass(frozen=True)
class TrainingSettings:
    """How a run is logged, evaluated and saved."""

    log_every: int = 10
    """Steps between two lines of metrics.jsonl."""
    evaluate_every: int | None = None
    """Steps between two evaluations on the dev set; when not given, only at the end."""
    evaluate_each_epoch: bool = False
    """Evaluate after each epoch of the training table."""
    best: bool = False
    """Keep the weights with the best dev score instead of the last ones."""
    patience: int | None = None
    """End the run early after so many evaluations in a row without a better score; when not given, never."""
    save_every: int | str = 200
    """Steps between two checkpoints, or a time such as 10m; 0: only at the end."""
    keep: int | None = None
    """Checkpoints to keep, also after the run; when not given, two during the run and none afterwards."""
    micro_tokens: int = 16384
    """The most tokens of a forward pass; a larger update is split and its gradients are added."""
    stall_after: str = "10m"
    """With several processes: time after which one that stands still is named and the run ends."""

    def __post_init__(self) -> None:
        if isinstance(self.save_every, str) and self.save_every.isdecimal():
            object.__setattr__(self, "save_every", int(self.save_every))
        for name, text in (("save_every", self.save_every), ("stall_after", self.stall_after)):
            if isinstance(text, str) and not _seconds(name, text) > 0.0:
                raise SettingsError(f"training.{name} must be longer than no time; got {text}")
        least = {"log_every": 1, "save_every": 0, "keep": 1, "micro_tokens": 1, "evaluate_every": 1, "patience": 1}
        for name, lowest in least.items():
            value = getattr(self, name)
            if isinstance(value, int) and value < lowest:
                raise SettingsError(f"training.{name} must be at least {lowest}; got {value}")
        if self.selects and not self.watches:
            raise SettingsError(
                f"training.{'best' if self.best else 'patience'} compares evaluations during a run; choose how often "
                "with --training.evaluate-every STEPS or --training.evaluate-each-epoch"
            )

    @property
    def save_seconds(self) -> float | None:
        """Seconds between two checkpoints; None if steps are counted."""
        return _seconds("save_every", self.save_every) if isinstance(self.save_every, str) else None

    @property
    def stall_seconds(self) -> float:
        """`stall_after` in seconds."""
        return _seconds("stall_after", self.stall_after)

    @property
    def watches(self) -> bool:
        """Whether the dev set is measured during the run, and not only at the end."""
        return self.evaluate_every is not None or self.evaluate_each_epoch

    @property
    def selects(self) -> bool:
        """Whether dev scores decide which weights are kept or when the run ends."""
        return self.best or self.patience is not None


@dataclass(frozen=True)
class CardSettings:
    """What the model card says that only you know."""

    license: str | None = None
    """The hub's id of the model's licence, such as apache-2.0; when not given, the card names no licence."""
    language: tuple[str, ...] = ()
    """Languages of the text, such as en or zh; when not given, the card names none."""

    def __post_init__(self) -> None:
        if self.license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", self.license):
            raise SettingsError(
                f"card.license {self.license!r} is no id of a licence; use one of the hub's, such as apache-2.0, mit, "
                "cc-by-4.0 or other"
            )
        for code in self.language:
            if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", code):
                raise SettingsError(f"card.language {code!r} is no code of a language; use one such as en, zh or pt-BR")


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank updates that are trained instead of the encoder's matrices (LoRA), and merged into them when saved."""

    rank: int = 0
    """Rank of each matrix's update; 0: no LoRA, all weights learn."""
    alpha: float = 16.0
    """Updates are multiplied by alpha / rank."""
    targets: Literal["all", "attention", "feedforward"] = "all"
    """Which matrices of a block get an update."""

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise SettingsError(f"lora.rank must be at least 0; got {self.rank}")
        if not self.alpha > 0.0:
            raise SettingsError(f"lora.alpha must be above 0; got {self.alpha}")


@dataclass(frozen=True)
class DistillSettings:
    """Distillation: learning from a teacher, a finished model with the same vocabulary, in addition to the targets."""

    teacher: str | None = None
    """Folder or hub id of the teacher; when not given, there is no distillation."""
    logits: float = 0.5
    """Weight of the divergence from the teacher's predictions."""
    task: float = 0.5
    """Weight of the task's own loss."""
    temperature: float = 2.0
    """Predictions are compared as softmax(logits / temperature); above 1, unlikely classes count more."""
    hidden: float = 0.0
    """Weight of the squared distance from the teacher's hidden vectors, layer by layer."""
    attention: float = 0.0
    """Weight of the divergence from the attention relations of the teacher's last layer."""

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
            raise SettingsError("distill.logits, .hidden and .attention are all 0: set one of them above 0")
