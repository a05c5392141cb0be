"""A running mean of the weights (EMA), which is evaluated and written in their place; the weights themselves go on.

mean += (1 - d) * (weights - mean) after every step n, d = min(decay, (1 + n) / (10 + n)): a mean over all steps must
not hold on to the first weights for the 1 / (1 - decay) steps that it later looks back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bertie.training.optimizer import learning

_PREFIX = "average."


class Average:
    """The mean of the weights that learn.

    Args:
        model: as it is before the first step, on its device.
        decay: share of the mean that stays at each step, 0 to 1; 0 for no mean: everything here then does nothing.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._decay = decay
        self._mean = {name: value.detach().clone() for name, value in learning(model).items()} if decay > 0.0 else {}

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
        kept = {name: value.detach().clone() for name, value in learning(model).items()} if self._mean else {}
        self.apply(model)
        try:
            yield
        finally:
            _copy(kept, model)

    def apply(self, model: nn.Module) -> None:
        """Give the model the mean as its weights for good."""
        _copy(self._mean, model)

    def tensors(self) -> dict[str, Tensor]:
        """Name the mean's tensors, for a checkpoint."""
        return {_PREFIX + name: value for name, value in self._mean.items()}

    @torch.no_grad()
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take up what `tensors` gave.

        Raises:
            KeyError: a weight that the checkpoint lacks.
        """
        for name, value in self._mean.items():
            value.copy_(tensors[_PREFIX + name])


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], model: nn.Module) -> None:
    weights = learning(model)
    for name, value in values.items():
        weights[name].copy_(value)
