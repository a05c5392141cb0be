"""Weights & Biases: a run of the project WANDB_PROJECT, or bertie; WANDB_MODE=offline needs no account."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from bertie.trackers.tracker import TrackedRun, Tracker


class WeightsAndBiases(Tracker):
    """Log to wandb. A run that is resumed offline is a second part of the same id; wandb sync --append joins them."""

    package: ClassVar[str] = "wandb"

    _run: Any = None

    def begin(self, run: TrackedRun) -> str:
        """Make a run, or continue that of a resumed one."""
        import wandb

        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "bertie",
            name=run.folder.name,
            dir=str(run.folder),
            config=dict(run.settings),
            id=run.known_as or None,
            resume="allow" if run.known_as else None,
            settings=wandb.Settings(silent=True, console="off"),
        )
        return str(self._run.id)

    def log(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures as KIND/NAME; steps that the run has already are left out."""
        if step >= self._run.step:
            self._run.log({f"{kind}/{name}": value for name, value in figures.items()}, step=step)

    def end(self, *, finished: bool) -> None:
        """Send what is left."""
        self._run.finish(exit_code=0 if finished else 1)


TRACKER = WeightsAndBiases
