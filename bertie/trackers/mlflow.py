"""MLflow: a run of the experiment MLFLOW_EXPERIMENT_NAME, or bertie, at MLFLOW_TRACKING_URI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from bertie.trackers.tracker import TrackedRun, Tracker

_LONGEST_VALUE = 500
_BATCH = 100
"""Parameters that MLflow takes in one request."""


class MLflow(Tracker):
    """Log through MLflow's client, which keeps no state outside the run."""

    package: ClassVar[str] = "mlflow"

    _client: Any = None
    _id = ""
    _logged: dict[str, int]

    def begin(self, run: TrackedRun) -> str:
        """Make a run, or find that of a resumed one with the steps that it has already."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client, self._logged = MlflowClient(), {}
        if run.known_as:
            self._id = run.known_as
            self._client.update_run(self._id, status="RUNNING")
            for name in self._client.get_run(self._id).data.metrics:
                history = self._client.get_metric_history(self._id, name)
                self._logged[name] = max(metric.step for metric in history)
            return self._id
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or "bertie"
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        self._id = str(self._client.create_run(number, run_name=run.folder.name).info.run_id)
        settings = [Param(key, str(value)[:_LONGEST_VALUE]) for key, value in run.settings.items()]
        for first in range(0, len(settings), _BATCH):
            self._client.log_batch(self._id, params=settings[first : first + _BATCH])
        return self._id

    def log(self, kind: str, step: int, figures: Mapping[str, float]) -> None:
        """Log each figure as a metric KIND/NAME; steps that MLflow has already are left out."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        named = {f"{kind}/{name}": value for name, value in figures.items()}
        new = [Metric(name, value, now, step) for name, value in named.items() if step > self._logged.get(name, -1)]
        if new:
            self._client.log_batch(self._id, metrics=new)

    def end(self, *, finished: bool) -> None:
        """Give the run its state."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")


TRACKER = MLflow
