"""Causal language model: guess every token from those before it; go on with texts when used.

Learned from a corpus: of a sequence [CLS] a b [SEP] each token but the first is guessed, at the place before it, by a
network in which no token sees what comes after it. Used by search, as `generation` is: a text is gone on with until
[SEP] or for `max_new_tokens`.

Shapes: T tokens, B sequences, M slots, H hidden, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.data.instances import Instances
from bertie.errors import DataError, SettingsError
from bertie.nn.continuation import Continuation
from bertie.nn.dropout import Noise
from bertie.nn.projection import Logits
from bertie.nn.search import Search, write
from bertie.tasks.generation import Generated, generated
from bertie.tasks.task import Cut, Keys, Loss, Task, Term, check_length, texts
from bertie.tokenizer.tokenizer import Tokenizer

_NEW = 32


class Outcome(NamedTuple):
    """What the network made of a batch: what learning needs, and what writing goes on by."""

    tokens: Logits | None
    """Of the M slots; None for texts to go on with."""
    memory: Tensor
    """(T, H)."""
    writer: Continuation


@dataclass(frozen=True)
class CausalLM(Search, Task):
    """Guess what comes next, and go on with texts by the search whose settings are among these."""

    max_length: int = 512
    """Tokens of the longest sequence; of a text that is gone on with, what is written included."""
    truncation: Cut = "error"
    """What to do with a longer text: stop, or cut it; one that is gone on with loses its beginning."""
    max_new_tokens: int = _NEW
    """Tokens to write at most, the end included; where 32 would fill more than half of max_length, half of it."""

    name: ClassVar[str] = "causal_lm"
    architecture: ClassVar[str] = "{}LMHeadModel"
    needs_labels: ClassVar[bool] = False
    plan: ClassVar[str] = "texts"
    left_to_right: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_length(self.max_length)
        if self.max_new_tokens == _NEW and self.max_length < 2 * _NEW:
            object.__setattr__(self, "max_new_tokens", max(self.min_new_tokens, self.max_length // 2))
        super().__post_init__()  # refuses what doesn't go together

    def encode(self, items: Instances | Sequence[Any], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack sequences to learn from or to measure on, or texts to go on with.

        Args:
            items: instances drawn from a corpus, or texts.
            tokenizer: whose pieces these are.
            keys: given with texts, these are to be measured; nothing is drawn from them.

        Returns:
            A causal batch with `slot.position` (M,), every place but the first of a sequence, and `slot.token` (M,),
            the piece there. Texts without `keys` have neither, and no [SEP] at the end.

        Raises:
            DataError: a text that is too long under `error`, or a pair to go on with.
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

    def _beginnings(self, items: Sequence[Any], tokenizer: Tokenizer) -> Batch:
        """Pack texts to go on with: [CLS] and as many of the last pieces as leave room for what is written."""
        room = self.max_length - self.max_new_tokens - 1
        if room < 1:
            raise SettingsError(
                f"max_new_tokens {self.max_new_tokens} leaves no room for a text in max_length {self.max_length}; "
                "lower the one or raise the other"
            )
        first, second = texts(items)
        if second is not None:
            number = next(number for number, pair in enumerate(second, 1) if pair is not None)
            raise DataError(f"text {number} is a pair; what is gone on with is one text")
        whole = tokenizer.encode_batch(first)
        cut = np.array([max(0, len(pieces) - room) for pieces in whole])
        if self.truncation == "error" and cut.any():
            number = int(cut.argmax())
            raise DataError(
                f"text {number + 1} has {len(whole[number])} pieces, and {self.max_new_tokens} tokens may be written: "
                f"more than max_length {self.max_length}; shorten it, lower max_new_tokens, or ask for truncation"
            )
        kept = [[tokenizer.start, *pieces[max(0, len(pieces) - room) :]] for pieces in whole]
        tokens = np.concatenate(kept)
        offsets = np.cumsum([0, *map(len, kept)])
        batch = Batch.pack(tokens, np.zeros_like(tokens), offsets, targets={"sequence.cut": cut})
        return replace(batch, causal=True)

    def head(self, encoder: Any) -> CausalLMHead:
        """Make the head on the encoder's own token logits.

        Raises:
            SettingsError: an encoder that can't go on with texts.
        """
        if not hasattr(encoder, "continuation"):
            raise SettingsError(f"{type(encoder).__name__} can't go on with texts; take a bert or a causal")
        return CausalLMHead(encoder)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the guessed tokens."""
        return {"causal": float(len(batch.targets["slot.token"]))}

    def loss(self, outputs: Outcome, batch: Batch) -> Loss:
        """Cross-entropy of every token but [CLS]."""
        said, count = batch.targets["slot.token"], self.counts(batch)["causal"]
        assert outputs.tokens is not None  # there are slots
        total, correct = outputs.tokens.cross_entropy(said)
        return Loss({"causal": Term(1.0, total, count)}, {"causal_accuracy": (correct, count)})

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """Work out the perplexity of a token."""
        return {"perplexity": perplexity(means["loss"])}

    def decode(self, outputs: Outcome, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Generated]:
        """Go on with the texts."""
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
        """Tell that there is no right way to go on; texts are measured by how likely they are."""
        return False

    def score(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, float]:
        """Score nothing: the loss is the measure."""
        return {}


def perplexity(loss: float) -> float:
    """Return e to the power of a mean loss; of one above 700 that of 700, as larger numbers overflow."""
    return math.exp(min(loss, 700.0))


class NextTokenHead(nn.Module):
    """Token logits at the places before the batch's slots, where what stands in the slots is guessed.

    Args:
        token_logits: the encoder's stem.
    """

    def __init__(self, token_logits: nn.Module) -> None:
        super().__init__()
        self.token_logits = token_logits

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Any:
        """Map (T, H) to the logits of M slots; none of them is the first of its sequence."""
        logits: Logits = self.token_logits(hidden[batch.targets["slot.position"] - 1])  # (M, H) -> Logits
        return logits


class CausalLMHead(NextTokenHead):
    """The same, beside what writes.

    Args:
        encoder: of whose layers and stem it is made.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__(encoder.token_logits())
        self.writer: Continuation = encoder.continuation(self.token_logits)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Outcome:
        """Guess what stands in the slots, if there are any."""
        tokens = super().forward(hidden, batch, noise) if "slot.position" in batch.targets else None
        return Outcome(tokens, hidden, self.writer)


TASK = CausalLM
