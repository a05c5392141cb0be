"""Fill several [MASK]s of a text together, by a beam search over their joint probability.

Each step fills the mask with the most confident prediction, and the next step sees the filled piece. The order depends
only on the pieces filled so far, so the product of the step probabilities is the probability of a filling. Over all
fillings of a text it adds up to the probability that the model gives to pieces other than special tokens.

Shapes: S tokens of one sequence, M slots, K guesses, V vocabulary.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie import progress
from bertie.errors import SettingsError
from bertie.inference.masked_scores import (
    Encoded,
    Ids,
    best_of,
    by_budget,
    log_probabilities,
    pack,
    packed_texts,
    require_masked_lm,
    sequences_of,
    the_masks,
)
from bertie.inference.network import without_gradients
from bertie.inference.predictor import Predictor
from bertie.tasks._guess import Guess
from bertie.tasks._rows import rule_out

BEAMS = 10
_WINDOW = 128  # texts searched at a time


@dataclass(frozen=True)
class Filling(Guess):
    """One way to fill all masks of a text."""

    tokens: tuple[str, ...]
    """The piece for each mask, in the order of the text."""
    score: float
    """Joint probability of the pieces."""
    token_ids: tuple[int, ...]
    """Ids of the pieces in the vocabulary."""

    key: ClassVar[str] = "fillings"

    def words(self) -> str:
        """Return the pieces."""
        return " … ".join(self.tokens)


@dataclass(frozen=True, eq=False)
class _Beam:
    """A sequence with some of its masks filled."""

    tokens: Ids
    """(S,)."""
    segments: Ids
    """(S,)."""
    score: float = 0.0
    """Log-probability of the filled pieces."""


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
        items: texts, or pairs of texts, each with at least one [MASK].
        top_k: number of fillings for each text. None: the task's `top_k`.
        beams: number of partial fillings of a text kept at each step, at least `top_k`.
        bar: advanced by the number of texts done.

    Returns:
        For each text its fillings, most probable first.

    Raises:
        SettingsError: the model is not a masked LM, or a number is below 1.
        DataError: a text has no mask or is too long.
    """
    require_masked_lm(predictor, "filling masks")
    task: Any = predictor.task
    wanted = task.top_k if top_k is None else top_k
    if wanted < 1 or beams < 1:
        raise SettingsError(f"top_k and beams must be at least 1; got {wanted} and {beams}")
    names = predictor.tokenizer.shown
    fillings: list[list[Filling]] = []
    for first in range(0, len(items), _WINDOW):
        window = items[first : first + _WINDOW]
        sequences = sequences_of(packed_texts(predictor, window, first=first))
        the_masks(sequences, window, predictor.tokenizer, first=first)
        for ways in beam_search(predictor, sequences, beams=max(beams, wanted)):
            fillings.append(
                [Filling(tuple(names[piece] for piece in ids), math.exp(score), ids) for ids, score in ways[:wanted]]
            )
        if bar is not None:
            bar.advance(len(window))
    return fillings


def beam_search(
    predictor: Predictor, sequences: Sequence[Encoded], *, beams: int
) -> list[list[tuple[tuple[int, ...], float]]]:
    """Fill the masks of encoded texts.

    Args:
        predictor: a masked LM.
        sequences: with [MASK]s.
        beams: number of partial fillings kept for each sequence.

    Returns:
        For each sequence at most `beams` fillings, most probable first: a piece for each mask, and the log-probability.
    """
    mask = predictor.tokenizer.mask
    alive = [[_Beam(tokens, segments)] for tokens, segments in sequences]
    positions = [np.flatnonzero(tokens == mask) for tokens, _ in sequences]
    for step in range(max(map(len, positions), default=0)):
        open_beams = [(row, beam) for row, kept in enumerate(alive) if step < len(positions[row]) for beam in kept]
        grown: dict[int, list[tuple[float, _Beam, int, int]]] = {row: [] for row, _ in open_beams}
        for chosen in by_budget([len(beam.tokens) for _, beam in open_beams], predictor.max_tokens):
            some = [open_beams[number] for number in chosen]
            guesses = _guesses(predictor, [beam for _, beam in some], beams)
            for (row, beam), (position, pieces, scores) in zip(some, guesses, strict=True):
                for piece, score in zip(pieces.tolist(), scores.tolist(), strict=True):
                    grown[row].append((beam.score + score, beam, position, piece))
        for row, ways in grown.items():  # copy the sequences of the kept beams only
            best = heapq.nlargest(beams, ways, key=lambda way: way[0])
            alive[row] = [_filled(beam, position, piece, score) for score, beam, position, piece in best]
    return [
        [(tuple(beam.tokens[masks].tolist()), beam.score) for beam in kept]
        for masks, kept in zip(positions, alive, strict=True)
    ]


def _guesses(
    predictor: Predictor, beams: Sequence[_Beam], count: int
) -> Iterator[tuple[int, Ids, NDArray[np.float64]]]:
    """Yield the mask of each beam with the most confident prediction: position, best pieces (K,), scores (K,)."""
    tokenizer = predictor.tokenizer
    positions = [np.flatnonzero(beam.tokens == tokenizer.mask) for beam in beams]
    batch = pack([(beam.tokens, beam.segments) for beam in beams], positions)
    special = list(tokenizer.special_ids)
    kept = min(count, tokenizer.vocab_size - len(tokenizer.gaps) - len(special))
    scores, pieces = [], []
    with without_gradients(predictor.model):
        for _, table in log_probabilities(predictor.model, batch):
            table[:, special] = -math.inf  # [MASK] would not fill a mask
            rule_out(table, tokenizer, -math.inf)
            best, ids = best_of(table, kept)
            scores.append(best)
            pieces.append(ids)
    all_scores, all_pieces = np.concatenate(scores), np.concatenate(pieces)  # (M, K)
    first = 0
    for masks in positions:
        best_mask = first + int(all_scores[first : first + len(masks), 0].argmax())
        yield int(masks[best_mask - first]), all_pieces[best_mask], all_scores[best_mask]
        first += len(masks)


def _filled(beam: _Beam, position: int, piece: int, score: float) -> _Beam:
    tokens = beam.tokens.copy()
    tokens[position] = piece
    return _Beam(tokens, beam.segments, score)
