"""Private helper of `question_answering`: what the tokens of each window of a context stand for.

Shapes: T tokens, B windows, I questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.items.question import Question
from bertie.tokenizer.windows import Windows


def alignment(laid: Windows, context_of: NDArray[np.int64], edges: Sequence[NDArray[np.int32]]) -> dict[str, Any]:
    """Return for each token its characters in the context, and whether its window owns it.

    Args:
        laid: B windows of I items.
        context_of: (I,) the number of each item's context.
        edges: for each context, the index of each piece's first character and the index after its last.
    """
    before = np.concatenate([[0], np.cumsum([len(part) for part in edges])])
    shift = before[context_of[laid.rows]] + laid.starts - (np.cumsum(laid.counts) - laid.counts)  # (B,)
    shown, source = laid.shown, np.repeat(shift, laid.counts) + np.arange(int(laid.counts.sum()))
    characters = np.concatenate(edges)[source]
    length = len(laid.pieces.tokens)
    begin, finish = np.full(length, -1, np.int32), np.full(length, -1, np.int32)
    owned = np.zeros(length, np.bool_)
    begin[shown], finish[shown], owned[shown] = characters[:, 0], characters[:, 1], laid.owned()
    return {"token.begin": begin, "token.finish": finish, "token.owned": owned}


def questions_cut(laid: Windows, questions: Sequence[Sequence[int]], max_query: int) -> NDArray[np.int64]:
    """Return the number of pieces cut off each question, given at its first window, (B,)."""
    cut = np.array([max(0, len(ids) - max_query) for ids in questions], np.int64)
    return np.where(np.diff(laid.rows, prepend=-1) != 0, cut[laid.rows], 0)


def answer_pieces(item: Question, edges: NDArray[np.int32]) -> tuple[int, int]:
    """Return the indices of the answer's first and last piece among the pieces of the context.

    (-1, -1) for a question without an answer, (-2, -2) if no answer has a known position.
    """
    for answer in item.label or ():
        if answer.start >= 0:
            first = int(np.searchsorted(edges[:, 1], answer.start, side="right"))
            last = int(np.searchsorted(edges[:, 0], answer.start + len(answer.text), side="left")) - 1
            if first <= last:  # an answer of spaces only has no piece
                return first, last
    return (-2, -2) if item.label else (-1, -1)


def answer_places(laid: Windows, pieces: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Convert the answers' piece indices in contexts (I) to positions in windows (B)."""
    first, last = np.array(pieces, np.int64)[laid.rows].T  # (B,)
    inside = (first >= laid.starts) & (last < laid.starts + laid.counts)
    outside = np.where(first == -2, -1, 0)  # no target, or [CLS]
    return {
        "sequence.start": np.where(inside, laid.places + first - laid.starts, outside),
        "sequence.end": np.where(inside, laid.places + last - laid.starts, outside),
    }
