"""Masked language model: predict chosen tokens from both sides (BERT, 3.1, task 1); fill [MASK] after training.

In each sequence exactly min(cap, max(1, round(rate x length))) tokens are chosen: 80 % are shown as [MASK], 10 % as a
random piece, 10 % as they are. Special tokens are neither chosen nor drawn as random pieces (the original draws from
the whole vocabulary). Logits are computed for the chosen tokens only. The unit of choice is a piece, a word or a span
of words. The mask rate may fall during a run (30 to 15 %: Wettig et al. 2023 on high rates, Ankner et al. 2024 on
falling ones).

A corpus is cut into sequences of one document each, or into full sequences across documents, with a [SEP] at the end
of each document (RoBERTa, 4.2, FULL-SENTENCES).

Shapes: T tokens, B sequences, M slots, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.items.text import Text, TextLike
from bertie.packed import as_array
from bertie.probabilities import largest, softmax
from bertie.sampling.instances import Instances
from bertie.sampling.masking import choose_masked
from bertie.tasks._card import CLOZE, CardText
from bertie.tasks._guess import Guess
from bertie.tasks._masked import Masked, mask_figures
from bertie.tasks._rows import rule_out
from bertie.tasks.task import Keys, Loss, Term, texts
from bertie.tokenizer.edges import word_edges
from bertie.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from bertie.nn.logits import Logits
    from bertie.tasks._heads import MaskedLMHead

_ROWS = 512  # masks decoded at a time, to limit the table of scores to 512 x V


@dataclass(frozen=True)
class Fill(Guess):
    """One prediction for one [MASK]."""

    token: str
    """The predicted piece."""
    score: float
    """Its probability."""
    token_id: int
    """Its id in the vocabulary."""

    def words(self) -> str:
        """Return the piece."""
        return self.token


Fills = list[Fill] | list[list[Fill]]
"""The prediction for one text: a list of guesses, or one list for each of several masks."""


@dataclass(frozen=True)
class MaskedLM(Masked[Text, "Logits", Fills]):
    """Predict masked tokens."""

    top_k: int = 5
    """Number of predictions for each mask when filling."""
    across_documents: bool = False
    """Whether a sequence of a corpus continues with the next document, after a [SEP], until it is full."""

    name: ClassVar[str] = "masked_lm"
    architecture: ClassVar[str] = "{}ForMaskedLM"
    needs_labels: ClassVar[bool] = False
    plan: ClassVar[str] = "texts"
    fills_masks: ClassVar[bool] = True
    card: ClassVar[CardText] = CardText(
        title="A masked language model",
        pipeline="fill-mask",
        loader="AutoModelForMaskedLM",
        output="logits",
        limits=(CLOZE,),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top_k < 1:
            raise SettingsError(f"top_k must be at least 1; got {self.top_k}")

    def corpus_plan(self) -> str:
        """Return the plan: `texts` (sequences of one document each) or `full` (sequences across documents)."""
        return "full" if self.across_documents else self.plan

    def encode(self, items: Instances | Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Choose and hide tokens by `keys`, or make each [MASK] in the texts a slot.

        Args:
            items: instances drawn from a corpus, or texts.
            tokenizer: of the model.
            keys: (B,) random streams of the masks; None leaves the tokens as they are.

        Returns:
            A batch with `slot.position` (M,) and `slot.token` (M,), the original pieces there. With `keys` it also has
            `slot.as_mask` (M,), whether a slot is shown as [MASK]. Without `keys`, `slot.token` is present only if each
            text has a label: the pieces that its masks hide.

        Raises:
            DataError: a label doesn't have exactly one piece for each mask.
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
        """Make the head, with the encoder's token logits.

        Raises:
            SettingsError: the encoder attends to the left only.
        """
        if getattr(encoder, "left_to_right", False):
            raise SettingsError(
                f"{self.name} predicts tokens from both sides, and a causal model attends to the left only; use the "
                "architecture bert"
            )
        from bertie.tasks._heads import MaskedLMHead

        return MaskedLMHead(encoder.token_logits())

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the chosen tokens."""
        return {"mlm": float(len(batch.targets["slot.token"]))}

    def loss(self, outputs: Logits, batch: Batch) -> Loss:
        """Return the cross-entropy over the whole vocabulary at the chosen tokens."""
        count = self.counts(batch)["mlm"]
        total, losses, right = outputs.cross_entropy_of_rows(batch.targets["slot.token"])
        figures = {"mlm_accuracy": (right.sum(), count), **mask_figures(losses, right, batch)}
        return Loss({"mlm": Term(1.0, total, count)}, figures)

    def decode(self, outputs: Logits, batch: Batch, items: Sequence[TextLike], tokenizer: Tokenizer) -> list[Fills]:
        """Predict each mask separately.

        Returns:
            For each item the `top_k` best predictions, best first; a list of such lists if it has several masks.

        Raises:
            DataError: an item has no mask.
        """
        rows = batch.arrays.token_rows[batch.arrays.targets["slot.position"]]
        guesses: list[list[list[Fill]]] = [[] for _ in items]
        for start in range(0, len(rows), _ROWS):
            some = slice(start, start + _ROWS)
            scores = softmax(logit_table(outputs, some))  # (rows, V)
            count = rule_out(scores, tokenizer, -1.0)
            best, ids = largest(scores, min(self.top_k, count))
            for row, values, tokens in zip(rows[some].tolist(), best.tolist(), ids.tolist(), strict=True):
                guesses[row].append(
                    [Fill(tokenizer.shown[token], score, token) for score, token in zip(values, tokens, strict=True)]
                )
        for number, by_mask in enumerate(guesses):
            if not by_mask:
                mask = tokenizer.tokens[tokenizer.mask]
                raise DataError(f"text {number + 1} has no {mask} to fill: {texts([items[number]])[0][0][:80]!r}")
        return [by_mask[0] if len(by_mask) == 1 else by_mask for by_mask in guesses]

    def score(self, predictions: Sequence[Fills], items: Sequence[Text]) -> dict[str, float]:
        """Return no scores: `mlm_accuracy` of the loss already compares the best predictions with the hidden pieces."""
        return {}


def logit_table(outputs: Any, some: slice) -> NDArray[np.float32]:
    """Return the logits of some slots, (rows, V), from `Logits` or from a table of them."""
    if isinstance(outputs, np.ndarray):
        return outputs[some]
    return as_array(replace(outputs, hidden=outputs.hidden[some]).materialise())


def space_before_mask(text: str, pair: str | None, tokenizer: Tokenizer) -> str:
    """Return a space if one precedes the first mask, else an empty text.

    Byte-level pieces include the space before them. Their mask replaces it too, so the hidden piece begins with it.
    """
    mask = tokenizer.tokens[tokenizer.mask]
    whole = text if mask in text or pair is None else pair
    return " " if whole.partition(mask)[0][-1:].isspace() else ""


def _hidden_pieces(labels: Sequence[str], counts: Sequence[int], tokenizer: Tokenizer) -> list[int]:
    """Tokenize labels into the pieces that the masks of their texts hide."""
    encoded = tokenizer.encode_batch(labels)
    for number, (label, pieces, count) in enumerate(zip(labels, encoded, counts, strict=True), 1):
        if len(pieces) != count:
            raise DataError(
                f"text {number} has {count} [MASK], but its label {label.strip()!r} has {len(pieces)} pieces; "
                "write one [MASK] for each piece"
            )
    return [piece for pieces in encoded for piece in pieces]


TASK = MaskedLM
