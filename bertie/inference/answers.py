"""Answers of any number of pieces for the single [MASK] of a text: rank given answers, or search for answers.

An answer replaces the mask. Each of its pieces is then predicted from all other pieces, with the pieces to its right in
the same word hidden (the rule of `likelihood`). Answers are ranked by the sum of these log-probabilities, which is
comparable between lengths. Their mean is reported too, but it favours long answers.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.inference.filling import BEAMS, beam_search
from bertie.inference.forward import numbered
from bertie.inference.masked_scores import (
    Encoded,
    by_budget,
    log_probabilities,
    pack,
    packed_texts,
    require_masked_lm,
    sequences_of,
    the_masks,
    word_ends,
)
from bertie.inference.network import without_gradients
from bertie.inference.predictor import Predictor
from bertie.packed import as_array
from bertie.tasks._guess import Guess
from bertie.tasks._lines import printable
from bertie.tasks.masked_lm import space_before_mask
from bertie.tasks.task import texts
from bertie.tokenizer.tokenizer import Tokenizer

Pieces = tuple[int, ...]
_WINDOW = 1024  # answers scored at a time, counted over all texts


@dataclass(frozen=True)
class ScoredAnswer(Guess):
    """One answer for a mask."""

    answer: str
    score: float
    """Probability among the answers of the same mask: the softmax of their `sum`."""
    sum: float
    """Sum of the log-probabilities of its pieces."""
    per_piece: float
    """Mean of the log-probabilities of its pieces."""
    pieces: tuple[str, ...]
    """Its pieces, with [UNK] for text that the vocabulary can't write."""

    key: ClassVar[str] = "answers"

    def words(self) -> str:
        """Return the answer."""
        return printable(self.answer)

    def figures(self) -> str:
        """Return the log-probabilities: of all pieces, and their mean."""
        return f"sum {self.sum:8.3f}  per piece {self.per_piece:7.3f}  "


