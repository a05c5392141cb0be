"""The progress of a run, and the learning rate at each point of it: pure functions.

A run ends after a number of steps, tokens or seconds. The rate is a function of the fraction that is done. So it decays
to zero by the clock if the budget is in minutes, just as it does by counting if the budget is in steps.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from bertie.errors import SettingsError
from bertie.training.settings import ScheduleSettings

BATCH_PARTS = 8
"""Number of equal parts of a full batch. A growing batch begins with one of them."""


def learning_rate(fraction: float, peak: float, settings: ScheduleSettings) -> float:
    """Return the learning rate at a fraction (0 to 1) of the run: it rises to the peak, and follows its schedule."""
    if fraction < settings.warmup:
        return peak * fraction / settings.warmup
    return peak * settings.course.share(fraction)


def batch_parts(fraction: float, settings: ScheduleSettings) -> int:
    """Return how many of the `BATCH_PARTS` of a full batch an update has at a fraction of the run, from 1 up."""
    if fraction >= settings.batch_warmup:
        return BATCH_PARTS
    return 1 + int(fraction / settings.batch_warmup * (BATCH_PARTS - 1))


@dataclass(frozen=True)
class RunLength:
    """The end of a run: exactly one of the three is set."""

    steps: int | None = None
    """Updates."""
    tokens: int | None = None
    """Tokens trained on."""
    seconds: float | None = None
    """Time from the first step on, evaluations and saves included, over all resumed parts."""

    def __post_init__(self) -> None:
        given = {"--steps": self.steps, "--tokens": self.tokens, "--budget": self.seconds}
        chosen = {name: value for name, value in given.items() if value is not None}
        if not chosen:
            raise SettingsError(
                "the length of training isn't set: give --budget, such as 20m, or one of --steps, --tokens and --epochs"
            )
        if len(chosen) > 1:
            raise SettingsError(f"give one of {' and '.join(chosen)}, not both: each sets the length of training")
        for name, value in chosen.items():
            if value <= 0:
                raise SettingsError(f"{name} must be above 0; got {value:g}{' seconds' if name == '--budget' else ''}")

    @property
    def amount(self) -> float:
        """The length of the run, in `unit`."""
        return self.steps or self.tokens or self.seconds or 0.0

    @property
    def unit(self) -> str:
        """The unit of the length: steps, tokens or seconds."""
        return "steps" if self.steps is not None else "tokens" if self.tokens is not None else "seconds"

    def reached(self, *, step: int, tokens: int, seconds: float) -> float:
        """Return how much of the run is done, in `unit`, at most `amount`."""
        return min(self.amount, {"steps": step, "tokens": tokens, "seconds": round(seconds)}[self.unit])

    def fraction(self, *, step: int, tokens: int, seconds: float) -> float:
        """Return the fraction of the run that is done; it is over at 1 or more."""
        return {"steps": step, "tokens": tokens, "seconds": seconds}[self.unit] / self.amount


@dataclass(frozen=True)
class Stage:
    """A part of a run with its own sequence length."""

    length: int
    """Tokens of its longest sequence."""
    share: float
    """Share of the run, 0 to 1."""


def parse_stages(text: str | None, *, length: int) -> tuple[Stage, ...]:
    """Parse stages such as "128:90%,512:10%"; None gives one stage of `length`.

    Raises:
        SettingsError: the text has another form, or the shares don't add up to 100 %.
    """
    if text is None:
        return (Stage(length, 1.0),)
    stages = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+(?:\.\d+)?)\s*%\s*", part)
        if match is None:
            raise SettingsError(f"--stages is written like 128:90%,512:10%; got {part!r}")
        stages.append(Stage(int(match[1]), float(match[2]) / 100))
    if abs(sum(stage.share for stage in stages) - 1.0) > 1e-6:
        raise SettingsError(f"the shares of --stages must add up to 100%; {text!r} does not")
    return tuple(stages)


def stage_at(fraction: float, stages: tuple[Stage, ...]) -> int:
    """Return the number of the stage at a fraction of the run, counted from 0."""
    edge = 0.0
    for number, stage in enumerate(stages):
        edge += stage.share
        if fraction < edge - 1e-9:
            return number
    return len(stages) - 1
