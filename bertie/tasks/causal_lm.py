"""Causal language model: predict every token from those before it; continue prompts after training.

Training: in a sequence [CLS] a b [SEP] of a corpus, the output at each position predicts the next token. No token
attends to later ones. Prediction: a search, as in `generation`, continues a prompt until [SEP] or for `max_new_tokens`.

Shapes: T tokens, B sequences, M slots, H hidden, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.items.text import Text, TextLike
from bertie.nn.abilities import CanContinue
from bertie.nn.continuation import Continuation
from bertie.nn.logits import Logits
from bertie.nn.search import Search, write
from bertie.ops.dropout.op import Noise
from bertie.sampling.instances import Instances
from bertie.tasks._card import GENERATED, CardText
from bertie.tasks._encoding import check_length
from bertie.tasks._heads import NextTokenHead
from bertie.tasks.generation import Generated, generated
from bertie.tasks.task import Cut, Keys, Loss, Task, Term, texts
from bertie.tokenizer.tokenizer import Tokenizer

_NEW = 32


class Outcome(NamedTuple):
    """Outputs of the network: the logits for training, the rest for generating text."""

    tokens: Logits | None
    """Logits of the M slots; None for prompts."""
    memory: Tensor
    """(T, H) hidden vectors."""
    writer: Continuation


@dataclass(frozen=True)
class CausalLM(Search, Task[Text, Outcome, Generated]):
    """Predict the next token, and continue prompts by search. The settings of the search are among these."""

    max_length: int = 512
    """Tokens of the longest sequence; for a prompt, the new tokens are included."""
    truncation: Cut = "error"
    """What to do with a longer text: refuse it (error), or cut and count it (truncate). Prompts lose their start."""
    max_new_tokens: int = _NEW
    """Maximum number of new tokens, the end token included. The default is 32, or half of max_length if less."""

    name: ClassVar[str] = "causal_lm"
    architecture: ClassVar[str] = "{}LMHeadModel"
    needs_labels: ClassVar[bool] = False
    plan: ClassVar[str] = "texts"
    left_to_right: ClassVar[bool] = True
    card: ClassVar[CardText] = CardText(
        title="A decoder-only BERT that continues a text",
        pipeline="text-generation",
        loader="AutoModelForCausalLM",
        output="",
        limits=(GENERATED,),
    )

    def __post_init__(self) -> None:
        check_length(self.max_length)
        if self.max_new_tokens == _NEW and self.max_length < 2 * _NEW:
            object.__setattr__(self, "max_new_tokens", max(self.min_new_tokens, self.max_length // 2))
        super().__post_init__()  # checks the settings of the search

    def encode(self, items: Instances | Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack sequences for training or evaluation, or prompts to continue.

        Args:
            items: instances drawn from a corpus, or texts.
            tokenizer: of the model.
            keys: with texts, any keys mean that the texts are to be evaluated; without keys they are prompts.

        Returns:
            A causal batch. `slot.position` (M,) holds all positions but the first of each sequence, `slot.token` (M,)
            the pieces there. Prompts have neither, and no [SEP] at the end.

        Raises:
            DataError: a text is too long under `error`, or a prompt is a pair.
        """
        targets: dict[str, Any] = {}
        if isinstance(items, Instances):
            tokens, segments, offsets = items.tokens, items.segments, items.offsets
        elif keys is None:
            return self._beginnings(items, tokenizer)
        else:
            pieces = tokenizer.pack(*texts(items), max_length=self.max_length, truncation=self.truncation)
            tokens, segments, offsets = pieces.tokens, pieces.segments, pieces.offsets
            targets["sequence.cut"] = pieces.truncated
        targets["slot.position"] = np.delete(np.arange(len(tokens)), offsets[:-1])
        targets["slot.token"] = tokens[targets["slot.position"]]
        return replace(Batch.pack(tokens, segments, offsets, targets=targets), causal=True)

    def _beginnings(self, items: Sequence[TextLike], tokenizer: Tokenizer) -> Batch:
        """Pack prompts: [CLS] and the last pieces of each, so many that the new tokens fit behind them."""
        room = self.max_length - self.max_new_tokens - 1
        if room < 1:
            raise SettingsError(
                f"max_new_tokens {self.max_new_tokens} leaves no room for a prompt in max_length {self.max_length}; "
                "lower max_new_tokens or raise max_length"
            )
        first, second = texts(items)
        if second is not None:
            number = next(number for number, pair in enumerate(second, 1) if pair is not None)
            raise DataError(f"text {number} is a pair; a prompt is a single text")
        whole = tokenizer.encode_batch(first)
        cut = np.array([max(0, len(pieces) - room) for pieces in whole])
        if self.truncation == "error" and cut.any():
            number = int(cut.argmax())
            raise DataError(
                f"text {number + 1} has {len(whole[number])} pieces and may get {self.max_new_tokens} new tokens, more "
                f"than max_length {self.max_length}; shorten it, lower max_new_tokens, or set truncation=truncate"
            )
        kept = [[tokenizer.start, *pieces[max(0, len(pieces) - room) :]] for pieces in whole]
        tokens = np.concatenate(kept)
        offsets = np.cumsum([0, *map(len, kept)])
        batch = Batch.pack(tokens, np.zeros_like(tokens), offsets, targets={"sequence.cut": cut})
        return replace(batch, causal=True)

    def head(self, encoder: Any) -> CausalLMHead:
        """Make the head, with the encoder's token logits.

        Raises:
            SettingsError: the encoder can't continue texts.
        """
        if not isinstance(encoder, CanContinue):
            raise SettingsError(f"{type(encoder).__name__} can't continue texts; use the architecture bert or causal")
        return CausalLMHead(encoder)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the predicted tokens."""
        return {"causal": float(len(batch.targets["slot.token"]))}

    def loss(self, outputs: Outcome, batch: Batch) -> Loss:
        """Return the cross-entropy of every token but [CLS]."""
        target, count = batch.targets["slot.token"], self.counts(batch)["causal"]
        assert outputs.tokens is not None  # training batches have slots
        total, correct = outputs.tokens.cross_entropy(target)
        return Loss({"causal": Term(1.0, total, count)}, {"causal_accuracy": (correct, count)})

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """Compute the perplexity of a token."""
        return {"perplexity": perplexity(means["loss"])}

    def decode(
        self, outputs: Outcome, batch: Batch, items: Sequence[TextLike], tokenizer: Tokenizer
    ) -> list[Generated]:
        """Continue the prompts."""
        lasts = batch.tokens[batch.offsets[1:].long() - 1]
        written = write(
            outputs.writer,
            outputs.memory,
            batch,
            self,
            start=lasts,
            end=tokenizer.separator,
            size=tokenizer.vocab_size,
            gaps=tokenizer.gaps,
        )
        return generated(written, tokenizer)

    def has_gold(self, item: Any) -> bool:
        """Return False: a continuation has no label. Evaluation measures the probability of texts instead."""
        return False

    def score(self, predictions: Sequence[Generated], items: Sequence[Text]) -> dict[str, float]:
        """Return no scores: evaluation uses the loss."""
        return {}


def perplexity(loss: float) -> float:
    """Return e to the power of a mean loss. A loss above 700 counts as 700, because the result would overflow."""
    return math.exp(min(loss, 700.0))


class CausalLMHead(NextTokenHead):
    """A `NextTokenHead` that also continues prompts.

    Args:
        encoder: provides the blocks and the token logits.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__(encoder.token_logits())
        self.writer: Continuation = encoder.continuation(self.token_logits)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Outcome:
        """Return the logits of the slots, if the batch has any, and the parts that continue prompts."""
        tokens = super().forward(hidden, batch, noise) if "slot.position" in batch.targets else None
        return Outcome(tokens, hidden, self.writer)


TASK = CausalLM
