"""Falls to 0 along half a wave, which starts where warm-up ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bertie.schedules.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a wave from the end of the warm-up to the end of the run."""

    warmup: float

    def share(self, fraction: float) -> float:
        """Return the height of the wave."""
        left = max(0.0, 1.0 - fraction)
        return 0.5 * (1.0 - math.cos(math.pi * left / max(1.0 - self.warmup, 1e-9)))


SCHEDULE = Cosine
