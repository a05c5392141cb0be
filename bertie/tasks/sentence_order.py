"""ALBERT's pre-training: masked LM plus sentence order prediction, their mean losses added (Lan et al. 2019, 3.1).

A and B are consecutive segments, swapped at random in half of the pairs: 0 = in order, 1 = swapped. The task combines
`masked_lm` with the two logits of `next_sentence` in one forward pass. A sequence without a second segment has no
order and is used by the masked LM only.

Deviation: the original applies dropout of 0.1 to the pooled vector before the two logits.

Shapes: T tokens, B sequences, M slots, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.tasks._card import CLOZE, CardText
from bertie.tasks._outputs import PretrainingOutputs
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.task import Loss, Term

if TYPE_CHECKING:
    from bertie.tasks._heads import PretrainingHead

_NONE = -1  # label of a sequence without a second segment


@dataclass(frozen=True)
class SentenceOrder(Pretraining):
    """Predict masked tokens, and whether two segments are in order."""

    name: ClassVar[str] = "sentence_order"
    plan: ClassVar[str] = "order"
    card: ClassVar[CardText] = CardText(
        title="An encoder pre-trained to predict masked tokens and the order of sentences",
        pipeline="fill-mask",
        loader="AutoModelForPreTraining",
        output="prediction_logits",
        limits=(CLOZE,),
    )

    def head(self, encoder: Any) -> PretrainingHead:
        """Make the heads of both objectives.

        Raises:
            SettingsError: the architecture has no head for sentence order.
        """
        from bertie.ops.linear.op import Linear
        from bertie.tasks._heads import PretrainingHead

        pooler = encoder.pool("sentence_order")
        if pooler is None:
            raise SettingsError(f"{type(encoder).__name__} has no sentence order head; use the task masked_lm")
        tokens = self.masked_lm.head(encoder).token_logits
        return PretrainingHead(tokens, pooler, Linear(encoder.config.hidden_size, 2))

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the chosen tokens, and the sequences with two segments."""
        masked = self.masked_lm.counts(batch)
        if "sequence.label" not in batch.targets:
            return masked
        return {**masked, "sop": float((batch.targets["sequence.label"] != _NONE).sum())}

    def loss(self, outputs: PretrainingOutputs, batch: Batch) -> Loss:
        """Return both terms, each with weight 1. Texts that are not from a corpus have only the masked LM's term."""
        from torch.nn.functional import cross_entropy

        masked = self.masked_lm.loss(outputs.tokens, batch)
        if "sequence.label" not in batch.targets:
            return masked
        labels, scores = batch.targets["sequence.label"], outputs.next_sentence.float()
        count = self.counts(batch)["sop"]
        term = Term(1.0, cross_entropy(scores, labels, reduction="sum", ignore_index=_NONE), count)
        correct = (scores.argmax(1) == labels).sum()
        return Loss({**masked.terms, "sop": term}, {**masked.figures, "sop_accuracy": (correct, count)})


TASK = SentenceOrder
