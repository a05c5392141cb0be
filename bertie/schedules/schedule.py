"""The contract of `schedules/`: the share of the peak learning rate at each point of a run after its warm-up.

Each other file here is one schedule, and names its class `SCHEDULE`: a frozen dataclass, whose fields are the fields of
`ScheduleSettings` that it uses. The warm-up is the same for all (`training/schedule.py`). A schedule doesn't know how
the length of the run is counted, so the rate falls by the clock or by counting alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from bertie import registry


class Schedule(ABC):
    """The method of every schedule."""

    @abstractmethod
    def share(self, fraction: float) -> float:
        """Return the share of the peak, 0 to 1, at a fraction of the run; 1 or more is its end. It never rises."""


def schedule_class(shape: str) -> type[Schedule]:
    """Return the class of a schedule.

    Raises:
        SettingsError: there is no such schedule; the message suggests the nearest one.
    """
    found: type[Schedule] = registry.load("schedules", shape).SCHEDULE
    return found
