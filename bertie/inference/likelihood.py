"""The likelihood of whole texts under a language model: the sum of the pieces' log-probabilities.

A masked LM predicts each piece from all other pieces (pseudo-log-likelihood). Salazar et al. 2020 hide one piece at a
time. That overrates long words, because the other pieces of a name give the hidden one away. So by default the pieces
to its right in the same word are hidden too (Kauf and Ivanova 2023). A causal LM predicts each piece from those before
it, with one pass for a text. Logarithms are natural.

Shapes: T tokens, B sequences, N pieces to score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from bertie import progress
from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.inference.forward import MAX_TOKENS, numbered
from bertie.inference.masked_scores import (
    Ids,
    by_budget,
    log_probabilities,
    pack,
    packed_texts,
    require_masked_lm,
    scores_of,
    sequences_of,
    word_ends,
)
from bertie.inference.network import without_gradients
from bertie.inference.predictor import Predictor
from bertie.tasks._lines import row
from bertie.tasks._prediction import Prediction
from bertie.tokenizer.pieces import Pieces
from bertie.tokenizer.tokenizer import Tokenizer

Scoring = Literal["masked", "causal"]
"""How each piece is predicted: from all others (masked), or from those before it (causal)."""

_WINDOW = 1024  # texts encoded and scored at a time


@dataclass(frozen=True)
class Likelihood(Prediction):
    """The likelihood of a text, without [CLS] and [SEP]."""

    sum: float
    """The log-likelihood (pseudo-log-likelihood of a masked LM): the sum of `scores`."""
    per_piece: float
    """Mean of `scores`; nan for a text without pieces."""
    perplexity: float
    """e to the power of minus the mean."""
    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    """Log-probability of each piece."""

    @classmethod
    def table(cls, items: Sequence[Any], predictions: Sequence[Self], width: int) -> list[str]:
        """Return one row for each item: sum and mean of its log-probabilities, perplexity, text."""
        lines = [f"{'sum':>10}  {'per piece':>9}  {'perplexity':>10}"]
        for item, one in zip(items, predictions, strict=True):
            lines.append(row(f"{one.sum:>10.3f}  {one.per_piece:>9.3f}  {one.perplexity:>10.4g}  ", item, width))
        return lines


def pseudo_log_likelihood(
    predictor: Predictor,
    items: Sequence[Any],
    *,
    within_word: bool = True,
    scoring: Scoring | None = None,
    bar: progress.Bar | None = None,
) -> list[Likelihood]:
    """Return the likelihoods of texts, or of pairs of texts.

    Args:
        predictor: a masked LM, a causal LM, or a model that is both.
        items: any number of texts; only their results are kept in memory.
        within_word: whether masked scoring also hides the pieces to the right in the same word.
        scoring: how each piece is predicted. None: as the model was trained, masked first.
        bar: advanced by the number of texts done.

    Raises:
        SettingsError: the model is not a language model, or wasn't trained for this scoring.
        DataError: a text is too long, or holds [MASK].
    """
    chosen_scoring = scoring_of(predictor, "a likelihood", scoring)
    likelihoods: list[Likelihood] = []
    for first in range(0, len(items), _WINDOW):
        window = items[first : first + _WINDOW]
        pieces = packed_texts(predictor, window, first=first)
        _check(pieces, window, predictor.tokenizer, first)
        scores = piece_scores(predictor, pieces, scoring=chosen_scoring, within_word=within_word)
        scored = scorable(pieces.tokens, predictor.tokenizer)
        for start, end in zip(pieces.offsets[:-1], pieces.offsets[1:], strict=True):
            indices = np.flatnonzero(scored[start:end]) + start
            likelihoods.append(_likelihood(pieces.tokens[indices], scores[indices], predictor.tokenizer))
        if bar is not None:
            bar.advance(len(window))
    return likelihoods


def _check(pieces: Pieces, items: Sequence[Any], tokenizer: Tokenizer, first: int) -> None:
    """Refuse texts with masks, and warn of texts with [UNK]."""
    sequences = sequences_of(pieces)
    with numbered(range(first, first + len(items)), items):
        for number, (tokens, _) in enumerate(sequences, 1):
            if (tokens == tokenizer.mask).any():
                raise DataError(f"text {number} holds [MASK]; a likelihood needs a text without masks")
    unknown = sum(bool((tokens == tokenizer.unknown).any()) for tokens, _ in sequences)
    if unknown:
        progress.warn(
            f"{unknown} of {len(items)} texts have words that the vocabulary can't write; they are scored as [UNK]"
        )


def _likelihood(ids: Ids, scores: NDArray[np.float64], tokenizer: Tokenizer) -> Likelihood:
    mean = float(scores.mean()) if len(scores) else math.nan
    return Likelihood(
        float(scores.sum()),
        mean,
        float(np.exp(-mean)),
        tuple(tokenizer.tokens[token] for token in ids.tolist()),
        tuple(scores.tolist()),
    )


def scorable(tokens: Ids, tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Tell which tokens (T,) are scored: all but [CLS], [SEP], [MASK] and [PAD]."""
    return ~np.isin(tokens, [tokenizer.start, tokenizer.separator, tokenizer.mask, tokenizer.pad])


