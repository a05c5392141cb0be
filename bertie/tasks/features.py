"""The encoder's hidden vectors, as features for other programs. This task has no loss and can't be trained.

Shapes: S tokens of one sequence, H hidden, B sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.items.text import Text, TextLike
from bertie.ops.dropout.op import Noise
from bertie.tasks._card import CardText
from bertie.tasks._encoding import check_length
from bertie.tasks._lines import heading, vector_line
from bertie.tasks._prediction import Prediction
from bertie.tasks.task import Cut, Keys, Loss, Task, texts
from bertie.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Features(Prediction):
    """Vectors of one item."""

    tokens: list[str]
    """The S tokens, [CLS] and [SEP] included."""
    hidden: NDArray[np.float32]
    """(S, H), the hidden vectors of the last block."""
    pooled: NDArray[np.float32] | None
    """(H,), the pooler's output for the first token; None for a model without a pooler."""

    def lines(self, item: Any, width: int) -> list[str]:
        """Return the item, and shape and first numbers of the vectors."""
        pooled = [] if self.pooled is None else [vector_line("pooled", self.pooled)]
        return [heading(item), vector_line("hidden", self.hidden), *pooled]


class FeatureOutputs(NamedTuple):
    """Vectors of a batch."""

    hidden: Tensor
    """(T, H)."""
    pooled: Tensor | None
    """(B, H)."""


@dataclass(frozen=True)
class FeaturesTask(Task[Text, FeatureOutputs, Features]):
    """Return the hidden vectors of the last block."""

    max_length: int = 512
    """Tokens of the longest sequence."""
    truncation: Cut = "error"
    """What to do with a longer text: refuse it (error), or cut and count it (truncate)."""
    pooler: bool = True
    """Whether the model has a pooler."""

    name: ClassVar[str] = "features"
    architecture: ClassVar[str] = "{}Model"
    takes_vectors: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = False
    card: ClassVar[CardText] = CardText(
        title="A BERT encoder",
        pipeline="feature-extraction",
        limits=("It turns texts into vectors.",),
    )

    def __post_init__(self) -> None:
        check_length(self.max_length)

    def encode(self, items: Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack texts or pairs."""
        first, second = texts(items)
        pieces = tokenizer.pack(first, second, max_length=self.max_length, truncation=self.truncation)
        return Batch.pack(pieces.tokens, pieces.segments, pieces.offsets, targets={"sequence.cut": pieces.truncated})

    def head(self, encoder: Any) -> FeaturesHead:
        """Make the pooler, if the model has one."""
        return FeaturesHead(encoder.pool("features") if self.pooler else None)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Raise an error: this task has no loss.

        Raises:
            SettingsError: always.
        """
        raise SettingsError("features has no loss, so it can't be trained or evaluated; choose another --task")

    def loss(self, outputs: FeatureOutputs, batch: Batch) -> Loss:
        """Raise an error: this task has no loss.

        Raises:
            SettingsError: always.
        """
        raise SettingsError("features has no loss, so it can't be trained or evaluated; choose another --task")

    def decode(
        self, outputs: FeatureOutputs, batch: Batch, items: Sequence[TextLike], tokenizer: Tokenizer
    ) -> list[Features]:
        """Split the packed vectors into those of each item."""
        edges, ids = batch.offsets.tolist(), batch.tokens.tolist()
        hidden = outputs.hidden.float().cpu().numpy()
        pooled = None if outputs.pooled is None else outputs.pooled.float().cpu().numpy()
        return [
            Features(
                [tokenizer.tokens[token] for token in ids[start:end]],
                hidden[start:end].copy(),
                None if pooled is None else pooled[row].copy(),
            )
            for row, (start, end) in enumerate(pairwise(edges))
        ]

    def score(self, predictions: Sequence[Features], items: Sequence[Text]) -> dict[str, float]:
        """Return no scores: vectors can't be right or wrong."""
        return {}


class FeaturesHead(nn.Module):
    """Pass the hidden vectors on, and pool them if the model has a pooler.

    Args:
        pooler: the encoder's pooler, or None.
    """

    def __init__(self, pooler: nn.Module | None) -> None:
        super().__init__()
        self.pooler = pooler

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> FeatureOutputs:
        """Return the hidden vectors (T, H) and the pooled vectors (B, H)."""
        return FeatureOutputs(hidden, None if self.pooler is None else self.pooler(hidden, batch))


TASK = FeaturesTask
