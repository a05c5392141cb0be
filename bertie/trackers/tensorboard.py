"""TensorBoard: event files in the run folder, which `tensorboard --logdir OUT` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bertie.trackers.tracker import TrackedRun, Tracker


class TensorBoard(Tracker):
    """Write the figures with torch's writer, which needs the package tensorboard and no TensorFlow."""

    package: ClassVar[str] = "tensorboard"

    _writer: Any = None

    def begin(self, run: TrackedRun) -> str:
        """Open an event file; of a resumed run, TensorBoard then hides what an earlier file has of later steps."""
        from torch.utils.tensorboard import SummaryWriter

        purge = run.step + 1 if run.step else None
        self._writer = SummaryWriter(str(run.folder / "tensorboard"), purge_step=purge)
        if not run.step:
            rows = "\n".join(f"| {name} | {str(value).replace('|', ' ')} |" for name, value in run.settings.items())
            self._writer.add_text("settings", f"| setting | value |\n| --- | --- |\n{rows}")
        return ""

    def log(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        """Write each figure as a scalar KIND/NAME."""
        for name, value in figures.items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)
        self._writer.flush()  # so that a killed run's figures are there

    def end(self, *, finished: bool) -> None:
        """Close the file."""
        self._writer.close()


TRACKER = TensorBoard
