"""Selection by dev scores: which weights are kept, and when a run that no longer improves ends. Off by default.

It compares all evaluations after the first step by the task's `criterion`; higher is better. Of equal scores the first
wins, and NaN is worse than any score. The dev score of selected weights is no longer a score on unseen data, so the
run's figures record the selection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bertie import progress
from bertie.errors import SettingsError
from bertie.training.optimizer import learning
from bertie.training.settings import TrainingSettings


class Selection:
    """The best evaluation so far, and the number of evaluations since.

    Args:
        settings: whether to keep the weights of the best evaluation (`best`), and when to end (`patience`).
        criterion: name of the score.
    """

    def __init__(self, settings: TrainingSettings, criterion: str) -> None:
        self._settings, self._criterion = settings, criterion
        self._step, self._score = 0, -math.inf
        self._waited = 0  # evaluations since the best one
        self._weights: dict[str, Tensor] = {}

    def consider(self, step: int, figures: Mapping[str, float], model: nn.Module) -> None:
        """Compare an evaluation with the best one so far, and copy the weights if it is better.

        Args:
            step: number of updates done. An evaluation before the first update doesn't count.
            figures: scores of the evaluation.
            model: the model with the weights that were measured.

        Raises:
            SettingsError: the criterion is not among the figures.
        """
        if not self._settings.selects:
            return
        if self._criterion not in figures:
            raise SettingsError(
                f"training.best and training.patience compare evaluations by {self._criterion}, which isn't measured "
                f"here; the measures are {', '.join(figures)}"
            )
        if step == 0:
            return
        score = figures[self._criterion]
        self._waited += 1
        if score > self._score:
            self._step, self._score, self._waited = step, score, 0
            if self._settings.best:
                self._weights = {name: value.detach().to("cpu", copy=True) for name, value in learning(model).items()}

    @property
    def exhausted(self) -> bool:
        """Whether the last `patience` evaluations were no better, so that the run ends."""
        return self._settings.patience is not None and self._waited >= self._settings.patience

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Give the model the best weights, if `best` is set."""
        if not self._settings.best:
            return
        if not self._weights:
            progress.warn(f"no evaluation gave a number for {self._criterion}: the last weights are kept")
            return
        for name, value in learning(model).items():
            value.copy_(self._weights[name])

    def facts(self, *, ended_early: bool) -> dict[str, Any]:
        """Return the decisions by dev scores, for the run's figures; empty if there were none."""
        decisions: dict[str, Any] = {}
        if self._weights:
            decisions["weights_chosen_on_dev"] = {"step": self._step, self._criterion: round(self._score, 4)}
        if ended_early:
            decisions["ended_early_on_dev"] = {"evaluations_without_gain": self._waited}
        return decisions

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs in addition to `tensors`."""
        return {"step": self._step, "score": self._score if self._step else None, "waited": self._waited}

    def tensors(self) -> dict[str, Tensor]:
        """Return the best weights by name, for a checkpoint."""
        return {f"best.{name}": value for name, value in self._weights.items()}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Restore the values of `state` and `tensors`."""
        self._step, self._waited = state["step"], state["waited"]
        self._score = -math.inf if state["score"] is None else state["score"]
        self._weights = {
            name.removeprefix("best."): value for name, value in tensors.items() if name.startswith("best.")
        }
