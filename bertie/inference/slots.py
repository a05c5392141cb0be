"""What a masked LM says at chosen places of sequences, in batches of bounded size and a few hundred rows at a time.

Shapes: T tokens, B sequences, M slots, N any number of sequences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.inference.forward import numbered
from bertie.inference.predictor import Predictor
from bertie.nn.projection import Logits
from bertie.tasks.task import texts
from bertie.tokenizer.pieces import Pieces
from bertie.tokenizer.tokenizer import Tokenizer

Ids = NDArray[np.int64]
Encoded = tuple[Ids, Ids]
"""Tokens and segments of one sequence."""

_ROWS = 512  # slots scored at a time: bounds their table of scores at 512 x V


def require_masked_lm(predictor: Predictor, purpose: str) -> None:
    """Refuse a model that guesses no tokens.

    Args:
        predictor: the model.
        purpose: what it was asked for, to open the message with.

    Raises:
        SettingsError: its task is another one.
    """
    if not predictor.task.fills_masks:
        raise SettingsError(
            f"{purpose} needs a masked language model, and this one is opened for {predictor.task.name}; open it with "
            "the task masked_lm if it has such a head"
        )


def packed_texts(predictor: Predictor, items: Sequence[Any], *, first: int = 0, spare: int = 0) -> Pieces:
    """Encode texts, or pairs of texts, as the model's own task would; what is cut is counted and said.

    Args:
        predictor: the model.
        items: texts.
        first: place of the first one in the stream, for errors.
        spare: tokens to leave free in the longest sequence.

    Raises:
        DataError: a text that can't be used, by its number and line.
    """
    task: Any = predictor.task
    with numbered(range(first, first + len(items)), items):
        room = task.max_length - spare
        pieces = predictor.tokenizer.pack(*texts(items), max_length=room, truncation=task.truncation)
    predictor.count_cut(torch.from_numpy(pieces.truncated))
    return pieces


def sequences_of(pieces: Pieces) -> list[Encoded]:
    """Take packed texts apart."""
    edges = pieces.offsets[1:-1]
    return list(zip(np.split(pieces.tokens, edges), np.split(pieces.segments, edges), strict=True))


def the_masks(sequences: Sequence[Encoded], items: Sequence[Any], tokenizer: Tokenizer, *, first: int = 0) -> list[Ids]:
    """Find the [MASK]s of every text: their places within it.

    Raises:
        DataError: a text without one.
    """
    places = [np.flatnonzero(tokens == tokenizer.mask) for tokens, _ in sequences]
    with numbered(range(first, first + len(items)), items):
        for number, found in enumerate(places, 1):
            if not len(found):
                mask = tokenizer.tokens[tokenizer.mask]
                raise DataError(f"text {number} has no {mask} to fill: {texts([items[number - 1]])[0][0][:80]!r}")
    return places


def word_ends(tokens: ArrayLike, tokenizer: Tokenizer) -> Ids:
    """Return for each piece the place after the last piece of its word: (T,)."""
    ids = np.asarray(tokens).tolist()
    begins = np.flatnonzero(tokenizer.word_starts(ids)).tolist()
    edges = np.array([*begins, len(ids)], np.int64)
    return edges[np.searchsorted(begins, np.arange(len(ids)), side="right")]


def pack(sequences: Sequence[Encoded], places: Sequence[ArrayLike]) -> Batch:
    """Put sequences one after another, with slots at `places` of each, counted within it."""
    offsets = np.cumsum([0, *(len(tokens) for tokens, _ in sequences)])
    slots = [start + np.asarray(own, np.int64) for start, own in zip(offsets[:-1], places, strict=True)]
    return Batch.pack(
        np.concatenate([tokens for tokens, _ in sequences]),
        np.concatenate([segments for _, segments in sequences]),
        offsets,
        targets={"slot.position": np.concatenate(slots)},
    )


def by_budget(lengths: ArrayLike, max_tokens: int) -> Iterator[Ids]:
    """Share N sequences out to batches of at most `max_tokens` tokens, the longest first (one of them at least)."""
    sizes = np.asarray(lengths, np.int64)
    order = np.argsort(-sizes, kind="stable")
    filled = np.cumsum(sizes[order])
    start = 0
    while start < len(order):
        before = filled[start] - sizes[order[start]]
        end = max(start + 1, int(np.searchsorted(filled, before + max_tokens, side="right")))
        yield order[start:end]
        start = end


def log_probabilities(model: nn.Module, batch: Batch) -> Iterator[tuple[slice, Tensor]]:
    """Run a masked LM, alone or beside other heads; to be called under `torch.inference_mode`.

    Yields:
        Which of the batch's M slots, and their log-probabilities (rows, V), the caller's own to change.
    """
    outputs: Any = model(batch.to(next(model.parameters()).device))
    logits: Logits = outputs if isinstance(outputs, Logits) else outputs.tokens
    for start in range(0, len(logits.hidden), _ROWS):
        some = slice(start, start + _ROWS)
        scores = replace(logits, hidden=logits.hidden[some]).materialise().float()
        yield some, scores.sub_(scores.logsumexp(-1, keepdim=True))
