"""The contract of `trackers/`: what follows a run's figures while it trains, and can't change the run.

Each other file here is one tracker, and names its class `TRACKER`. `training/tracking.py` calls the methods; an error
in one of them is a warning, and the run continues without the tracker.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bertie import registry
from bertie.errors import missing_extra


@dataclass(frozen=True)
class TrackedRun:
    """A run, as a tracker is told of it."""

    folder: Path
    """The run folder."""
    command: str
    """pretrain or finetune."""
    settings: Mapping[str, Any]
    """All settings by dotted key, as in config.toml."""
    step: int = 0
    """The last step that the run has done; above 0 if it is resumed. Figures of later steps will be logged again."""
    known_as: str = ""
    """What `begin` returned when the run began, such as the id of the run there; empty for a new run."""


class Tracker:
    """Follow the figures of a run. Derive from it and override what you need; every method may do nothing."""

    package: ClassVar[str] = ""
    """Package that the tracker needs; empty for none. Its extra of bertie has the tracker's file name."""

    def begin(self, run: TrackedRun) -> str:
        """Begin to follow a run.

        Args:
            run: its folder and settings.

        Returns:
            A name by which the tracker finds the run again when it is resumed; empty if it needs none.
        """
        return ""

    def log(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        """Take the figures of a logged step.

        Args:
            kind: train or dev.
            step: updates done, from 0; it never falls within one process.
            figures: finite numbers by name, such as loss, learning_rate and tokens_per_second.
        """

    def end(self, *, finished: bool) -> None:
        """End.

        Args:
            finished: whether the run has reached its end; False if it was stopped or failed and may be resumed.
        """


def check(names: Any) -> None:
    """Check before a run that the packages of its trackers are installed.

    Args:
        names: names of trackers; None for none.

    Raises:
        SettingsError: one is unknown, or its package isn't installed.
    """
    for name in names or ():
        tracker(name)


def tracker(name: str) -> Tracker:
    """Make a tracker.

    Raises:
        SettingsError: there is no such tracker, or its package isn't installed.
    """
    kind: type[Tracker] = registry.load("trackers", name).TRACKER
    if kind.package and importlib.util.find_spec(kind.package) is None:
        raise missing_extra(kind.package, name, f"for --track {name}")
    return kind()
