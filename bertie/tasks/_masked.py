"""Base class of the objectives that mask tokens: which tokens they choose, the mask rate over a run, and figures.

Shapes: M slots.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.tasks._encoding import check_length
from bertie.tasks.task import Cut, ItemT, OutputsT, PredictionT, Task

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Masked(Task[ItemT, OutputsT, PredictionT]):
    """A task that hides some tokens of each sequence."""

    max_length: int = 512
    """Tokens of the longest sequence."""
    truncation: Cut = "error"
    """What to do with a longer text: refuse it (error), or cut and count it (truncate)."""
    mask_rate: float = 0.15
    """Share of a sequence's tokens, [CLS] and [SEP] included, that are chosen."""
    max_masked: int | None = None
    """Maximum number of chosen tokens in one sequence. None: no limit."""
    masking: Literal["token", "word", "span"] = "token"
    """Unit of choice: token (single pieces), word (whole words; Chinese ones if the corpus marks them) or span."""
    mask_rate_end: float | None = None
    """Mask rate at the end of a pre-training run; it changes linearly from `mask_rate`. None: it stays the same."""

    def __post_init__(self) -> None:
        check_length(self.max_length)
        for name in ("mask_rate", "mask_rate_end"):
            rate = getattr(self, name)
            if rate is not None and not 0.0 < rate <= 1.0:
                raise SettingsError(f"{name} must be above 0 and at most 1; got {rate}")
        if self.max_masked is not None and self.max_masked < 1:
            raise SettingsError(f"max_masked must be at least 1; got {self.max_masked}")

    def at(self, done: float) -> Self:
        """Return the task with the mask rate at this point of the run."""
        if self.mask_rate_end is None:
            return self
        rate = self.mask_rate + (self.mask_rate_end - self.mask_rate) * min(max(done, 0.0), 1.0)
        return replace(self, mask_rate=rate, mask_rate_end=None)

    @property
    def masking_settings(self) -> dict[str, Any]:
        """The settings of this class, for building another task with the same masking."""
        return {each.name: getattr(self, each.name) for each in fields(Masked)}


def mask_figures(losses: Tensor, right: Tensor, batch: Batch) -> dict[str, tuple[Tensor, float | Tensor]]:
    """Return loss and accuracy over the chosen tokens that are shown as [MASK].

    Chosen tokens that are shown as they are or as random tokens are left out. A visible token is easy to predict: with
    a tenth of them, an untrained model already seems to be right at a seventh of all slots.

    Args:
        losses: (M,).
        right: (M,) 1 if the best prediction is correct, else 0.
        batch: its `slot.as_mask` marks these tokens. Without it the result is empty.
    """
    if "slot.as_mask" not in batch.targets:
        return {}
    shown = batch.targets["slot.as_mask"].to(losses.dtype)
    count = shown.sum()
    return {"mask_loss": ((losses * shown).sum(), count), "mask_accuracy": ((right * shown).sum(), count)}
