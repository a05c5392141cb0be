"""Averages of the weights, which are evaluated and saved in place of the last weights. Training itself ignores them.

Exponential moving average (EMA): mean += (1 - d) * (weights - mean) after step n, with d = min(decay, (1 + n) /
(10 + n)). If d were `decay` from the start, the first weights would dominate the mean for 1 / (1 - decay) steps.

Mean with the first weights: keep * first + (1 - keep) * last. It restores abilities of a trained model that the run
has damaged, and keeps most of what the run has taught (Wortsman et al. 2022, robust fine-tuning).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bertie.training.optimizer import learning

_MEAN, _FIRST = "average.", "first."  # prefixes of names in a checkpoint


class Average:
    """The averages of the weights that learn.

    Args:
        model: before the first step, on its device.
        decay: share of the EMA that each step keeps, 0 to 1; 0 for no EMA.
        keep: share of the first weights in the average, 0 to 1. If this and `decay` are 0, no method has an effect.
    """

    def __init__(self, model: nn.Module, decay: float, *, keep: float = 0.0) -> None:
        self._decay, self._keep = decay, keep
        self._mean = _copies(model) if decay > 0.0 else {}
        self._first = _copies(model) if keep > 0.0 else {}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Add the weights after a step to the EMA.

        Args:
            model: after the step.
            step: number of steps done, including this one.
        """
        if self._mean:
            weights = learning(model)
            decay = min(self._decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(self._mean.values()), [weights[name] for name in self._mean], 1.0 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights within the context."""
        kept = _copies(model) if self._mean or self._first else {}
        self.apply(model)
        try:
            yield
        finally:
            _copy(kept, model)

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Give the model the averaged weights."""
        _copy(self._mean, model)
        weights = learning(model)
        for name, first in self._first.items():
            weights[name].lerp_(first, self._keep)

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a checkpoint needs, by name."""
        mean = {_MEAN + name: value for name, value in self._mean.items()}
        return {**mean, **{_FIRST + name: value for name, value in self._first.items()}}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy the tensors of `tensors` back.

        Raises:
            KeyError: the checkpoint lacks a weight.
        """
        for prefix, values in ((_MEAN, self._mean), (_FIRST, self._first)):
            for name, value in values.items():
                value.copy_(tensors[prefix + name])


def _copies(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in learning(model).items()}


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], model: nn.Module) -> None:
    weights = learning(model)
    for name, value in values.items():
        weights[name].copy_(value)
