"""Falls to 0 at the end of the run.

As in BERT's original code, the fall starts at fraction 0, so the rate drops a little where warm-up ends.
"""

from __future__ import annotations

from dataclasses import dataclass

from bertie.schedules.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """A straight line from 1 at the start of the run to 0 at its end."""

    def share(self, fraction: float) -> float:
        """Return what is left of the run."""
        return max(0.0, 1.0 - fraction)


SCHEDULE = Linear
