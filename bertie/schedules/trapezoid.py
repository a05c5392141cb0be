"""Stays at the peak and falls to 0 in the last part of the run (WSD)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bertie.errors import SettingsError
from bertie.schedules.schedule import Schedule

DECAY_SHAPES: Mapping[str, Callable[[float], float]] = {
    "linear": lambda left: left,
    "one_minus_sqrt": lambda left: 1.0 - math.sqrt(1.0 - left),
}
"""Ways to fall: from the share of the last part that is left, 1 to 0, to the share of the peak.

one_minus_sqrt is from Haegele et al. 2024.
"""


@dataclass(frozen=True, kw_only=True)
class Trapezoid(Schedule):
    """The peak, and then a fall of the given length and shape."""

    warmup: float
    decay: float
    decay_shape: str

    def __post_init__(self) -> None:
        if self.warmup + self.decay > 1.0:
            raise SettingsError(
                f"schedule.warmup {self.warmup} and schedule.decay {self.decay} are more than the whole run together"
            )

    def share(self, fraction: float) -> float:
        """Return 1, or the height of the fall."""
        left = max(0.0, 1.0 - fraction)
        return 1.0 if left >= self.decay else DECAY_SHAPES[self.decay_shape](left / self.decay)


SCHEDULE = Trapezoid
