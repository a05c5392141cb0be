"""The contract of `optimizers/`: an optimizer updates weights by their gradients.

Each other file here is one optimizer, and names its class `OPTIMIZER`. The class states

- its peak learning rate in pre-training, when none is given,
- the settings that it uses: the keyword-only parameters of its `__init__`, which are fields of `OptimizerSettings`,
- and its update.

Decay of weights, clipping, rates by layer and averaged weights are the same for all. `training/optimizer.py` makes the
parameter groups and `training/loop.py` sets the learning rate, so an optimizer knows neither names nor schedules.

None is one of torch's own optimizers, which load torch's compiler even if it is not used. That costs two seconds and a
hundred megabytes.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from bertie import registry


class Optimizer(torch.optim.Optimizer):
    """The attributes of every optimizer, and a pass over the parameter groups.

    All that a run must keep of it is in `state`, as tensors: a checkpoint holds these and nothing else.

    Args:
        params: groups, each with its own `weight_decay`; `adapted` is true for matrices and tables, and `matrices` is
            the number of matrices stacked in each tensor of the group, 0 unless `for_matrices`.
        defaults: further values of each group.
    """

    peak: ClassVar[float]
    """Peak of the learning rate in pre-training, when none is given."""
    peak_from_neighbours: ClassVar[float | None] = None
    """That peak with the start `neighbours`, if it differs: for a width of up to 256, less for wider models."""
    for_matrices: ClassVar[bool] = False
    """Whether matrices of blocks have a rule of their own, and so groups of their own."""

    def __init__(self, params: Any, **defaults: Any) -> None:
        super().__init__(params, {"lr": 0.0, "weight_decay": 0.0, **defaults})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group by torch's method without its wrapper, which would load the compiler."""
        inspect.unwrap(torch.optim.Optimizer.add_param_group)(self, param_group)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient, at its group's rate `lr`."""
        for group in self.param_groups:
            weights = [value for value in group["params"] if value.grad is not None]
            if weights:
                self.update(weights, group)

    @abstractmethod
    def update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        """Update the weights of a group that have gradients."""

    def divide(self, gradients: Sequence[Tensor], divisor: float) -> None:
        """Divide the gradients of the next step by a number of 1 or more."""
        if divisor > 1.0:
            torch._foreach_div_(list(gradients), divisor)


def optimizer_class(name: str) -> type[Optimizer]:
    """Return the class of an optimizer.

    Raises:
        SettingsError: there is no such optimizer; the message suggests the nearest one.
    """
    found: type[Optimizer] = registry.load("optimizers", name).OPTIMIZER
    return found


def peak_of(name: str) -> float:
    """Return the peak of an optimizer's learning rate in pre-training.

    Raises:
        SettingsError: there is no such optimizer.
    """
    return optimizer_class(name).peak
