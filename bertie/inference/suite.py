"""Measure what a model knows of a language: how often it finds the acceptable sentence of a minimal pair likelier.

A masked language model scores a sentence by its pseudo-log-likelihood with the within-word rule, a causal one by its
log-likelihood, the end left out in both (`likelihood.py`). How sentences are scored is the business of
`sentence_scores` alone; everything else here is about pairs.

Shapes: T tokens, B sentences, P pairs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie import progress
from bertie.data.minimal_pairs import MinimalPair
from bertie.errors import DataError
from bertie.inference.likelihood import Scoring, piece_scores, scorable, scoring_of
from bertie.inference.predictor import Predictor
from bertie.inference.slots import packed_texts
from bertie.metrics.minimal_pairs import by_group, preferred
from bertie.tokenizer.pieces import Pieces

_WINDOW = 512  # pairs scored at a time: some hundred thousand tokens, enough to find neighbours of like length


@dataclass(frozen=True)
class Row:
    """A paradigm, or a phenomenon."""

    name: str
    accuracy: float
    num_pairs: int
    phenomenon: str = ""
    """Of a paradigm."""


@dataclass(frozen=True)
class SuiteScores:
    """How a model did on a suite."""

    accuracy: float
    """Over all pairs; a tie is wrong."""
    num_pairs: int
    num_ties: int
    """Pairs whose sentences scored alike, nearly always because they are the same pieces."""
    num_unknown: int
    """Sentences that hold what the vocabulary lacks."""
    phenomena: tuple[Row, ...]
    """By name."""
    paradigms: tuple[Row, ...]
    """By phenomenon and name."""
    seconds: float
    scoring: Scoring = "masked"

    def figures(self) -> dict[str, Any]:
        """Return everything as JSON can hold it."""
        return {
            "scoring": self.scoring,
            "pairs": self.num_pairs,
            "ties": self.num_ties,
            "sentences_with_unknown": self.num_unknown,
            "seconds": round(self.seconds, 1),
            "scores": {"accuracy": self.accuracy},
            "phenomena": [
                {"phenomenon": row.name, "accuracy": row.accuracy, "pairs": row.num_pairs} for row in self.phenomena
            ],
            "paradigms": [
                {"paradigm": row.name, "phenomenon": row.phenomenon, "accuracy": row.accuracy, "pairs": row.num_pairs}
                for row in self.paradigms
            ],
        }


def measure(
    predictor: Predictor,
    pairs: Sequence[MinimalPair],
    *,
    scoring: Scoring | None = None,
    bar: progress.Bar | None = None,
) -> SuiteScores:
    """Score both sentences of every pair.

    Args:
        predictor: a language model, masked, causal or both.
        pairs: in any order; at least one.
        scoring: what each piece is guessed from; what the model was made for when None.
        bar: is advanced by the number of pairs done.

    Raises:
        SettingsError: a model of another kind.
        DataError: a sentence that is too long, empty, or holds [MASK].
    """
    way = scoring_of(predictor, "a suite of minimal pairs", scoring)
    start = time.monotonic()
    scores = np.zeros((len(pairs), 2))  # good, bad
    num_unknown = 0
    for first in range(0, len(pairs), _WINDOW):
        window = pairs[first : first + _WINDOW]
        pieces = _encode(predictor, window)
        num_unknown += len(set(_sentence_of(pieces, pieces.tokens == predictor.tokenizer.unknown).tolist()))
        found = sentence_scores(predictor, pieces, way).reshape(-1, 2)
        # The same pieces in two batches may differ in the last bit, which would decide a tie by chance.
        same = _same_pieces(pieces)
        found[same, 1] = found[same, 0]
        scores[first : first + len(window)] = found
        if bar is not None:
            bar.advance(len(window))
    if num_unknown:
        progress.warn(
            f"{num_unknown} of {2 * len(pairs)} sentences hold what the vocabulary lacks; it is scored as "
            f"{predictor.tokenizer.tokens[predictor.tokenizer.unknown]}"
        )
    right = preferred(scores[:, 0], scores[:, 1])
    phenomena = by_group(right, [pair.phenomenon for pair in pairs])
    paradigms = by_group(right, [(pair.phenomenon, pair.paradigm) for pair in pairs])
    return SuiteScores(
        accuracy=float(right.mean()),
        num_pairs=len(pairs),
        num_ties=int((scores[:, 0] == scores[:, 1]).sum()),
        num_unknown=num_unknown,
        phenomena=tuple(Row(name, *figures) for name, figures in sorted(phenomena.items())),
        paradigms=tuple(Row(name, *figures, phenomenon) for (phenomenon, name), figures in sorted(paradigms.items())),
        seconds=time.monotonic() - start,
        scoring=way,
    )


def sentence_scores(predictor: Predictor, pieces: Pieces, scoring: Scoring = "masked") -> NDArray[np.float64]:
    """Say how likely a model finds whole sentences.

    Args:
        predictor: a language model that has learned to guess in this way.
        pieces: B sentences of T tokens in all.
        scoring: what each piece is guessed from.

    Returns:
        (B,) natural logarithms: the sum over the pieces of each sentence.
    """
    scores = piece_scores(predictor, pieces, scoring=scoring)  # (T,)
    return np.add.reduceat(scores, pieces.offsets[:-1])


def _encode(predictor: Predictor, pairs: Sequence[MinimalPair]) -> Pieces:
    """Encode the good and the bad sentence of each pair, one after the other, and refuse what has no likelihood."""
    sentences = [sentence for pair in pairs for sentence in (pair.good, pair.bad)]
    try:
        pieces = packed_texts(predictor, sentences)
    except DataError:
        for pair in pairs:  # the error counts within the window; say which line it is
            try:
                packed_texts(predictor, [pair.good, pair.bad])
            except DataError as error:
                raise DataError(f"{pair.file}:{pair.line}: {error}") from error
        raise
    num_scored = np.add.reduceat(scorable(pieces.tokens, predictor.tokenizer), pieces.offsets[:-1], dtype=np.int64)
    masked = _sentence_of(pieces, pieces.tokens == predictor.tokenizer.mask)
    for wrong, what in ((masked, "holds [MASK]"), (np.flatnonzero(num_scored == 0), "is empty")):
        if len(wrong):
            pair = pairs[int(wrong[0]) // 2]
            raise DataError(f"{pair.file}:{pair.line}: a sentence {what}; only a whole sentence has a likelihood")
    return pieces


def _sentence_of(pieces: Pieces, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return which sentence each of the chosen tokens (T,) belongs to."""
    places: NDArray[np.int64] = np.searchsorted(pieces.offsets, np.flatnonzero(chosen), side="right") - 1
    return places


def _same_pieces(pieces: Pieces) -> NDArray[np.bool_]:
    """Tell which pairs have two sentences of the very same pieces: (P,)."""
    sentences = np.split(pieces.tokens, pieces.offsets[1:-1])
    pairs = zip(sentences[::2], sentences[1::2], strict=True)
    return np.array([np.array_equal(good, bad) for good, bad in pairs])