def scoring_of(predictor: Predictor, purpose: str, asked: Scoring | None) -> Scoring:
    """Return how a model is to predict each piece: as `asked`, or by default as its task does, masked first.

    Args:
        predictor: the model.
        purpose: the start of an error message.
        asked: the user's choice, or None.

    Raises:
        SettingsError: the model is not a language model, or can't predict as asked.
    """
    task = predictor.task
    if not task.left_to_right:
        require_masked_lm(predictor, purpose)
    possible: list[Scoring] = ["masked"] if task.fills_masks else []
    possible += ["causal"] if task.left_to_right else []
    if asked is not None and asked not in possible:
        raise SettingsError(
            f"{task.name} models can't do {asked} scoring; they have learned {' and '.join(possible)} scoring only"
        )
    return asked or possible[0]


def piece_scores(
    predictor: Predictor, pieces: Pieces, *, scoring: Scoring, within_word: bool = True
) -> NDArray[np.float64]:
    """Score encoded sequences by `score_from_left` (causal) or `score_pieces` (masked)."""
    model, tokenizer, max_tokens = predictor.model, predictor.tokenizer, predictor.max_tokens
    if scoring == "causal":
        return score_from_left(model, pieces, tokenizer, max_tokens=max_tokens)
    return score_pieces(model, pieces, tokenizer, within_word=within_word, max_tokens=max_tokens)


def score_from_left(
    model: Any, pieces: Pieces, tokenizer: Tokenizer, *, max_tokens: int = MAX_TOKENS
) -> NDArray[np.float64]:
    """Score sequences, predicting each piece from those before it, with one pass for each sequence.

    Args:
        model: in evaluation mode, with a head that predicts the next token.
        pieces: B sequences of T tokens in all.
        tokenizer: of the model.
        max_tokens: maximum number of tokens in a batch.

    Returns:
        (T,) log-probabilities of the pieces; 0 for special tokens.
    """
    scored, scores = scorable(pieces.tokens, tokenizer), np.zeros(len(pieces.tokens))
    counts = np.add.reduceat(scored, pieces.offsets[:-1], dtype=np.int64)
    not_empty = np.flatnonzero(counts)  # sequences with pieces to score
    sequences = sequences_of(pieces)
    for chosen in by_budget(pieces.lengths[not_empty], max_tokens):
        rows = not_empty[chosen]
        positions = [np.flatnonzero(scored[pieces.offsets[row] : pieces.offsets[row + 1]]) for row in rows]
        batch = replace(pack([sequences[row] for row in rows], positions), causal=True)
        tokens = batch.arrays.tokens[batch.arrays.targets["slot.position"]]
        indices = np.concatenate([pieces.offsets[row] + within for row, within in zip(rows, positions, strict=True)])
        with without_gradients(model):
            for part, table in log_probabilities(model, batch):
                scores[indices[part]] = scores_of(table, tokens[part])
    return scores


def score_pieces(
    model: Any,
    pieces: Pieces,
    tokenizer: Tokenizer,
    *,
    within_word: bool = True,
    max_tokens: int = MAX_TOKENS,
) -> NDArray[np.float64]:
    """Score sequences, predicting each piece from all others, with one pass of the whole sequence for each piece.

    Args:
        model: in evaluation mode, with a masked-LM head.
        pieces: B sequences of T tokens in all.
        tokenizer: of the model.
        within_word: whether pieces to the right in the same word are hidden too.
        max_tokens: maximum number of tokens in a batch.

    Returns:
        (T,) log-probabilities of the pieces; 0 for special tokens.
    """
    indices = np.flatnonzero(scorable(pieces.tokens, tokenizer))
    ends = word_ends(pieces.tokens, tokenizer)[indices] if within_word else indices + 1
    scores = np.zeros(len(pieces.tokens))
    lengths = pieces.lengths[np.searchsorted(pieces.offsets, indices, side="right") - 1]
    for chosen in by_budget(lengths, max_tokens):
        batch = _hidden(pieces, indices[chosen], ends[chosen], tokenizer.mask)
        tokens = pieces.tokens[indices[chosen]].astype(np.int64)
        with without_gradients(model):
            for part, table in log_probabilities(model, batch):
                scores[indices[chosen[part]]] = scores_of(table, tokens[part])
    return scores


def _hidden(pieces: Pieces, indices: Ids, ends: Ids, mask: int) -> Batch:
    """Copy a sequence for each of N pieces, with [MASK] from the piece's index to its end, and a slot at the piece."""
    rows = np.searchsorted(pieces.offsets, indices, side="right") - 1
    starts = pieces.offsets[rows].astype(np.int64)
    offsets = np.cumsum([0, *pieces.lengths[rows]])
    copies = np.repeat(np.arange(len(indices)), np.diff(offsets))
    source = np.arange(offsets[-1]) + (starts - offsets[:-1])[copies]  # index in `pieces` of each copied token
    tokens = np.where((source >= indices[copies]) & (source < ends[copies]), mask, pieces.tokens[source])
    slots = offsets[:-1] + indices - starts
    return Batch.pack(tokens, pieces.segments[source], offsets, targets={"slot.position": slots})
