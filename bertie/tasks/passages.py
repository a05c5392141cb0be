"""Masked LM plus passages: find the other passage of the same document in the batch (Giorgi et al. 2021).

A masked LM learns which tokens occur together, but the mean of its hidden vectors tells little about a text's topic.
Two passages of one document have the same topic, so the loss makes their means similar, and means of different
documents different (InfoNCE). Both losses use the same forward pass over the masked tokens, so the second one costs
almost no time. It adds no weights: the saved model is a masked language model.

Shapes: T tokens, B sequences, M slots, P pairs, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.items.text import TextLike
from bertie.packed import Packed
from bertie.sampling.instances import Instances
from bertie.tasks._card import CLOZE, CardText
from bertie.tasks._joint import Joint
from bertie.tasks._outputs import PassageOutputs
from bertie.tasks.task import Keys, Loss, Term
from bertie.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from bertie.tasks._heads import PassagesHead


@dataclass(frozen=True)
class Passages(Joint[PassageOutputs]):
    """Predict masked tokens, and which passages are from the same document."""

    contrast: float = 1.0
    """Weight of the passage loss; that of the masked LM is 1."""
    scale: float = 20.0
    """Factor of the cosines before the softmax (an inverse temperature)."""

    name: ClassVar[str] = "passages"
    architecture: ClassVar[str] = "{}ForMaskedLM"
    compares_items: ClassVar[bool] = True
    plan: ClassVar[str] = "passages"
    card: ClassVar[CardText] = CardText(
        title="A masked language model also trained to match passages of the same document",
        pipeline="fill-mask",
        loader="AutoModelForMaskedLM",
        output="logits",
        limits=(
            CLOZE,
            "The mean of its hidden vectors represents what a text is about; `--task embedding` returns it.",
        ),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("contrast", "scale"):
            if not getattr(self, name) > 0.0:
                raise SettingsError(f"{name} must be above 0; got {getattr(self, name)}")

    def encode(self, items: Instances | Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Mask tokens as masked_lm does. For a corpus, `sequence.document` (B,) is the document of each sequence."""
        batch = self.masked_lm.encode(items, tokenizer, keys)
        if not isinstance(items, Instances) or items.documents is None:
            return batch
        import torch

        return replace(batch, targets={**batch.targets, "sequence.document": torch.from_numpy(items.documents)})

    def head(self, encoder: Any) -> PassagesHead:
        """Make the head of masked_lm with a mean pooling."""
        from bertie.nn.pooling import TextPooling
        from bertie.tasks._heads import PassagesHead

        return PassagesHead(self.masked_lm.head(encoder).token_logits, TextPooling("mean", normalized=False))

    def restored(self, named: Mapping[str, NDArray[np.float32]], batch: Packed) -> Any:
        """Return the logits of the slots. The graph has no vectors of passages, which only the loss needs."""
        logits: Any = named["logits"]
        return PassageOutputs(logits, logits[:0])

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the chosen tokens and the pairs of passages."""
        from bertie.nn.contrastive import first_of_pairs

        counts = self.masked_lm.counts(batch)
        if "sequence.document" not in batch.targets:
            return counts
        return {**counts, "passages": float(len(first_of_pairs(batch.targets["sequence.document"])))}

    def loss(self, outputs: PassageOutputs, batch: Batch) -> Loss:
        """Return both terms. Texts that are not from a corpus have no documents, and only the masked LM's term."""
        from bertie.nn.contrastive import contrast_of_passages

        masked = self.masked_lm.loss(outputs.tokens, batch)
        if "sequence.document" not in batch.targets:
            return masked
        documents = batch.targets["sequence.document"]
        total, right, count = contrast_of_passages(outputs.passages, documents, scale=self.scale, symmetric=True)
        figures = {**masked.figures, "passage_accuracy": (right, count)}
        return Loss({**masked.terms, "passages": Term(self.contrast, total, count)}, figures)


TASK = Passages
