"""Masked LM plus passages: tell the other passage of a document from those of other documents (Giorgi et al. 2021).

A masked LM learns what stands next to what; the mean of its hidden vectors says little about what a text is about. Two
passages of one document are about the same, so their means are drawn together and those of other documents pushed
apart (InfoNCE). Both objectives look at the same masked tokens, so that the second one costs next to nothing. The
contrast has no weights of its own: what is written is a masked language model.

Shapes: T tokens, B sequences, M slots, P pairs, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.data.instances import Instances
from bertie.errors import SettingsError
from bertie.nn.contrastive import contrastive
from bertie.nn.dropout import Noise
from bertie.nn.pooling import TextPooling
from bertie.nn.projection import Logits
from bertie.tasks._masked import Masked
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import Keys, Loss, Term
from bertie.tokenizer.tokenizer import Tokenizer


class Outputs(NamedTuple):
    """What the head gives."""

    tokens: Logits
    """Logits of the M slots."""
    passages: Tensor
    """(B, H) mean hidden vector of each sequence, in fp32."""


@dataclass(frozen=True)
class Passages(Masked):
    """Guess masked tokens, and which passages are of one document."""

    top_k: int = 5
    """Guesses a mask when filling."""
    contrast: float = 1.0
    """Weight of the passages beside the masked tokens."""
    scale: float = 20.0
    """What cosines are multiplied with before the softmax (an inverse temperature)."""

    name: ClassVar[str] = "passages"
    architecture: ClassVar[str] = "{}ForMaskedLM"
    needs_labels: ClassVar[bool] = False
    whole_batch: ClassVar[bool] = True
    plan: ClassVar[str] = "passages"
    fills_masks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _ = self.masked_lm  # which checks the settings of both
        for name in ("contrast", "scale"):
            if not getattr(self, name) > 0.0:
                raise SettingsError(f"{name} must be above 0; got {getattr(self, name)}")

    @property
    def masked_lm(self) -> MaskedLM:
        """The first half, with these settings."""
        return MaskedLM(**self.masking_settings, top_k=self.top_k)

    def encode(self, items: Any, tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Corrupt as masked_lm does; of a corpus `sequence.document` (B,) says which document a sequence is from."""
        batch = self.masked_lm.encode(items, tokenizer, keys)
        if not isinstance(items, Instances) or items.documents is None:
            return batch
        return replace(batch, targets={**batch.targets, "sequence.document": torch.from_numpy(items.documents)})

    def head(self, encoder: Any) -> PassagesHead:
        """Make the head of masked_lm, and the mean."""
        return PassagesHead(self.masked_lm.head(encoder).token_logits)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count chosen tokens and pairs of passages."""
        counts = self.masked_lm.counts(batch)
        if "sequence.document" not in batch.targets:
            return counts
        return {**counts, "passages": float(len(_first_of_pairs(batch.targets["sequence.document"])))}

    def loss(self, outputs: Outputs, batch: Batch) -> Loss:
        """Both terms; texts from elsewhere than a corpus have no documents and the first one only."""
        masked = self.masked_lm.loss(outputs.tokens, batch)
        if "sequence.document" not in batch.targets:
            return masked
        documents = batch.targets["sequence.document"]
        first = _first_of_pairs(documents)
        if not len(first):  # of which there is no cross-entropy
            none = outputs.passages.sum() * 0.0
            return Loss({**masked.terms, "passages": Term(self.contrast, none, 0.0)}, masked.figures)
        total, right = contrastive(
            outputs.passages[first],
            outputs.passages[first + 1],
            text_names=documents[first],
            candidate_names=documents[first],
            scale=self.scale,
            symmetric=True,
        )
        count = float(len(first))
        figures = {**masked.figures, "passage_accuracy": (right, count)}
        return Loss({**masked.terms, "passages": Term(self.contrast, total, count)}, figures)

    def decode(self, outputs: Outputs, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Any]:
        """Fill the masks."""
        return self.masked_lm.decode(outputs.tokens, batch, items, tokenizer)

    def score(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, float]:
        """Score the filled masks."""
        return self.masked_lm.score(predictions, items)


class PassagesHead(nn.Module):
    """Token logits at the slots, and the mean of each sequence.

    Args:
        token_logits: stem of masked_lm.
    """

    def __init__(self, token_logits: nn.Module) -> None:
        super().__init__()
        self.token_logits = token_logits
        self.pooling = TextPooling("mean", normalized=False)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Outputs:
        """Map (T, H) to logits and means."""
        return Outputs(self.token_logits(hidden[batch.targets["slot.position"]]), self.pooling(hidden, batch))


def _first_of_pairs(documents: Tensor) -> Tensor:
    """Return the sequences (P,) whose follower is the other passage of their pair.

    Args:
        documents: (B,), where the passages of a pair stand behind one another. Where a batch begins or ends within a
            pair, that passage stands alone.
    """
    if len(documents) < 2:
        return torch.zeros(0, dtype=torch.long, device=documents.device)
    same = documents[1:] == documents[:-1]
    begins = torch.cat([same.new_ones(1), ~same])  # (B,) whether a run of one document begins
    number = torch.arange(len(documents), device=documents.device)
    start = torch.where(begins, number, 0).cummax(0).values
    return ((number - start)[:-1].remainder(2).eq(0) & same).nonzero().flatten()


TASK = Passages
