"""How far a run is, and the learning rate there: pure functions.

A run ends after a number of steps, of tokens, or of seconds; the rate is a function of the fraction done, so that a
budget in minutes decays to zero by the clock just as a budget in steps does by counting.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from bertie.errors import SettingsError
from bertie.training.settings import ScheduleSettings

BATCH_PARTS = 8
"""Equal parts that a batch which grows is put together from."""


def learning_rate(fraction: float, peak: float, settings: ScheduleSettings) -> float:
    """Work out the rate at a fraction (0 to 1) of the run.

    As in the original code the falling line starts at fraction 0, so there is a small step down where warm-up ends:
    peak x fraction / warmup, then peak x (1 - fraction). A cosine starts where warm-up ends. A trapezoid falls by a
    line or by 1 - sqrt (Haegele et al. 2024) in its last part alone.
    """
    if fraction < settings.warmup:
        return peak * fraction / settings.warmup
    if settings.shape == "constant":
        return peak
    left = max(0.0, 1.0 - fraction)
    if settings.shape == "cosine":
        return peak * 0.5 * (1.0 - math.cos(math.pi * left / max(1.0 - settings.warmup, 1e-9)))
    if settings.shape == "trapezoid":
        if left >= settings.decay:
            return peak
        share = left / settings.decay
        return peak * (share if settings.decay_shape == "linear" else 1.0 - math.sqrt(1.0 - share))
    return peak * left


def batch_parts(fraction: float, settings: ScheduleSettings) -> int:
    """Tell how many of the `BATCH_PARTS` of a whole batch an update takes at a fraction of the run: 1 and rising."""
    if fraction >= settings.batch_warmup:
        return BATCH_PARTS
    return 1 + int(fraction / settings.batch_warmup * (BATCH_PARTS - 1))


@dataclass(frozen=True)
class Horizon:
    """Where a run ends: exactly one of the three is set."""

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
                "nothing says how long to train: give --budget, such as 20m, or one of --steps, --tokens and --epochs"
            )
        if len(chosen) > 1:
            raise SettingsError(f"give one of {' and '.join(chosen)}, not both: each says how long to train")
        for name, value in chosen.items():
            if value <= 0:
                raise SettingsError(f"{name} must be above 0; got {value:g}{' seconds' if name == '--budget' else ''}")

    @property
    def amount(self) -> float:
        """How much there is to do, in `unit`."""
        return self.steps or self.tokens or self.seconds or 0.0

    @property
    def unit(self) -> str:
        """What the run is counted in: steps, tokens or seconds."""
        return "steps" if self.steps is not None else "tokens" if self.tokens is not None else "seconds"

    def reached(self, *, step: int, tokens: int, seconds: float) -> float:
        """Tell how much is done, in `unit`, `amount` at most."""
        return min(self.amount, {"steps": step, "tokens": tokens, "seconds": round(seconds)}[self.unit])

    def fraction(self, *, step: int, tokens: int, seconds: float) -> float:
        """Tell how much of the run is done; 1 or more is the end."""
        return {"steps": step, "tokens": tokens, "seconds": seconds}[self.unit] / self.amount


def parse_duration(text: str) -> float:
    """Read "20m", "90s", "1.5h", "2h30m" or plain seconds, as seconds.

    Raises:
        SettingsError: anything else.
    """
    parts = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?", text.strip())
    if parts is None or not any(parts.groups()):
        raise SettingsError(f"a duration is written like 20m, 90s or 1h30m; got {text!r}")
    hours, minutes, seconds = (float(part or 0) for part in parts.groups())
    return hours * 3600 + minutes * 60 + seconds


@dataclass(frozen=True)
class Stage:
    """A part of a run with its own sequence length."""

    length: int
    """Tokens of its longest sequence."""
    share: float
    """Part of the run, 0 to 1."""


def parse_stages(text: str | None, *, length: int) -> tuple[Stage, ...]:
    """Read "128:90%,512:10%"; None is one stage of `length`.

    Raises:
        SettingsError: another form, or shares that don't add up to 100 %.
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
    """Number of the stage that runs at a fraction of the run."""
    edge = 0.0
    for number, stage in enumerate(stages):
        edge += stage.share
        if fraction < edge - 1e-9:
            return number
    return len(stages) - 1
