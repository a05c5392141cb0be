"""Several [MASK]s of a text filled together: a beam search over their joint probability.

Each step fills one mask, the one that the model is surest of, and what is filled is seen by the next step. The order
depends on nothing but what is filled so far, so the product of these probabilities is itself one: over all fillings of
a text it adds up to what the model gives to pieces that are no special tokens.

Shapes: S tokens of one sequence, M slots, K guesses, V vocabulary.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bertie import progress
from bertie.errors import SettingsError
from bertie.inference.predictor import Predictor
from bertie.inference.slots import (
    Encoded,
    Ids,
    by_budget,
    log_probabilities,
    pack,
    packed_texts,
    require_masked_lm,
    sequences_of,
    the_masks,
)
from bertie.tasks._prediction import Prediction
from bertie.tasks._rows import rule_out

BEAMS = 10
_WINDOW = 128  # texts searched at a time


@dataclass(frozen=True)
class Filling(Prediction):
    """One way to fill all masks of a text."""

    tokens: tuple[str, ...]
    """The piece of each mask, in the order of the text."""
    score: float
    """The probability of them together."""
    token_ids: tuple[int, ...]
    """Their places in the vocabulary."""


@dataclass(frozen=True, eq=False)
class _Beam:
    """A sequence, some masks of which are filled."""

    tokens: Ids
    """(S,)."""
    segments: Ids
    """(S,)."""
    score: float = 0.0
    """Log-probability of what is filled."""


def fill_jointly(
    predictor: Predictor,
    items: Sequence[Any],
    *,
    top_k: int | None = None,
    beams: int = BEAMS,
    bar: progress.Bar | None = None,
) -> list[list[Filling]]:
    """Fill all masks of each text together.

    Args:
        predictor: a masked LM.
        items: texts, or pairs of texts, each with one [MASK] at least.
        top_k: fillings wanted of a text; the task's `top_k` when None.
        beams: partial fillings of a text kept at each step, `top_k` at least.
        bar: is advanced by the number of texts done.

    Returns:
        For each text its fillings, likeliest first.

    Raises:
        SettingsError: a model of another kind.
        DataError: a text without a mask, or too long.
    """
    require_masked_lm(predictor, "filling masks")
    task: Any = predictor.task
    wanted = task.top_k if top_k is None else top_k
    if wanted < 1 or beams < 1:
        raise SettingsError(f"top_k and beams must be at least 1; got {wanted} and {beams}")
    names = predictor.tokenizer.shown
    found: list[list[Filling]] = []
    for first in range(0, len(items), _WINDOW):
        window = items[first : first + _WINDOW]
        sequences = sequences_of(packed_texts(predictor, window, first=first))
        the_masks(sequences, window, predictor.tokenizer, first=first)
        for ways in beam_search(predictor, sequences, beams=max(beams, wanted)):
            found.append(
                [Filling(tuple(names[piece] for piece in ids), math.exp(score), ids) for ids, score in ways[:wanted]]
            )
        if bar is not None:
            bar.advance(len(window))
    return found


def beam_search(
    predictor: Predictor, sequences: Sequence[Encoded], *, beams: int
) -> list[list[tuple[tuple[int, ...], float]]]:
    """Fill the masks of encoded texts.

    Args:
        predictor: a masked LM.
        sequences: with [MASK]s.
        beams: partial fillings kept of each.

    Returns:
        For each sequence at most `beams` ways, likeliest first: a piece for each mask, and their log-probability.
    """
    mask = predictor.tokenizer.mask
    alive = [[_Beam(tokens, segments)] for tokens, segments in sequences]
    places = [np.flatnonzero(tokens == mask) for tokens, _ in sequences]
    for step in range(max(map(len, places), default=0)):
        open_beams = [(row, beam) for row, own in enumerate(alive) if step < len(places[row]) for beam in own]
        grown: dict[int, list[tuple[float, _Beam, int, int]]] = {row: [] for row, _ in open_beams}
        for chosen in by_budget([len(beam.tokens) for _, beam in open_beams], predictor.max_tokens):
            some = [open_beams[number] for number in chosen]
            guesses = _guesses(predictor, [beam for _, beam in some], beams)
            for (row, beam), (place, pieces, scores) in zip(some, guesses, strict=True):
                for piece, score in zip(pieces.tolist(), scores.tolist(), strict=True):
                    grown[row].append((beam.score + score, beam, place, piece))
        for row, ways in grown.items():  # only what is kept gets a copy of its sequence
            best = heapq.nlargest(beams, ways, key=lambda way: way[0])
            alive[row] = [_filled(beam, place, piece, score) for score, beam, place, piece in best]
    return [
        [(tuple(beam.tokens[own].tolist()), beam.score) for beam in ways]
        for own, ways in zip(places, alive, strict=True)
    ]


def _guesses(
    predictor: Predictor, beams: Sequence[_Beam], count: int
) -> Iterator[tuple[int, Ids, NDArray[np.float64]]]:
    """Find the mask of each beam that the model is surest of: its place, the best pieces (K,) and their scores (K,)."""
    tokenizer = predictor.tokenizer
    places = [np.flatnonzero(beam.tokens == tokenizer.mask) for beam in beams]
    batch = pack([(beam.tokens, beam.segments) for beam in beams], places)
    special = list(tokenizer.special_ids)
    kept = min(count, tokenizer.vocab_size - len(tokenizer.gaps) - len(special))
    scores, pieces = [], []
    with torch.inference_mode():
        for _, table in log_probabilities(predictor.model, batch):
            table[:, special] = -math.inf  # a hole filled with another hole would be no filling
            rule_out(table, tokenizer, -math.inf)
            best, ids = table.topk(kept, dim=1)
            scores.append(best.double().cpu().numpy())
            pieces.append(ids.cpu().numpy())
    all_scores, all_pieces = np.concatenate(scores), np.concatenate(pieces)  # (M, K)
    first = 0
    for own in places:
        surest = first + int(all_scores[first : first + len(own), 0].argmax())
        yield int(own[surest - first]), all_pieces[surest], all_scores[surest]
        first += len(own)


def _filled(beam: _Beam, place: int, piece: int, score: float) -> _Beam:
    tokens = beam.tokens.copy()
    tokens[place] = piece
    return _Beam(tokens, beam.segments, score)
