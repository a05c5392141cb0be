"""What the heads with several outputs return."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

    from bertie.nn.logits import Logits


class FeatureOutputs(NamedTuple):
    """Vectors of a batch."""

    hidden: Any
    """(T, H)."""
    pooled: Any
    """(B, H), or None without a pooler."""


class PretrainingOutputs(NamedTuple):
    """Outputs of both heads of pre-training."""

    tokens: Logits
    """Logits of the M slots."""
    next_sentence: Tensor
    """(B, 2) logits."""


class PassageOutputs(NamedTuple):
    """Logits of the masked tokens, and the vectors of passages."""

    tokens: Logits
    """Logits of the M slots."""
    passages: Tensor
    """(B, H), the mean hidden vector of each sequence."""


class ReplacedTokenOutputs(NamedTuple):
    """Outputs of generator and discriminator for a batch with chosen tokens."""

    generator: Logits
    """Logits of the M slots."""
    drawn: Tensor
    """(M,) pieces that the discriminator saw at the slots."""
    scores: Tensor
    """(T,) logits of "replaced"."""
