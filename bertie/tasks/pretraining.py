"""BERT's pre-training: masked LM plus next sentence prediction, their mean losses added (BERT, 3.1).

It combines the tasks `masked_lm` and `next_sentence` in one forward pass.

Shapes: T tokens, B sequences, M slots, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from bertie.batch import Batch
from bertie.items.text import TextLike
from bertie.nn.logits import Logits
from bertie.ops.dropout.op import Noise
from bertie.sampling.instances import Instances
from bertie.tasks._card import CLOZE, CardText
from bertie.tasks._joint import Joint
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.task import Keys, Loss
from bertie.tokenizer.tokenizer import Tokenizer


class PretrainingOutputs(NamedTuple):
    """Outputs of the two heads."""

    tokens: Logits
    """Logits of the M slots."""
    next_sentence: Tensor
    """(B, 2) logits."""


@dataclass(frozen=True)
class Pretraining(Joint[PretrainingOutputs]):
    """Predict masked tokens, and whether the second text follows the first."""

    name: ClassVar[str] = "pretraining"
    architecture: ClassVar[str] = "{}ForPreTraining"
    plan: ClassVar[str] = "pairs"
    card: ClassVar[CardText] = CardText(
        title="A pre-trained BERT encoder",
        pipeline="fill-mask",
        loader="AutoModelForPreTraining",
        output="prediction_logits",
        limits=(CLOZE,),
    )

    @property
    def next_sentence(self) -> NextSentence:
        """The next sentence task with these settings."""
        return NextSentence(self.max_length, self.truncation)

    def encode(self, items: Instances | Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Mask tokens as masked_lm does, and add the labels of next_sentence if the items have them."""
        batch = self.masked_lm.encode(items, tokenizer, keys)
        if not hasattr(items, "labels"):
            return batch
        labels = self.next_sentence.encode(items, tokenizer).targets
        return replace(batch, targets={**batch.targets, **labels})

    def head(self, encoder: Any) -> PretrainingHead:
        """Make the heads of both tasks."""
        masked, following = self.masked_lm.head(encoder), self.next_sentence.head(encoder)
        return PretrainingHead(masked.token_logits, following.pooler, following.next_sentence)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the chosen tokens and the pairs."""
        pairs = self.next_sentence.counts(batch) if "sequence.label" in batch.targets else {}
        return {**self.masked_lm.counts(batch), **pairs}

    def loss(self, outputs: PretrainingOutputs, batch: Batch) -> Loss:
        """Return both terms, each with weight 1. Texts that are not from a corpus have only the masked LM's term."""
        masked = self.masked_lm.loss(outputs.tokens, batch)
        if "sequence.label" not in batch.targets:
            return masked
        following = self.next_sentence.loss(outputs.next_sentence, batch)
        return Loss({**masked.terms, **following.terms}, {**masked.figures, **following.figures})


class PretrainingHead(nn.Module):
    """The heads of both tasks in one module, as in BertForPreTraining.

    Args:
        token_logits: from the head of masked_lm.
        pooler: from the head of next_sentence.
        next_sentence: linear layer from H to 2.
    """

    def __init__(self, token_logits: nn.Module, pooler: nn.Module, next_sentence: nn.Module) -> None:
        super().__init__()
        self.token_logits, self.pooler, self.next_sentence = token_logits, pooler, next_sentence

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> PretrainingOutputs:
        """Map (T, H) to the outputs of both heads."""
        tokens = self.token_logits(hidden[batch.targets["slot.position"]])
        return PretrainingOutputs(tokens, self.next_sentence(self.pooler(hidden, batch)))


TASK = Pretraining
