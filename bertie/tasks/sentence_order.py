"""ALBERT's pre-training: masked LM plus sentence order prediction, their means added (Lan et al. 2019, 3.1).

Two consecutive segments, of which every second pair is exchanged: 0 = in their order, 1 = exchanged. It holds no
objective of its own: it arranges `masked_lm` and the two logits of `next_sentence` on one forward pass. A sequence
without a second segment has no order and serves the masked LM alone.

Deviation, said aloud: the original drops out a tenth of the pooled vector before the two logits.

Shapes: T tokens, B sequences, M slots, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn
from torch.nn.functional import cross_entropy

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.tasks.pretraining import Outputs, Pretraining, PretrainingHead
from bertie.tasks.task import Loss, Term

_NONE = -1  # label of a sequence without a second segment


@dataclass(frozen=True)
class SentenceOrder(Pretraining):
    """Guess masked tokens and whether two segments are in their order."""

    name: ClassVar[str] = "sentence_order"
    plan: ClassVar[str] = "order"

    def head(self, encoder: Any) -> PretrainingHead:
        """Put both heads side by side.

        Raises:
            SettingsError: an architecture whose pre-training has no such head.
        """
        pooler = encoder.pool("sentence_order")
        if pooler is None:
            raise SettingsError(f"{type(encoder).__name__} has no head for sentence order; take the task masked_lm")
        tokens = self.masked_lm.head(encoder).token_logits
        return PretrainingHead(tokens, pooler, nn.Linear(encoder.config.hidden_size, 2))

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count chosen tokens, and sequences that have an order."""
        masked = self.masked_lm.counts(batch)
        if "sequence.label" not in batch.targets:
            return masked
        return {**masked, "sop": float((batch.targets["sequence.label"] != _NONE).sum())}

    def loss(self, outputs: Outputs, batch: Batch) -> Loss:
        """Both terms, each with weight 1; texts from elsewhere than a corpus have no labels and the first one only."""
        masked = self.masked_lm.loss(outputs.tokens, batch)
        if "sequence.label" not in batch.targets:
            return masked
        labels, scores = batch.targets["sequence.label"], outputs.next_sentence.float()
        count = self.counts(batch)["sop"]
        term = Term(1.0, cross_entropy(scores, labels, reduction="sum", ignore_index=_NONE), count)
        correct = (scores.argmax(1) == labels).sum()
        return Loss({**masked.terms, "sop": term}, {**masked.figures, "sop_accuracy": (correct, count)})


TASK = SentenceOrder
