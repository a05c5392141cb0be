"""Means of weights, which are evaluated and written in place of the last ones; the weights themselves go on.

A running mean (EMA): mean += (1 - d) * (weights - mean) after every step n, d = min(decay, (1 + n) / (10 + n)): a mean
over all steps must not hold on to the first weights for the 1 / (1 - decay) steps that it later looks back.

A mean with the first weights: keep * first + (1 - keep) * last. What a run has spoilt of a trained model comes back,
and most of what it taught stays (Wortsman et al. 2022, robust fine-tuning).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bertie.training.optimizer import learning

_MEAN, _FIRST = "average.", "first."  # prefixes of names in a checkpoint


class Average:
    """The means of the weights that learn.

    Args:
        model: as it is before the first step, on its device.
        decay: share of the running mean that stays at each step, 0 to 1; 0 for no such mean.
        keep: share of the first weights in what is evaluated and written; without both, everything here does nothing.
    """

    def __init__(self, model: nn.Module, decay: float, *, keep: float = 0.0) -> None:
        self._decay, self._keep = decay, keep
        self._mean = _copies(model) if decay > 0.0 else {}
        self._first = _copies(model) if keep > 0.0 else {}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take the weights after a step into the mean.

        Args:
            model: after the step.
            step: steps done, this one counted.
        """
        if self._mean:
            weights = learning(model)
            decay = min(self._decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(self._mean.values()), [weights[name] for name in self._mean], 1.0 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Let the model have the mean as its weights for a while."""
        kept = _copies(model) if self._mean or self._first else {}
        self.apply(model)
        try:
            yield
        finally:
            _copy(kept, model)

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Give the model the mean as its weights for good."""
        _copy(self._mean, model)
        weights = learning(model)
        for name, first in self._first.items():
            weights[name].lerp_(first, self._keep)

    def tensors(self) -> dict[str, Tensor]:
        """Name the tensors that it holds, for a checkpoint."""
        mean = {_MEAN + name: value for name, value in self._mean.items()}
        return {**mean, **{_FIRST + name: value for name, value in self._first.items()}}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` gave.

        Raises:
            KeyError: a weight that the checkpoint lacks.
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
