"""The encoder's hidden vectors, as features for other programs. This task has no loss and can't be trained.

Shapes: S tokens of one sequence, H hidden, B sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.items.text import Text, TextLike
from bertie.packed import Packed, as_array
from bertie.tasks._card import CardText
from bertie.tasks._encoding import check_length
from bertie.tasks._lines import heading, vector_line
from bertie.tasks._outputs import FeatureOutputs
from bertie.tasks._prediction import Prediction
from bertie.tasks.task import Cut, Keys, Loss, Task, texts
from bertie.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from bertie.tasks._heads import FeaturesHead


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
    graph_outputs: ClassVar[tuple[str, ...]] = ("last_hidden_state",)
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
        from bertie.tasks._heads import FeaturesHead

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

    def restored(self, named: Mapping[str, NDArray[np.float32]], batch: Packed) -> Any:
        """Return the vectors."""
        return FeatureOutputs(named["last_hidden_state"], named.get("pooler_output"))

    def decode(
        self, outputs: FeatureOutputs, batch: Batch, items: Sequence[TextLike], tokenizer: Tokenizer
    ) -> list[Features]:
        """Split the packed vectors into those of each item."""
        edges, ids = batch.arrays.offsets.tolist(), batch.arrays.tokens.tolist()
        hidden = as_array(outputs.hidden)
        pooled = None if outputs.pooled is None else as_array(outputs.pooled)
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


TASK = FeaturesTask
