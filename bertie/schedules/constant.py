"""Stays at the peak after the warm-up."""

from __future__ import annotations

from dataclasses import dataclass

from bertie.schedules.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The peak to the end of the run."""

    def share(self, fraction: float) -> float:
        """Return 1."""
        del fraction
        return 1.0


SCHEDULE = Constant
