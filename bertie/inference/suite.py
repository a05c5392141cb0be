"""Measure a model's knowledge of a language: how often it prefers the acceptable sentence of a minimal pair.

The preferred sentence is the one with the higher score. A masked language model's score is the pseudo-log-likelihood
with the within-word rule, a causal model's the log-likelihood. Both leave out the end token (`likelihood.py`). Only
`sentence_scores` depends on the kind of model.

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
from bertie.errors import DataError
from bertie.inference.likelihood import Scoring, piece_scores, scorable, scoring_of
from bertie.inference.masked_scores import packed_texts
from bertie.inference.predictor import Predictor
from bertie.metrics.minimal_pairs import by_group, preferred
from bertie.readers.minimal_pairs import MinimalPair
from bertie.tokenizer.pieces import Pieces

_WINDOW = 512  # pairs scored at a time: some hundred thousand tokens, enough sentences of similar length for batches


@dataclass(frozen=True)
class Row:
    """The accuracy on one paradigm or phenomenon."""

    name: str
    accuracy: float
    num_pairs: int
    phenomenon: str = ""
    """The phenomenon of a paradigm; empty for a phenomenon."""


@dataclass(frozen=True)
class SuiteScores:
    """The results of a model on a suite."""

    accuracy: float
    """Accuracy over all pairs. A tie counts as wrong."""
    num_pairs: int
    num_ties: int
    """Pairs whose two scores are equal, nearly always because both sentences have the same pieces."""
    num_unknown: int
    """Sentences with text that the vocabulary can't write."""
    phenomena: tuple[Row, ...]
    """Sorted by name."""
    paradigms: tuple[Row, ...]
    """Sorted by phenomenon and name."""
    seconds: float
    scoring: Scoring = "masked"

    def figures(self) -> dict[str, Any]:
        """Return all results as a dictionary that JSON can hold."""
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
    """Evaluate a model on minimal pairs.

    Args:
        predictor: a language model: masked, causal or both.
        pairs: at least one, in any order.
        scoring: how each piece is predicted. None: as the model was trained, masked first.
        bar: advanced by the number of pairs done.

    Raises:
        SettingsError: the model is not a language model, or wasn't trained for this scoring.
        DataError: a sentence is too long or empty, or holds [MASK].
    """
    chosen_scoring = scoring_of(predictor, "a suite of minimal pairs", scoring)
    start = time.monotonic()
    scores = np.zeros((len(pairs), 2))  # good, bad
    num_unknown = 0
    for first in range(0, len(pairs), _WINDOW):
        window = pairs[first : first + _WINDOW]
        pieces = _encode(predictor, window)
        num_unknown += len(set(_sentence_of(pieces, pieces.tokens == predictor.tokenizer.unknown).tolist()))
        part = sentence_scores(predictor, pieces, chosen_scoring).reshape(-1, 2)
        # Scores of the same pieces in two batches may differ in the last bit, which would break a tie by chance.
        same = _same_pieces(pieces)
        part[same, 1] = part[same, 0]
        scores[first : first + len(window)] = part
        if bar is not None:
            bar.advance(len(window))
    if num_unknown:
        progress.warn(
            f"{num_unknown} of {2 * len(pairs)} sentences have words that the vocabulary can't write; they are scored "
            f"as {predictor.tokenizer.tokens[predictor.tokenizer.unknown]}"
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
        scoring=chosen_scoring,
    )


def sentence_scores(predictor: Predictor, pieces: Pieces, scoring: Scoring = "masked") -> NDArray[np.float64]:
    """Return the log-likelihoods of sentences.

    Args:
        predictor: a language model that has learned this scoring.
        pieces: B sentences of T tokens in all.
        scoring: how each piece is predicted.

    Returns:
        (B,) sums of the natural log-probabilities of each sentence's pieces.
    """
    scores = piece_scores(predictor, pieces, scoring=scoring)  # (T,)
    return np.add.reduceat(scores, pieces.offsets[:-1])


def _encode(predictor: Predictor, pairs: Sequence[MinimalPair]) -> Pieces:
    """Encode the good and the bad sentence of each pair, one after the other. Refuse empty and masked sentences."""
    sentences = [sentence for pair in pairs for sentence in (pair.good, pair.bad)]
    try:
        pieces = packed_texts(predictor, sentences)
    except DataError:
        for pair in pairs:  # find the pair, so that the error names its line and not its number in the window
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
            raise DataError(f"{pair.file}:{pair.line}: a sentence {what}; give text without masks for both sentences")
    return pieces


def _sentence_of(pieces: Pieces, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the sentence of each chosen token of (T,)."""
    sentences: NDArray[np.int64] = np.searchsorted(pieces.offsets, np.flatnonzero(chosen), side="right") - 1
    return sentences


def _same_pieces(pieces: Pieces) -> NDArray[np.bool_]:
    """Tell for each pair whether both sentences have the same pieces, (P,)."""
    sentences = np.split(pieces.tokens, pieces.offsets[1:-1])
    pairs = zip(sentences[::2], sentences[1::2], strict=True)
    return np.array([np.array_equal(good, bad) for good, bad in pairs])
