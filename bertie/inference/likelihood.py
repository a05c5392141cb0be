"""How likely a language model finds whole texts, by the sum of its pieces' log-probabilities.

A masked LM guesses each piece from all the others (pseudo-log-likelihood). Salazar et al. 2020 hide one piece at a
time, which overrates long words: all but one piece of a name give the last one away. Here the pieces to the right in
the same word are hidden too (Kauf and Ivanova 2023), unless asked otherwise. A causal LM guesses each piece from those
before it, all of a text in one pass. Logarithms are natural ones.

Shapes: T tokens, B sequences, N questions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bertie import progress
from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.inference.forward import MAX_TOKENS, numbered
from bertie.inference.predictor import Predictor
from bertie.inference.slots import (
    Ids,
    by_budget,
    log_probabilities,
    pack,
    packed_texts,
    require_masked_lm,
    sequences_of,
    word_ends,
)
from bertie.tasks._prediction import Prediction
from bertie.tokenizer.pieces import Pieces
from bertie.tokenizer.tokenizer import Tokenizer

Scoring = Literal["masked", "causal"]
"""Each piece guessed from all the others, or from those before it."""

_WINDOW = 1024  # texts planned at a time


@dataclass(frozen=True)
class Likelihood(Prediction):
    """How likely a text is, [CLS] and [SEP] left out."""

    sum: float
    """The log-likelihood, of a masked LM the pseudo-log-likelihood: the sum of `scores`."""
    per_piece: float
    """Their mean; nan for a text without pieces."""
    perplexity: float
    """e to the power of minus the mean."""
    pieces: tuple[str, ...]
    scores: tuple[float, ...]
    """Log-probability of each piece."""


def pseudo_log_likelihood(
    predictor: Predictor,
    items: Sequence[Any],
    *,
    within_word: bool = True,
    scoring: Scoring | None = None,
    bar: progress.Bar | None = None,
) -> list[Likelihood]:
    """Score texts, or pairs of texts.

    Args:
        predictor: a masked or a causal LM, or a model that is both.
        items: texts; memory grows with their number by the scores that come back only.
        within_word: whether, in masked scoring, pieces to the right in the same word are hidden too.
        scoring: what each piece is guessed from; what the model was made for when None.
        bar: is advanced by the number of texts done.

    Raises:
        SettingsError: a model of another kind.
        DataError: a text that is too long, or that holds [MASK].
    """
    way = scoring_of(predictor, "a likelihood", scoring)
    found: list[Likelihood] = []
    for first in range(0, len(items), _WINDOW):
        window = items[first : first + _WINDOW]
        pieces = packed_texts(predictor, window, first=first)
        _check(pieces, window, predictor.tokenizer, first)
        scores = piece_scores(predictor, pieces, scoring=way, within_word=within_word)
        scored = scorable(pieces.tokens, predictor.tokenizer)
        for start, end in zip(pieces.offsets[:-1], pieces.offsets[1:], strict=True):
            own = np.flatnonzero(scored[start:end]) + start
            found.append(_likelihood(pieces.tokens[own], scores[own], predictor.tokenizer))
        if bar is not None:
            bar.advance(len(window))
    return found


def _check(pieces: Pieces, items: Sequence[Any], tokenizer: Tokenizer, first: int) -> None:
    """Refuse texts with holes; say where the vocabulary has no piece for something."""
    sequences = sequences_of(pieces)
    with numbered(range(first, first + len(items)), items):
        for number, (tokens, _) in enumerate(sequences, 1):
            if (tokens == tokenizer.mask).any():
                raise DataError(f"text {number} holds [MASK]; only a whole text has a likelihood")
    unknown = sum(bool((tokens == tokenizer.unknown).any()) for tokens, _ in sequences)
    if unknown:
        progress.warn(f"{unknown} of {len(items)} texts hold what the vocabulary lacks; it is scored as [UNK]")


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
    """Tell which tokens (T,) are pieces of a text: all but [CLS], [SEP], [MASK] and [PAD]."""
    return ~np.isin(tokens, [tokenizer.start, tokenizer.separator, tokenizer.mask, tokenizer.pad])


def scoring_of(predictor: Predictor, purpose: str, asked: Scoring | None) -> Scoring:
    """Return what a model guesses each piece from: what was asked for, or what its task comes to first.

    Args:
        predictor: the model.
        purpose: what it is for, to open a message with.
        asked: a wish, if there is one.

    Raises:
        SettingsError: a model that guesses no pieces, or not in the way asked for.
    """
    task = predictor.task
    if not task.left_to_right:
        require_masked_lm(predictor, purpose)
    can: list[Scoring] = ["masked"] if task.fills_masks else []
    can += ["causal"] if task.left_to_right else []
    if asked is not None and asked not in can:
        raise SettingsError(f"scoring {asked} is none of {task.name}, which has learned {' and '.join(can)} only")
    return asked or can[0]


def piece_scores(
    predictor: Predictor, pieces: Pieces, *, scoring: Scoring, within_word: bool = True
) -> NDArray[np.float64]:
    """Score sequences that are piece ids already, in one of the two ways; see there."""
    model, tokenizer, max_tokens = predictor.model, predictor.tokenizer, predictor.max_tokens
    if scoring == "causal":
        return score_from_left(model, pieces, tokenizer, max_tokens=max_tokens)
    return score_pieces(model, pieces, tokenizer, within_word=within_word, max_tokens=max_tokens)


def score_from_left(
    model: nn.Module, pieces: Pieces, tokenizer: Tokenizer, *, max_tokens: int = MAX_TOKENS
) -> NDArray[np.float64]:
    """Score sequences, each piece from those before it: one pass a sequence.

    Args:
        model: in evaluation mode, with a head that has learned what comes next.
        pieces: B sequences of T tokens in all.
        tokenizer: of the model.
        max_tokens: of a batch.

    Returns:
        (T,) the log-probability of each piece; 0 for special tokens.
    """
    scored, scores = scorable(pieces.tokens, tokenizer), np.zeros(len(pieces.tokens))
    counts = np.add.reduceat(scored, pieces.offsets[:-1], dtype=np.int64)
    worth = np.flatnonzero(counts)  # sequences with something to score
    sequences = sequences_of(pieces)
    for chosen in by_budget(pieces.lengths[worth], max_tokens):
        own = worth[chosen]
        places = [np.flatnonzero(scored[pieces.offsets[row] : pieces.offsets[row + 1]]) for row in own]
        batch = replace(pack([sequences[row] for row in own], places), causal=True)
        wanted = batch.tokens[batch.targets["slot.position"]]
        where = np.concatenate([pieces.offsets[row] + found for row, found in zip(own, places, strict=True)])
        with torch.inference_mode():
            for some, table in log_probabilities(model, batch):
                gathered = table.gather(1, wanted[some, None].to(table.device))
                scores[where[some]] = gathered[:, 0].cpu().numpy()
    return scores


def score_pieces(
    model: nn.Module,
    pieces: Pieces,
    tokenizer: Tokenizer,
    *,
    within_word: bool = True,
    max_tokens: int = MAX_TOKENS,
) -> NDArray[np.float64]:
    """Score sequences that are piece ids already.

    Args:
        model: in evaluation mode, with a masked-LM head.
        pieces: B sequences of T tokens in all.
        tokenizer: of the model.
        within_word: whether pieces to the right in the same word are hidden too.
        max_tokens: of a batch; every piece costs one pass of its whole sequence.

    Returns:
        (T,) the log-probability of each piece; 0 for special tokens.
    """
    places = np.flatnonzero(scorable(pieces.tokens, tokenizer))
    ends = word_ends(pieces.tokens, tokenizer)[places] if within_word else places + 1
    scores = np.zeros(len(pieces.tokens))
    lengths = pieces.lengths[np.searchsorted(pieces.offsets, places, side="right") - 1]
    for chosen in by_budget(lengths, max_tokens):
        batch = _hidden(pieces, places[chosen], ends[chosen], tokenizer.mask)
        wanted = torch.from_numpy(pieces.tokens[places[chosen]])
        with torch.inference_mode():
            for some, table in log_probabilities(model, batch):
                found = table.gather(1, wanted[some, None].to(table.device))
                scores[places[chosen[some]]] = found[:, 0].cpu().numpy()
    return scores


def _hidden(pieces: Pieces, places: Ids, ends: Ids, mask: int) -> Batch:
    """Copy the sequence of each of N places, with everything from the place to its end hidden and a slot there."""
    rows = np.searchsorted(pieces.offsets, places, side="right") - 1
    starts = pieces.offsets[rows].astype(np.int64)
    offsets = np.cumsum([0, *pieces.lengths[rows]])
    copies = np.repeat(np.arange(len(places)), np.diff(offsets))
    source = np.arange(offsets[-1]) + (starts - offsets[:-1])[copies]  # where in `pieces` each token comes from
    tokens = np.where((source >= places[copies]) & (source < ends[copies]), mask, pieces.tokens[source])
    slots = offsets[:-1] + places - starts
    return Batch.pack(tokens, pieces.segments[source], offsets, targets={"slot.position": slots})
