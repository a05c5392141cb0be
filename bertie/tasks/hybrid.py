"""Masked and causal language model in one: the same weights fill masks, score texts in both ways and continue prompts.

GPT-BERT (Charpentier and Samuel 2024): in a masked batch, hidden tokens are predicted from both sides. In a causal
batch, every token is predicted from those before it. In both, the output one position before a token predicts it
(masked next-token prediction), so that one head serves both. A run draws the kind of each batch from its first key.
This deviates from the original, which has both kinds in every step, on different processes.

A model folder fills masks and scores texts in both ways as `hybrid`, and continues prompts as `causal_lm`.

Shapes: T tokens, B sequences, M slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from torch import Tensor

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.items.text import TextLike
from bertie.nn.logits import Logits
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream, uniform
from bertie.tasks._card import CardText
from bertie.tasks._heads import NextTokenHead
from bertie.tasks._masked import mask_figures
from bertie.tasks.causal_lm import CausalLM, perplexity
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import Keys, Loss, Term
from bertie.tokenizer.tokenizer import Tokenizer

_MODE = 0x0DE  # random stream of the draw between masked and causal


@dataclass(frozen=True)
class Hybrid(MaskedLM):
    """Predict masked tokens in some batches, and every next token in the others."""

    causal_rate: float = 0.0625
    """Share of the batches that are causal. The original has 1 causal to 15 masked ones, as the default does."""

    name: ClassVar[str] = "hybrid"
    architecture: ClassVar[str] = "{}LMHeadModel"
    left_to_right: ClassVar[bool] = True
    card: ClassVar[CardText] = CardText(
        title="A BERT that fills in masked tokens and continues texts with the same weights",
        loader="BertLMHeadModel",
        output="logits",
        limits=(
            "Its logits at a position predict the next token, so the prediction for a [MASK] is at the position before "
            "it.",
            "Loaded as above, it attends to both sides. Loaded with `is_decoder=True`, it attends to the left side "
            "only, and scores and generates texts.",
            "A class for masked language models also loads it, but reads its predictions at the wrong position.",
        ),
        item="masked text",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.causal_rate <= 1.0:
            raise SettingsError(f"causal_rate must be from 0 to 1; got {self.causal_rate}")

    def encode(self, items: Instances | Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Make a masked or a causal batch, depending on the first of the `keys`. Without keys, make masks to fill."""
        if keys is None or not self.draws_causal(keys[:1]).any():
            return super().encode(items, tokenizer, keys)
        return CausalLM(max_length=self.max_length, truncation=self.truncation).encode(items, tokenizer, keys)

    def draws_causal(self, keys: Keys) -> Any:
        """Tell for each key whether it makes a batch causal if it is the batch's first key."""
        return uniform(stream(keys, _MODE)) < self.causal_rate

    def of_step(self, first_key: Keys) -> Self:
        """Return the task with masked batches only, or with causal batches only, as the step's first key decides."""
        return replace(self, causal_rate=float(self.draws_causal(first_key).any()))

    def objectives(self) -> Sequence[Self]:
        """Return the task with masked batches only and with causal batches only; itself if it has one kind only."""
        if self.causal_rate in (0.0, 1.0):
            return (self,)
        return replace(self, causal_rate=0.0), replace(self, causal_rate=1.0)

    def head(self, encoder: Any) -> Any:  # a NextTokenHead, which does not derive from MaskedLMHead
        """Make the head, with the encoder's token logits.

        Raises:
            SettingsError: the encoder attends to the left only.
        """
        return NextTokenHead(super().head(encoder).token_logits)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the predicted tokens."""
        return {"hybrid": float(len(batch.targets["slot.token"]))}

    def loss(self, outputs: Logits, batch: Batch) -> Loss:
        """Return the cross-entropy of the predicted tokens. Its figures are named after the kind of the batch."""
        count = self.counts(batch)["hybrid"]
        total, losses, right = outputs.cross_entropy_of_rows(batch.targets["slot.token"])
        kind = "causal" if batch.causal else "masked"
        figures: dict[str, tuple[Tensor, float | Tensor]]
        figures = {f"{kind}_loss": (total.detach(), count), f"{kind}_accuracy": (right.sum(), count)}
        return Loss({"hybrid": Term(1.0, total, count)}, {**figures, **mask_figures(losses, right, batch)})

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """Compute the perplexity of a token in causal batches."""
        return {"perplexity": perplexity(means["causal_loss"])} if "causal_loss" in means else {}


TASK = Hybrid