def rank_targets(
    predictor: Predictor, items: Sequence[Any], targets: Sequence[str], *, bar: progress.Bar | None = None
) -> list[list[ScoredAnswer]]:
    """Rank given answers for the mask of each text.

    Args:
        predictor: a masked LM.
        items: texts, or pairs of texts, with one [MASK] each.
        targets: answers, of any number of words.
        bar: advanced by the number of texts done.

    Returns:
        For each text all targets, most probable first.

    Raises:
        SettingsError: the model is not a masked LM; there is no target; a target is empty, given twice or too long.
        DataError: a text has no mask or several masks, or is too long for the longest target.
    """
    require_masked_lm(predictor, "ranking targets")
    plain, spaced = (
        [tuple(ids) for ids in predictor.tokenizer.encode_batch([f"{space}{target}" for target in targets])]
        for space in ("", " ")
    )
    for number, (target, ids) in enumerate(zip(targets, plain, strict=True)):
        if not ids:
            raise SettingsError(f"target {number + 1} is {target!r}, which has no pieces; give a word")
        if ids in plain[:number]:
            same = targets[plain.index(ids)]
            raise SettingsError(f"targets {same!r} and {target!r} have the same pieces; remove one of them")
        if predictor.tokenizer.unknown in ids:
            progress.warn(f"target {target!r} has text that the vocabulary can't write; it is scored as [UNK]")
    if not plain:
        raise SettingsError("there is no target to rank; give at least one")
    candidates = {"": list(zip(targets, plain, strict=True)), " ": list(zip(targets, spaced, strict=True))}
    ranked: list[list[ScoredAnswer]] = []
    step = max(1, _WINDOW // len(plain))
    for first in range(0, len(items), step):
        window = items[first : first + step]
        sequences, positions = _with_masks(predictor, window, first, max(map(len, plain + spaced)))
        spaces = [space_before_mask(*both, predictor.tokenizer) for both in zip(*_sides(window), strict=True)]
        ranked += _rank(predictor, sequences, positions, [candidates[space] for space in spaces])
        if bar is not None:
            bar.advance(len(window))
    return ranked


def find_answers(
    predictor: Predictor,
    items: Sequence[Any],
    *,
    max_pieces: int,
    top_k: int | None = None,
    beams: int = BEAMS,
    bar: progress.Bar | None = None,
) -> list[list[ScoredAnswer]]:
    """Find answers of 1 to `max_pieces` pieces for the mask of each text, and rank them.

    Each length is searched by the beam search of `filling`. An answer counts only if the tokenizer cuts its text into
    the same pieces. So no answer is found twice, and a part of a word doesn't count as a word.

    Args:
        predictor: a masked LM.
        items: texts, or pairs of texts, with one [MASK] each.
        max_pieces: pieces of the longest answer.
        top_k: number of answers for each text. None: the task's `top_k`.
        beams: number of answers of each length that are compared, at least `top_k`.
        bar: advanced by the number of texts done.

    Returns:
        For each text its answers, most probable first; an empty list if the search found no whole word.

    Raises:
        SettingsError: the model is not a masked LM, or a number is below 1.
        DataError: a text has no mask or several masks, or is too long for the longest answer.
    """
    require_masked_lm(predictor, "finding answers")
    task: Any = predictor.task
    tokenizer, wanted = predictor.tokenizer, task.top_k if top_k is None else top_k
    if min(max_pieces, wanted, beams) < 1:
        raise SettingsError(
            f"answers need at least 1 piece, and top_k and beams at least 1; got {max_pieces}, {wanted} and {beams}"
        )
    ranked: list[list[ScoredAnswer]] = []
    step = max(1, _WINDOW // (max_pieces * max(beams, wanted)))
    for first in range(0, len(items), step):
        window = items[first : first + step]
        sequences, positions = _with_masks(predictor, window, first, max_pieces)
        runs = [(tokenizer.mask,) * count for count in range(1, max_pieces + 1)]
        widened = [_replaced(*both, masks) for both in zip(sequences, positions, strict=True) for masks in runs]
        fillings = beam_search(predictor, widened, beams=max(beams, wanted))
        candidates = [
            _whole([ids for group in fillings[row : row + max_pieces] for ids, _ in group], tokenizer)
            for row in range(0, len(fillings), max_pieces)
        ]
        ranked += [answers[:wanted] for answers in _rank(predictor, sequences, positions, candidates)]
        if bar is not None:
            bar.advance(len(window))
    return ranked


def _sides(items: Sequence[Any]) -> tuple[list[str], Sequence[str | None]]:
    first, second = texts(items)
    return first, second or [None] * len(first)


def _with_masks(
    predictor: Predictor, items: Sequence[Any], first: int, longest: int
) -> tuple[list[Encoded], list[int]]:
    """Encode texts, with room for the longest answer, and return the position of each one's single mask."""
    task: Any = predictor.task
    if longest > task.max_length - 4:
        raise SettingsError(f"an answer of {longest} pieces leaves no room for a text in {task.max_length} tokens")
    sequences = sequences_of(packed_texts(predictor, items, first=first, spare=longest - 1))
    masks = the_masks(sequences, items, predictor.tokenizer, first=first)
    with numbered(range(first, first + len(items)), items):
        for number, positions in enumerate(masks, 1):
            if len(positions) > 1:
                raise DataError(f"text {number} has {len(positions)} [MASK]; an answer replaces exactly one")
    return sequences, [int(positions[0]) for positions in masks]


def _replaced(sequence: Encoded, position: int, pieces: Pieces) -> Encoded:
    """Replace the token at `position` by any number of pieces."""
    tokens, segments = sequence
    filled = np.concatenate([tokens[:position], np.asarray(pieces, np.int64), tokens[position + 1 :]])
    return filled, np.insert(segments, position, [segments[position]] * (len(pieces) - 1))


def _whole(answers: Sequence[Pieces], tokenizer: Tokenizer) -> list[tuple[str, Pieces]]:
    """Keep the answers whose text the tokenizer cuts into the same pieces."""
    words = [tokenizer.decode(ids) for ids in answers]
    encoded = tokenizer.encode_batch(words)
    return [(word, ids) for word, ids, again in zip(words, answers, encoded, strict=True) if tuple(again) == ids]


def _rank(
    predictor: Predictor,
    sequences: Sequence[Encoded],
    positions: Sequence[int],
    candidates: Sequence[Sequence[tuple[str, Pieces]]],
) -> list[list[ScoredAnswer]]:
    """Score the candidates of each text, and sort them, most probable first."""
    names = predictor.tokenizer.shown
    ranked = []
    all_sums = _sums(predictor, sequences, positions, [[ids for _, ids in group] for group in candidates])
    for group, sums in zip(candidates, all_sums, strict=True):
        probabilities = np.exp(sums - np.logaddexp.reduce(sums)) if len(group) else sums
        answers = [
            ScoredAnswer(
                word, float(share), float(total), float(total) / len(ids), tuple(names[piece] for piece in ids)
            )
            for (word, ids), total, share in zip(group, sums, probabilities, strict=True)
        ]
        ranked.append(sorted(answers, key=lambda answer: -answer.sum))
    return ranked


def _sums(
    predictor: Predictor,
    sequences: Sequence[Encoded],
    positions: Sequence[int],
    candidates: Sequence[Sequence[Pieces]],
) -> list[NDArray[np.float64]]:
    """Return the sum of the log-probabilities of each candidate's pieces.

    Candidates that need the same input sequence share one pass: all words of one piece do, and the first pieces of
    all words of two pieces.
    """
    tokenizer = predictor.tokenizer
    sums = [np.zeros(len(group)) for group in candidates]
    # (text, pieces shown, slot among them) -> (candidate, piece to score) of all candidates that need this input
    needed: dict[tuple[int, Pieces, int], list[tuple[int, int]]] = {}
    for row, group in enumerate(candidates):
        for number, ids in enumerate(group):
            for slot, end in enumerate(word_ends(ids, tokenizer).tolist()):
                shown = (*ids[:slot], *(tokenizer.mask,) * (end - slot), *ids[end:])
                needed.setdefault((row, shown, slot), []).append((number, ids[slot]))
    inputs = list(needed)
    lengths = [len(sequences[row][0]) + len(shown) - 1 for row, shown, _ in inputs]
    for chosen in by_budget(lengths, predictor.max_tokens):
        some = [inputs[number] for number in chosen]
        batch = pack(
            [_replaced(sequences[row], positions[row], shown) for row, shown, _ in some],
            [[positions[row] + slot] for row, _, slot in some],
        )
        with without_gradients(predictor.model):
            for part, table in log_probabilities(predictor.model, batch):
                for key, scores in zip(some[part], table, strict=True):
                    numbers, pieces = (list(column) for column in zip(*needed[key], strict=True))
                    np.add.at(sums[key[0]], numbers, as_array(scores[pieces]).astype(np.float64))
    return sums
