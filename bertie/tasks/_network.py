"""The whole network of a model: an encoder with the head of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from bertie.batch import Batch
from bertie.ops.dropout.op import Noise

if TYPE_CHECKING:
    from bertie.tasks.task import Task


class TaskModel(nn.Module):
    """The whole network: an encoder with a task's head.

    Args:
        encoder: a module of `models/`.
        head: the module that the task's `head(encoder)` returned.
    """

    in_one: ClassVar[bool] = False
    """Whether another program runs encoder and head in one, so that they can't be called apart."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, batch: Batch, noise: Noise | None = None) -> Any:
        """Run encoder and head; `noise` as in the encoder."""
        if self.training and noise is None:
            noise = Noise.draw()
        return self.head(self.encoder(batch, noise), batch, noise)

    def companions(self) -> dict[str, tuple[TaskModel, Task]]:
        """Return helper models that are saved as well, as folder name: (model, task)."""
        return {}
