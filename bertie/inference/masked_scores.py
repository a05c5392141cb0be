"""Run a language model at chosen positions of sequences, in batches of limited tokens and a few hundred rows at a time.

Shapes: T tokens, B sequences, M slots, N any number of sequences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.inference.forward import numbered
from bertie.inference.network import placed
from bertie.inference.predictor import Predictor
from bertie.packed import as_array
from bertie.probabilities import largest, log_softmax
from bertie.tasks.task import texts
from bertie.tokenizer.pieces import Pieces
from bertie.tokenizer.tokenizer import Tokenizer

Ids = NDArray[np.int64]
Encoded = tuple[Ids, Ids]
"""Tokens and segments of one sequence."""

_ROWS = 512  # slots scored at a time, to limit their table of scores to 512 x V


def require_masked_lm(predictor: Predictor, purpose: str) -> None:
    """Check that a model predicts masked tokens.

    Args:
        predictor: the model.
        purpose: the start of the error message.

    Raises:
        SettingsError: the model's task doesn't fill masks.
    """
    if not predictor.task.fills_masks:
        raise SettingsError(
            f"{purpose} needs a masked language model, but this model is opened for {predictor.task.name}; open it "
            "with the task masked_lm if it has such a head"
        )


def packed_texts(predictor: Predictor, items: Sequence[Any], *, first: int = 0, spare: int = 0) -> Pieces:
    """Encode texts, or pairs of texts, as the model's task does. Truncated texts are counted, with a warning.

    Args:
        predictor: the model.
        items: texts.
        first: index of the first text in the stream, for errors.
        spare: number of tokens to leave free in the longest sequence.

    Raises:
        DataError: a text can't be used; the message names its number and line.
    """
    task: Any = predictor.task
    with numbered(range(first, first + len(items)), items):
        room = task.max_length - spare
        pieces = predictor.tokenizer.pack(*texts(items), max_length=room, truncation=task.truncation)
    predictor.count_cut(pieces.truncated)
    return pieces


def sequences_of(pieces: Pieces) -> list[Encoded]:
    """Split packed texts into single sequences."""
    edges = pieces.offsets[1:-1]
    return list(zip(np.split(pieces.tokens, edges), np.split(pieces.segments, edges), strict=True))


def the_masks(sequences: Sequence[Encoded], items: Sequence[Any], tokenizer: Tokenizer, *, first: int = 0) -> list[Ids]:
    """Return the positions of the [MASK]s in each text.

    Raises:
        DataError: a text has no [MASK].
    """
    positions = [np.flatnonzero(tokens == tokenizer.mask) for tokens, _ in sequences]
    with numbered(range(first, first + len(items)), items):
        for number, masks in enumerate(positions, 1):
            if not len(masks):
                mask = tokenizer.tokens[tokenizer.mask]
                raise DataError(f"text {number} has no {mask} to fill: {texts([items[number - 1]])[0][0][:80]!r}")
    return positions


def word_ends(tokens: ArrayLike, tokenizer: Tokenizer) -> Ids:
    """Return for each piece the index after the last piece of its word, (T,)."""
    ids = np.asarray(tokens).tolist()
    begins = np.flatnonzero(tokenizer.word_starts(ids)).tolist()
    edges = np.array([*begins, len(ids)], np.int64)
    return edges[np.searchsorted(begins, np.arange(len(ids)), side="right")]


def pack(sequences: Sequence[Encoded], positions: Sequence[ArrayLike]) -> Batch:
    """Pack sequences, with slots at the `positions` of each sequence."""
    offsets = np.cumsum([0, *(len(tokens) for tokens, _ in sequences)])
    slots = [start + np.asarray(within, np.int64) for start, within in zip(offsets[:-1], positions, strict=True)]
    return Batch.pack(
        np.concatenate([tokens for tokens, _ in sequences]),
        np.concatenate([segments for _, segments in sequences]),
        offsets,
        targets={"slot.position": np.concatenate(slots)},
    )


def by_budget(lengths: ArrayLike, max_tokens: int) -> Iterator[Ids]:
    """Divide N sequences into batches of at most `max_tokens` tokens, or of one longer sequence, longest first.

    >>> [indices.tolist() for indices in by_budget([3, 9, 2, 4], max_tokens=8)]
    [[1], [3, 0], [2]]
    """
    sizes = np.asarray(lengths, np.int64)
    order = np.argsort(-sizes, kind="stable")
    filled = np.cumsum(sizes[order])
    start = 0
    while start < len(order):
        before = filled[start] - sizes[order[start]]
        end = max(start + 1, int(np.searchsorted(filled, before + max_tokens, side="right")))
        yield order[start:end]
        start = end


def log_probabilities(model: Any, batch: Batch) -> Iterator[tuple[slice, Any]]:
    """Run a language model, whose head may have other outputs too. Call it under `without_gradients`.

    Yields:
        A slice of the batch's M slots, and their log-probabilities (rows, V), which the caller may change. They are a
        tensor if the network is one of torch, an array if it is a graph.
    """
    outputs: Any = model(placed(batch, model))
    logits = getattr(outputs, "tokens", outputs)
    count = len(logits) if isinstance(logits, np.ndarray) else len(logits.hidden)
    for start in range(0, count, _ROWS):
        some = slice(start, start + _ROWS)
        if isinstance(logits, np.ndarray):
            yield some, log_softmax(logits[some])
            continue
        scores = replace(logits, hidden=logits.hidden[some]).materialise().float()
        yield some, scores.sub_(scores.logsumexp(-1, keepdim=True))


def scores_of(table: Any, tokens: Ids) -> NDArray[np.float32]:
    """Return the score of one token in each row of a table (rows, V): (rows,)."""
    if isinstance(table, np.ndarray):
        return np.take_along_axis(table, tokens[:, None], 1)[:, 0]
    from torch import from_numpy

    return as_array(table.gather(1, from_numpy(tokens)[:, None].to(table.device))[:, 0])


def best_of(table: Any, count: int) -> tuple[NDArray[np.float64], Ids]:
    """Return the largest scores in each row of a table (rows, V) and their tokens, best first: (rows, count) each."""
    if isinstance(table, np.ndarray):
        values, ids = largest(table, count)
        return values.astype(np.float64), ids
    best, tokens = table.topk(count, dim=1)
    return best.double().cpu().numpy(), tokens.cpu().numpy()
