"""Whole answers for the one [MASK] of a text, of any number of pieces: given ones ranked, or found by a search.

An answer is put in place of the mask and each of its pieces is guessed from everything else, pieces to the right in
the same word hidden (the rule of `likelihood`). The sum of these log-probabilities makes answers of different lengths
comparable; their mean, which flatters long answers, stands beside it.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.inference.filling import BEAMS, beam_search
from bertie.inference.forward import numbered
from bertie.inference.predictor import Predictor
from bertie.inference.slots import (
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
from bertie.tasks._prediction import Prediction
from bertie.tasks.masked_lm import space_before_mask
from bertie.tasks.task import texts
from bertie.tokenizer.tokenizer import Tokenizer

Pieces = tuple[int, ...]
_WINDOW = 1024  # answers, over all texts, scored at a time


@dataclass(frozen=True)
class Answer(Prediction):
    """One answer among several for the same mask."""

    answer: str
    score: float
    """Its probability among the answers it was compared with, by `sum`."""
    sum: float
    """Log-probability of its pieces together."""
    per_piece: float
    """Their mean."""
    pieces: tuple[str, ...]
    """[UNK] among them stands for what the vocabulary lacks."""


def rank_targets(
    predictor: Predictor, items: Sequence[Any], targets: Sequence[str], *, bar: progress.Bar | None = None
) -> list[list[Answer]]:
    """Rank given answers for the mask of each text.

    Args:
        predictor: a masked LM.
        items: texts, or pairs of texts, with one [MASK] each.
        targets: answers, of any number of words.
        bar: is advanced by the number of texts done.

    Returns:
        For each text all targets, likeliest first.

    Raises:
        SettingsError: a model of another kind, no target, an empty one, one given twice, or one that is too long.
        DataError: a text with no mask or several, or too long for the longest target.
    """
    require_masked_lm(predictor, "ranking targets")
    cut, spaced = (
        [tuple(ids) for ids in predictor.tokenizer.encode_batch([f"{space}{target}" for target in targets])]
        for space in ("", " ")
    )
    for number, (target, ids) in enumerate(zip(targets, cut, strict=True)):
        if not ids:
            raise SettingsError(f"target {number + 1} is {target!r}, which holds no piece; give a word")
        if ids in cut[:number]:
            raise SettingsError(f"targets {targets[cut.index(ids)]!r} and {target!r} are the same to the model")
        if predictor.tokenizer.unknown in ids:
            progress.warn(f"target {target!r} holds what the vocabulary lacks; it is scored as [UNK]")
    if not cut:
        raise SettingsError("there is no target to rank")
    candidates = {"": list(zip(targets, cut, strict=True)), " ": list(zip(targets, spaced, strict=True))}
    found: list[list[Answer]] = []
    step = max(1, _WINDOW // len(cut))
    for first in range(0, len(items), step):
        window = items[first : first + step]
        sequences, places = _holed(predictor, window, first, max(map(len, cut + spaced)))
        pairs = zip(*_sides(window), strict=True)
        found += _rank(
            predictor, sequences, places, [candidates[space_before_mask(*both, predictor.tokenizer)] for both in pairs]
        )
        if bar is not None:
            bar.advance(len(window))
    return found


def find_answers(
    predictor: Predictor,
    items: Sequence[Any],
    *,
    max_pieces: int,
    top_k: int | None = None,
    beams: int = BEAMS,
    bar: progress.Bar | None = None,
) -> list[list[Answer]]:
    """Find answers of 1 to `max_pieces` pieces for the mask of each text, and rank them.

    Each length is searched with `filling`'s beams. Only what the tokenizer would cut into these very pieces counts, so
    an answer is never found twice, nor half a word taken for a whole one.

    Args:
        predictor: a masked LM.
        items: texts, or pairs of texts, with one [MASK] each.
        max_pieces: of the longest answer.
        top_k: answers wanted of a text; the task's `top_k` when None.
        beams: answers of each length that are compared, `top_k` at least.
        bar: is advanced by the number of texts done.

    Returns:
        For each text its answers, likeliest first; none where the search found no whole word.

    Raises:
        SettingsError: a model of another kind, or a number below 1.
        DataError: a text with no mask or several, or too long for the longest answer.
    """
    require_masked_lm(predictor, "finding answers")
    task: Any = predictor.task
    tokenizer, wanted = predictor.tokenizer, task.top_k if top_k is None else top_k
    if min(max_pieces, wanted, beams) < 1:
        raise SettingsError(
            f"answers have at least 1 piece, top_k and beams are at least 1; got {max_pieces}, {wanted} and {beams}"
        )
    found: list[list[Answer]] = []
    step = max(1, _WINDOW // (max_pieces * max(beams, wanted)))
    for first in range(0, len(items), step):
        window = items[first : first + step]
        sequences, places = _holed(predictor, window, first, max_pieces)
        holes = [(tokenizer.mask,) * count for count in range(1, max_pieces + 1)]
        widened = [_put(*both, hole) for both in zip(sequences, places, strict=True) for hole in holes]
        ways = beam_search(predictor, widened, beams=max(beams, wanted))
        candidates = [
            _whole([ids for own in ways[row : row + max_pieces] for ids, _ in own], tokenizer)
            for row in range(0, len(ways), max_pieces)
        ]
        found += [answers[:wanted] for answers in _rank(predictor, sequences, places, candidates)]
        if bar is not None:
            bar.advance(len(window))
    return found


def _sides(items: Sequence[Any]) -> tuple[list[str], Sequence[str | None]]:
    first, second = texts(items)
    return first, second or [None] * len(first)


def _holed(predictor: Predictor, items: Sequence[Any], first: int, longest: int) -> tuple[list[Encoded], list[int]]:
    """Encode texts, with room for the longest answer, and find the one mask of each."""
    task: Any = predictor.task
    if longest > task.max_length - 4:
        raise SettingsError(f"an answer of {longest} pieces leaves no room in {task.max_length} tokens")
    sequences = sequences_of(packed_texts(predictor, items, first=first, spare=longest - 1))
    masks = the_masks(sequences, items, predictor.tokenizer, first=first)
    with numbered(range(first, first + len(items)), items):
        for number, own in enumerate(masks, 1):
            if len(own) > 1:
                raise DataError(f"text {number} has {len(own)} [MASK]; a whole answer takes the place of one")
    return sequences, [int(own[0]) for own in masks]


def _put(sequence: Encoded, place: int, pieces: Pieces) -> Encoded:
    """Replace the token at `place` by any number of pieces."""
    tokens, segments = sequence
    filled = np.concatenate([tokens[:place], np.asarray(pieces, np.int64), tokens[place + 1 :]])
    return filled, np.insert(segments, place, [segments[place]] * (len(pieces) - 1))


def _whole(found: Sequence[Pieces], tokenizer: Tokenizer) -> list[tuple[str, Pieces]]:
    """Keep the answers that the tokenizer cuts into the very pieces they were found as."""
    words = [tokenizer.decode(ids) for ids in found]
    again = tokenizer.encode_batch(words)
    return [(word, ids) for word, ids, cut in zip(words, found, again, strict=True) if tuple(cut) == ids]


def _rank(
    predictor: Predictor,
    sequences: Sequence[Encoded],
    places: Sequence[int],
    candidates: Sequence[Sequence[tuple[str, Pieces]]],
) -> list[list[Answer]]:
    """Score every candidate of every text and put the likeliest first."""
    names = predictor.tokenizer.shown
    ranked = []
    sums = _sums(predictor, sequences, places, [[ids for _, ids in own] for own in candidates])
    for own, scores in zip(candidates, sums, strict=True):
        shares = np.exp(scores - np.logaddexp.reduce(scores)) if len(own) else scores
        answers = [
            Answer(word, float(share), float(score), float(score) / len(ids), tuple(names[piece] for piece in ids))
            for (word, ids), score, share in zip(own, scores, shares, strict=True)
        ]
        ranked.append(sorted(answers, key=lambda answer: -answer.sum))
    return ranked


def _sums(
    predictor: Predictor,
    sequences: Sequence[Encoded],
    places: Sequence[int],
    candidates: Sequence[Sequence[Pieces]],
) -> list[NDArray[np.float64]]:
    """Add up the log-probabilities of each candidate's pieces.

    Candidates that show the model the same sequence share one pass: all words of one piece do, and the first pieces of
    all words of two.
    """
    tokenizer = predictor.tokenizer
    sums = [np.zeros(len(own)) for own in candidates]
    asked: dict[tuple[int, Pieces, int], list[tuple[int, int]]] = {}  # (text, what is shown, slot) -> (number, piece)
    for row, own in enumerate(candidates):
        for number, ids in enumerate(own):
            for place, end in enumerate(word_ends(ids, tokenizer).tolist()):
                shown = (*ids[:place], *(tokenizer.mask,) * (end - place), *ids[end:])
                asked.setdefault((row, shown, place), []).append((number, ids[place]))
    questions = list(asked)
    lengths = [len(sequences[row][0]) + len(shown) - 1 for row, shown, _ in questions]
    for chosen in by_budget(lengths, predictor.max_tokens):
        some = [questions[number] for number in chosen]
        batch = pack(
            [_put(sequences[row], places[row], shown) for row, shown, _ in some],
            [[places[row] + place] for row, _, place in some],
        )
        with torch.inference_mode():
            for part, table in log_probabilities(predictor.model, batch):
                for question, scores in zip(some[part], table, strict=True):
                    numbers, pieces = (list(column) for column in zip(*asked[question], strict=True))
                    np.add.at(sums[question[0]], numbers, scores[pieces].double().cpu().numpy())
    return sums
