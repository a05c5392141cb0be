"""Choose by dev scores: which weights are kept, and when a run that gets no better ends. Off unless asked for.

Compared are the evaluations after training began, by the task's `criterion`, the higher the better; the first of equal
ones wins, and a score that is no number is worse than all. What was chosen so is no longer measured on unseen data, and
the run says so.
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
    """The best evaluation so far and how long ago it was.

    Args:
        settings: whether to keep its weights (`best`) and when to end (`patience`).
        criterion: name of the score.
    """

    def __init__(self, settings: TrainingSettings, criterion: str) -> None:
        self._settings, self._criterion = settings, criterion
        self._step, self._score = 0, -math.inf
        self._waited = 0  # evaluations since the best one
        self._weights: dict[str, Tensor] = {}

    def consider(self, step: int, figures: Mapping[str, float], model: nn.Module) -> None:
        """Compare an evaluation with the best one so far, and remember the weights if it is better.

        Args:
            step: updates done; what is measured before the first one is no candidate.
            figures: of the evaluation.
            model: as it was measured.

        Raises:
            SettingsError: the task doesn't measure its criterion.
        """
        if not self._settings.selects:
            return
        if self._criterion not in figures:
            raise SettingsError(
                f"training.best and training.patience compare evaluations by {self._criterion}, which isn't measured "
                f"here; there is {', '.join(figures)}"
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
        """Whether so many evaluations were no better that the run ends."""
        return self._settings.patience is not None and self._waited >= self._settings.patience

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Put the best weights back, if they are to be kept."""
        if not self._settings.best:
            return
        if not self._weights:
            progress.warn(f"no evaluation gave a number for {self._criterion}: the last weights are kept")
            return
        for name, value in learning(model).items():
            value.copy_(self._weights[name])

    def facts(self, *, ended_early: bool) -> dict[str, Any]:
        """Say what was chosen on dev, in words for the run's figures; empty when nothing was."""
        found: dict[str, Any] = {}
        if self._weights:
            found["weights_chosen_on_dev"] = {"step": self._step, self._criterion: round(self._score, 4)}
        if ended_early:
            found["ended_early_on_dev"] = {"evaluations_without_gain": self._waited}
        return found

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint must hold beside `tensors`."""
        return {"step": self._step, "score": self._score if self._step else None, "waited": self._waited}

    def tensors(self) -> dict[str, Tensor]:
        """Name the best weights, for a checkpoint."""
        return {f"best.{name}": value for name, value in self._weights.items()}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Take up what `state` and `tensors` gave."""
        self._step, self._waited = state["step"], state["waited"]
        self._score = -math.inf if state["score"] is None else state["score"]
        self._weights = {
            name.removeprefix("best."): value for name, value in tensors.items() if name.startswith("best.")
        }
