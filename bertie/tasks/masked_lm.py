"""Masked language model: guess chosen tokens from both sides (BERT, 3.1, task 1); fill [MASK] when used.

Exactly min(cap, max(1, round(rate x length))) tokens of a sequence are chosen, 80 % shown as [MASK], 10 % as a random
piece, 10 % as they are. Special tokens are neither chosen nor drawn (the original draws from the whole vocabulary).
Logits exist only for the chosen tokens.

Shapes: T tokens, B sequences, M slots, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.data.instances import Instances
from bertie.data.masking import choose_masked
from bertie.errors import DataError
from bertie.nn.dropout import Noise
from bertie.nn.projection import Logits
from bertie.tasks.task import Keys, Loss, Term, Truncation, texts
from bertie.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Fill:
    """One guess for one [MASK]."""

    token: str
    """The piece guessed."""
    score: float
    """Its probability."""
    token_id: int
    """Its place in the vocabulary."""


@dataclass(frozen=True)
class MaskedLM:
    """Guess masked tokens."""

    max_length: int = 512
    """Tokens of the longest sequence."""
    truncation: Truncation = "error"
    """What to do with a longer text."""
    mask_rate: float = 0.15
    """Share of a sequence's tokens, [CLS] and [SEP] counted, that are chosen."""
    max_masked: int | None = None
    """Most tokens chosen in one sequence; no cap when None."""
    top_k: int = 5
    """Guesses a mask when filling."""

    name: ClassVar[str] = "masked_lm"
    architecture: ClassVar[str] = "{}ForMaskedLM"

    def encode(self, items: Instances | Sequence[Any], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Corrupt by `keys`, or make a slot of every [MASK] that the texts hold.

        Args:
            items: instances drawn from a corpus, or texts.
            tokenizer: whose pieces these are.
            keys: (B,) streams of the masks; None leaves the tokens as they are.

        Returns:
            A batch with `slot.position` (M,) and `slot.token` (M,), the piece that was there.
        """
        if isinstance(items, Instances):
            tokens, segments, offsets = items.tokens, items.segments, items.offsets
        else:
            first, second = texts(items)
            pieces = tokenizer.pack(first, second, max_length=self.max_length, truncation=self.truncation)
            tokens, segments, offsets = pieces.tokens, pieces.segments, pieces.offsets
        if keys is None:
            positions = np.flatnonzero(tokens == tokenizer.mask)
            original = tokens[positions]
        else:
            positions, original, tokens = choose_masked(
                tokens,
                offsets,
                keys,
                rate=self.mask_rate,
                cap=self.max_masked,
                special_ids=tokenizer.special_ids,
                vocab_size=tokenizer.vocab_size,
                mask_id=tokenizer.mask,
            )
        return Batch.pack(
            tokens, segments, offsets, targets={"slot.position": positions, "slot.token": original}
        )

    def head(self, encoder: Any) -> MaskedLMHead:
        """Make the head on the encoder's own token logits."""
        return MaskedLMHead(encoder.token_logits())

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the chosen tokens."""
        return {"mlm": float(len(batch.targets["slot.token"]))}

    def loss(self, outputs: Logits, batch: Batch) -> Loss:
        """Cross-entropy over the whole vocabulary at the chosen tokens."""
        count = self.counts(batch)["mlm"]
        total, correct = outputs.cross_entropy(batch.targets["slot.token"])
        return Loss({"mlm": Term(1.0, total, count)}, {"mlm_accuracy": (correct, count)})

    def decode(self, outputs: Logits, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Any]:
        """Guess every mask on its own.

        Returns:
            For each item the `top_k` best guesses, best first; a list of such lists when it has several masks.

        Raises:
            DataError: an item without a mask.
        """
        scores = outputs.materialise().float().softmax(-1)  # (M, V)
        best, ids = scores.topk(min(self.top_k, scores.shape[1]), dim=1)
        sequence = torch.searchsorted(batch.offsets.long(), batch.targets["slot.position"], right=True) - 1
        guesses: list[list[list[Fill]]] = [[] for _ in items]
        for row, values, tokens in zip(batch.rows[sequence].tolist(), best.tolist(), ids.tolist(), strict=True):
            guesses[row].append(
                [Fill(tokenizer.tokens[token], score, token) for score, token in zip(values, tokens, strict=True)]
            )
        for number, found in enumerate(guesses):
            if not found:
                raise DataError(f"text {number + 1} has no [MASK] to fill: {texts([items[number]])[0][0][:80]!r}")
        return [found[0] if len(found) == 1 else found for found in guesses]

    def score(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, float]:
        """Measure how often the best guess of an item's only mask is its label; nothing for items without labels."""
        pairs = [(guess, item.label) for guess, item in zip(predictions, items, strict=True) if item.label is not None]
        return {"accuracy": sum(guess[0].token == label for guess, label in pairs) / len(pairs)} if pairs else {}


class MaskedLMHead(nn.Module):
    """Token logits at the batch's slots.

    Args:
        token_logits: the encoder's stem.
    """

    def __init__(self, token_logits: nn.Module) -> None:
        super().__init__()
        self.token_logits = token_logits

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Logits:
        """Map (T, H) to the logits of M slots."""
        logits: Logits = self.token_logits(hidden[batch.targets["slot.position"]])  # (M, H) -> Logits
        return logits


TASK = MaskedLM
