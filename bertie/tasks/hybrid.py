"""Masked and causal in one model: the same weights fill masks, score texts in both ways and go on with them.

GPT-BERT (Charpentier and Samuel 2024): a batch is either masked, and its hidden tokens are guessed from both sides, or
causal, and every token is guessed from those before it. In both a token is guessed at the place before it (masked
next-token prediction), so that the two share one head. A run draws which of both a batch is, by a key of its own; a
deviation said aloud: the original has both kinds in every step, on different processes.

A folder of it is used as it is for masks and both scores, and as `causal_lm` for going on with texts.

Shapes: T tokens, B sequences, M slots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from torch import Tensor

from bertie.batch import Batch
from bertie.data.instances import Instances
from bertie.data.random import stream, uniform
from bertie.errors import SettingsError
from bertie.nn.projection import Logits
from bertie.tasks._masked import mask_figures
from bertie.tasks.causal_lm import CausalLM, NextTokenHead, perplexity
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import Keys, Loss, Term
from bertie.tokenizer.tokenizer import Tokenizer

_MODE = 0x0DE  # what a batch's key is for


@dataclass(frozen=True)
class Hybrid(MaskedLM):
    """Guess masked tokens in some batches, and every next token in the others."""

    causal_rate: float = 0.0625
    """Share of the batches that are causal; the original's is 1 to 15."""

    name: ClassVar[str] = "hybrid"
    architecture: ClassVar[str] = "{}LMHeadModel"
    left_to_right: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.causal_rate <= 1.0:
            raise SettingsError(f"causal_rate must be from 0 to 1; got {self.causal_rate}")

    def encode(self, items: Instances | Sequence[Any], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Make a masked or a causal batch, by the first of the `keys`; without keys, one with masks to fill."""
        if keys is None or not self.draws_causal(keys[:1]).any():
            return super().encode(items, tokenizer, keys)
        return CausalLM(max_length=self.max_length, truncation=self.truncation).encode(items, tokenizer, keys)

    def draws_causal(self, keys: Keys) -> Any:
        """Tell of each key whether a batch that begins with it is causal."""
        return uniform(stream(keys, _MODE)) < self.causal_rate

    def aspects(self) -> Sequence[Self]:
        """Return the task with masked batches only and with causal ones only, or itself where it has but one kind."""
        if self.causal_rate in (0.0, 1.0):
            return (self,)
        return replace(self, causal_rate=0.0), replace(self, causal_rate=1.0)

    def head(self, encoder: Any) -> Any:  # a NextTokenHead, which is no MaskedLMHead
        """Make the head on the encoder's own token logits.

        Raises:
            SettingsError: an encoder that can't see both sides.
        """
        return NextTokenHead(super().head(encoder).token_logits)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the guessed tokens."""
        return {"hybrid": float(len(batch.targets["slot.token"]))}

    def loss(self, outputs: Logits, batch: Batch) -> Loss:
        """Cross-entropy of the guessed tokens; its figures say of which kind they were."""
        count = self.counts(batch)["hybrid"]
        total, losses, right = outputs.cross_entropy_of_rows(batch.targets["slot.token"])
        kind = "causal" if batch.causal else "masked"
        own: dict[str, tuple[Tensor, float | Tensor]]
        own = {f"{kind}_loss": (total.detach(), count), f"{kind}_accuracy": (right.sum(), count)}
        return Loss({"hybrid": Term(1.0, total, count)}, {**own, **mask_figures(losses, right, batch)})

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """Work out the perplexity of a token that is guessed from the left."""
        return {"perplexity": perplexity(means["causal_loss"])} if "causal_loss" in means else {}


TASK = Hybrid
