"""BERT's pre-training: masked LM plus next sentence prediction, their mean losses added (BERT, 3.1).

It combines the tasks `masked_lm` and `next_sentence` in one forward pass.

Shapes: T tokens, B sequences, M slots, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.batch import Batch
from bertie.items.text import TextLike
from bertie.packed import Packed
from bertie.sampling.instances import Instances
from bertie.tasks._card import CLOZE, CardText
from bertie.tasks._joint import Joint
from bertie.tasks._outputs import PretrainingOutputs
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.task import Keys, Loss
from bertie.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from bertie.tasks._heads import PretrainingHead


@dataclass(frozen=True)
class Pretraining(Joint[PretrainingOutputs]):
    """Predict masked tokens, and whether the second text follows the first."""

    name: ClassVar[str] = "pretraining"
    architecture: ClassVar[str] = "{}ForPreTraining"
    graph_outputs: ClassVar[tuple[str, ...]] = ("prediction_logits", "seq_relationship_logits")
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
        from bertie.tasks._heads import PretrainingHead

        masked, following = self.masked_lm.head(encoder), self.next_sentence.head(encoder)
        return PretrainingHead(masked.token_logits, following.pooler, following.next_sentence)

    def restored(self, named: Mapping[str, NDArray[np.float32]], batch: Packed) -> Any:
        """Return the outputs of both heads."""
        logits: Any = named["prediction_logits"]
        pairs: Any = named["seq_relationship_logits"]
        return PretrainingOutputs(logits, pairs)

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


TASK = Pretraining
