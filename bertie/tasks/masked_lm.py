"""Masked language model: guess chosen tokens from both sides (BERT, 3.1, task 1); fill [MASK] when used.

Exactly min(cap, max(1, round(rate x length))) tokens of a sequence are chosen, 80 % shown as [MASK], 10 % as a random
piece, 10 % as they are. Special tokens are neither chosen nor drawn (the original draws from the whole vocabulary).
Logits exist only for the chosen tokens. Chosen are single pieces, whole words or spans of words; their share may fall
in the course of a run (30 to 15 %: Wettig et al. 2023 on high rates, Ankner et al. 2024 on falling ones).

A corpus is cut into sequences of one document each, or packed over the ends of documents with a [SEP] at each (RoBERTa,
4.2, FULL-SENTENCES).

Shapes: T tokens, B sequences, M slots, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.data.instances import Instances
from bertie.data.masking import choose_masked
from bertie.errors import DataError, SettingsError
from bertie.nn.dropout import Noise
from bertie.nn.projection import Logits
from bertie.tasks._masked import Masked, mask_figures
from bertie.tasks._prediction import Prediction
from bertie.tasks._rows import rule_out
from bertie.tasks.task import Keys, Loss, Term, texts
from bertie.tokenizer.edges import word_edges
from bertie.tokenizer.tokenizer import Tokenizer

_ROWS = 512  # masks decoded at a time: bounds their table of scores at 512 x V


@dataclass(frozen=True)
class Fill(Prediction):
    """One guess for one [MASK]."""

    token: str
    """The piece guessed."""
    score: float
    """Its probability."""
    token_id: int
    """Its place in the vocabulary."""


@dataclass(frozen=True)
class MaskedLM(Masked):
    """Guess masked tokens."""

    top_k: int = 5
    """Guesses a mask when filling."""
    across_documents: bool = False
    """Whether a sequence of a corpus goes on with the next document, behind a [SEP], until it is full."""

    name: ClassVar[str] = "masked_lm"
    architecture: ClassVar[str] = "{}ForMaskedLM"
    needs_labels: ClassVar[bool] = False
    plan: ClassVar[str] = "texts"
    fills_masks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k < 1:
            raise SettingsError(f"top_k must be at least 1; got {self.top_k}")

    def corpus_plan(self) -> str:
        """Name the plan: texts of one document each, or full sequences across documents."""
        return "full" if self.across_documents else self.plan

    def encode(self, items: Instances | Sequence[Any], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Corrupt by `keys`, or make a slot of every [MASK] that the texts hold.

        Args:
            items: instances drawn from a corpus, or texts.
            tokenizer: whose pieces these are.
            keys: (B,) streams of the masks; None leaves the tokens as they are.

        Returns:
            A batch with `slot.position` (M,) and `slot.token` (M,), the piece that was there. With `keys` there is also
            `slot.as_mask` (M,), whether a slot is shown as [MASK]. Texts without `keys` have `slot.token` only where
            each has a label, which is then what its masks hide.

        Raises:
            DataError: a label that has not one piece for each mask.
        """
        targets: dict[str, Any] = {}
        if isinstance(items, Instances):
            tokens, segments, offsets = items.tokens, items.segments, items.offsets
        else:
            first, second = texts(items)
            pieces = tokenizer.pack(first, second, max_length=self.max_length, truncation=self.truncation)
            tokens, segments, offsets = pieces.tokens, pieces.segments, pieces.offsets
            targets["sequence.cut"] = pieces.truncated
        if keys is None:
            targets["slot.position"] = np.flatnonzero(tokens == tokenizer.mask)
            labels = [getattr(item, "label", None) for item in items] if not isinstance(items, Instances) else [None]
            if None not in labels:
                counts = np.histogram(targets["slot.position"], offsets)[0]
                pairs = zip(first, second or [None] * len(first), strict=True)
                spaces = [space_before_mask(*both, tokenizer) for both in pairs]
                hidden = [f"{space}{label}" for space, label in zip(spaces, labels, strict=True)]
                targets["slot.token"] = _hidden_pieces(hidden, counts.tolist(), tokenizer)
        else:
            targets["slot.position"], targets["slot.token"], tokens = choose_masked(
                tokens,
                offsets,
                keys,
                rate=self.mask_rate,
                cap=self.max_masked,
                special_ids=tokenizer.special_ids,
                vocab_size=tokenizer.vocab_size,
                mask_id=tokenizer.mask,
                word_edges=None if self.masking == "token" else word_edges(tokenizer),
                goes_on=items.goes_on if isinstance(items, Instances) else None,
                spans=self.masking == "span",
            )
            targets["slot.as_mask"] = tokens[targets["slot.position"]] == tokenizer.mask
        return Batch.pack(tokens, segments, offsets, targets=targets)

    def head(self, encoder: Any) -> MaskedLMHead:
        """Make the head on the encoder's own token logits.

        Raises:
            SettingsError: an encoder that sees what is to the left only.
        """
        if getattr(encoder, "left_to_right", False):
            raise SettingsError(f"a causal model sees no token to the right, which {self.name} needs; take a bert")
        return MaskedLMHead(encoder.token_logits())

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the chosen tokens."""
        return {"mlm": float(len(batch.targets["slot.token"]))}

    def loss(self, outputs: Logits, batch: Batch) -> Loss:
        """Cross-entropy over the whole vocabulary at the chosen tokens."""
        count = self.counts(batch)["mlm"]
        total, losses, right = outputs.cross_entropy_of_rows(batch.targets["slot.token"])
        figures = {"mlm_accuracy": (right.sum(), count), **mask_figures(losses, right, batch)}
        return Loss({"mlm": Term(1.0, total, count)}, figures)

    def decode(
        self, outputs: Logits, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer
    ) -> list[list[Fill] | list[list[Fill]]]:
        """Guess every mask on its own.

        Returns:
            For each item the `top_k` best guesses, best first; a list of such lists when it has several masks.

        Raises:
            DataError: an item without a mask.
        """
        sequence = torch.searchsorted(batch.offsets.long(), batch.targets["slot.position"], right=True) - 1
        rows = batch.rows[sequence]
        guesses: list[list[list[Fill]]] = [[] for _ in items]
        for start in range(0, len(rows), _ROWS):
            some = slice(start, start + _ROWS)
            scores = replace(outputs, hidden=outputs.hidden[some]).materialise().float().softmax(-1)  # (rows, V)
            count = rule_out(scores, tokenizer, -1.0)
            best, ids = scores.topk(min(self.top_k, count), dim=1)
            for row, values, tokens in zip(rows[some].tolist(), best.tolist(), ids.tolist(), strict=True):
                guesses[row].append(
                    [Fill(tokenizer.shown[token], score, token) for score, token in zip(values, tokens, strict=True)]
                )
        for number, found in enumerate(guesses):
            if not found:
                mask = tokenizer.tokens[tokenizer.mask]
                raise DataError(f"text {number + 1} has no {mask} to fill: {texts([items[number]])[0][0][:80]!r}")
        return [found[0] if len(found) == 1 else found for found in guesses]

    def score(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, float]:
        """Score nothing further: `mlm_accuracy` of the loss compares best guesses with what the masks hide."""
        return {}


def space_before_mask(text: str, pair: str | None, tokenizer: Tokenizer) -> str:
    """Return the space that stands before the first mask, if one does.

    Byte-level pieces carry the space before them, and their mask takes it away: what it hides begins with it.
    """
    mask = tokenizer.tokens[tokenizer.mask]
    whole = text if mask in text or pair is None else pair
    return " " if whole.partition(mask)[0][-1:].isspace() else ""


def _hidden_pieces(labels: Sequence[str], counts: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """Cut labels into the pieces that the masks of their texts hide."""
    encoded = tokenizer.encode_batch(labels)
    for number, (label, pieces, count) in enumerate(zip(labels, encoded, counts, strict=True), 1):
        if len(pieces) != count:
            raise DataError(
                f"text {number} has {count} [MASK] and its label {label.strip()!r} {len(pieces)} pieces; "
                "give one [MASK] for each piece"
            )
    return [piece for pieces in encoded for piece in pieces]


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
