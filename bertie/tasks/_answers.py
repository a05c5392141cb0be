"""Private helper of `question_answering`: find a question's answers in the logits of its windows.

Shapes: W windows of a batch, S longest sequence, K starts (and as many ends) tried in a window, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from bertie.batch import Batch
from bertie.items.text import sides
from bertie.packed import as_array
from bertie.probabilities import largest
from bertie.tasks._lines import columns, printable
from bertie.tasks._prediction import Prediction


@dataclass(frozen=True, slots=True)
class AnswerSpan:
    """A possible answer. An empty text means "no answer"."""

    text: str
    score: float
    """Probability among the answers that were kept."""
    start: int
    """Index of the first character in the context; -1 for "no answer"."""
    end: int
    """Index after the last character; -1 for "no answer"."""


class Spans(Sequence[AnswerSpan]):
    """The possible answers of one question.

    Each `AnswerSpan` is made when it is read, so that the predictions of a large table stay small.

    Args:
        context: the text that `edges` index.
        edges: (n, 2) index of each answer's first character and the index after its last; -1 for "no answer".
        scores: (n,) probabilities.
    """

    __slots__ = ("_context", "_edges", "_scores")

    def __init__(self, context: str, edges: NDArray[np.int32], scores: NDArray[np.float32]) -> None:
        self._context, self._edges, self._scores = context, edges, scores

    def __len__(self) -> int:
        return len(self._scores)

    @overload
    def __getitem__(self, index: int) -> AnswerSpan: ...
    @overload
    def __getitem__(self, index: slice) -> list[AnswerSpan]: ...
    def __getitem__(self, index: int | slice) -> AnswerSpan | list[AnswerSpan]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        start, end = self._edges[index].tolist()
        return AnswerSpan(self._context[start:end] if start >= 0 else "", float(self._scores[index]), start, end)

    def __repr__(self) -> str:
        return repr(list(self))


@dataclass(frozen=True)
class Reply(Prediction):
    """The prediction for one question."""

    text: str
    """The answer, a substring of the context; empty for "no answer"."""
    score: float
    """Probability among the answers of `n_best`."""
    start: int
    """Index of the first character in the context; -1 for "no answer"."""
    end: int
    """Index after the last character; -1 for "no answer"."""
    null_score: float
    """Logit sum of "no answer" minus that of the best answer; infinite if no span was possible."""
    n_best: Sequence[AnswerSpan]
    """The most probable answers, best first. They include "no answer" if the model may give it."""

    def record(self, item: Any) -> dict[str, Any]:
        """Return question and context, then the fields, whose `text` is that of the answer."""
        question, context = sides(item)
        return {"question": question, "context": context, **self.as_dict()}

    def lines(self, item: Any, width: int) -> list[str]:
        """Return the question, the answer with probability and characters, and the answer in its context."""
        question, context = sides(item)
        if not self.text:
            return [printable(question), f"  (no answer)  {self.score:.4f}"]
        room = min(60, max(10, (width - columns(self.text) - 8) // 2))
        before, after = (context or "")[: self.start][-room:], (context or "")[self.end :][:room]
        before = "…" * (len(before) < self.start) + before.lstrip()
        after = after.rstrip() + "…" * (self.end + len(after) < len(context or ""))
        return [
            printable(question),
            f"  {printable(self.text)}  {self.score:.4f}  characters {self.start}-{self.end}",
            f"  {printable(f'{before}«{self.text}»{after}')}",
        ]

    def under(self, threshold: float | None) -> Reply | None:
        """Return the prediction under another threshold on `null_score`; None if `n_best` lacks its answer."""
        chosen = choose(self.n_best, self.null_score, threshold)
        if chosen is None:
            return None
        return replace(self, text=chosen.text, score=chosen.score, start=chosen.start, end=chosen.end)


def choose(spans: Sequence[AnswerSpan], null_score: float, threshold: float | None) -> AnswerSpan | None:
    """Return the best answer, or "no answer" if no span was possible or `null_score` is above the threshold."""
    is_null = null_score == np.inf or (threshold is not None and null_score > threshold)
    return next((span for span in spans if (span.text == "") == is_null), None)


@dataclass(frozen=True, eq=False)
class Candidates:
    """The unsorted spans of every window, and the scores of "no answer"."""

    scores: NDArray[np.float32]
    """(W, K x K) start logit + end logit; -inf for a pair that is not a valid span."""
    begins: NDArray[np.int32]
    """(W, K) index of the first character of the piece at each start."""
    finishes: NDArray[np.int32]
    """(W, K) index after the last character of the piece at each end."""
    nulls: NDArray[np.float32]
    """(W,) start logit + end logit of [CLS]."""
    edges: NDArray[np.int64]
    """(items + 1,) index of each item's first window."""

    def of_item(self, item: int) -> Iterator[tuple[float, int, int]]:
        """Yield (score, begin, finish) of an item's spans, best first. On ties the earlier window comes first."""
        first, end = self.edges[item], self.edges[item + 1]
        scores = self.scores[first:end].ravel()
        size = self.begins.shape[1]
        for index in np.argsort(-scores, kind="stable"):
            if scores[index] == -np.inf:
                return
            window, pair = divmod(int(index), size * size)
            start, stop = divmod(pair, size)
            yield (
                float(scores[index]),
                int(self.begins[first + window, start]),
                int(self.finishes[first + window, stop]),
            )

    def null_of_item(self, item: int) -> float:
        """Return the lowest score of "no answer" in an item's windows, as windows without the answer score it high."""
        return float(self.nulls[self.edges[item] : self.edges[item + 1]].min())


def find_candidates(outputs: Any, batch: Batch, *, n_best: int, max_answer: int, always: bool = False) -> Candidates:
    """Pair each window's best starts with its best ends.

    As in the original code, the best starts and ends are taken from all tokens. A pair is invalid if it starts or ends
    outside the context, starts at a piece that another window shows with more context, ends before it starts, or is
    too long.

    Args:
        outputs: (T, 2) logits of starts and ends.
        batch: with `token.begin`, `token.finish` and `token.owned`.
        n_best: number of starts and ends tried in each window. K is this or the longest sequence, if that is shorter.
        max_answer: pieces of the longest answer.
        always: whether an item without a valid pair gets single pieces of its context, so that it has an answer.
    """
    arrays = batch.arrays
    logits = arrays.unpack(as_array(outputs), padding=-np.inf)  # (W, S, 2)
    kept = min(n_best, arrays.max_length)
    (first_logits, starts), (last_logits, ends) = (largest(logits[..., side], kept) for side in (0, 1))  # (W, K) each
    all_begins = arrays.unpack(arrays.targets["token.begin"], padding=-1)  # (W, S)
    all_finishes = arrays.unpack(arrays.targets["token.finish"], padding=-1)
    all_owned = arrays.unpack(arrays.targets["token.owned"], padding=0)
    begins, finishes, owned = (
        np.take_along_axis(values, indices, 1)
        for values, indices in ((all_begins, starts), (all_finishes, ends), (all_owned, starts))
    )  # (W, K) each
    distance = ends[:, None, :] - starts[:, :, None]  # (W, K, K) start x end
    allowed = (distance >= 0) & (distance < max_answer)
    allowed &= (owned & (begins >= 0))[:, :, None] & (finishes > 0)[:, None, :]
    scores = np.where(allowed, first_logits[:, :, None] + last_logits[:, None, :], np.float32(-np.inf))
    if always:
        has_pair = np.zeros(arrays.num_items, np.bool_)
        has_pair[arrays.rows[allowed.any((1, 2))]] = True
        no_pair = ~has_pair[arrays.rows]  # (W,) windows of items without a valid pair
        in_context = all_owned.astype(np.bool_) & (all_begins >= 0) & (all_finishes > 0)
        best, single = largest(np.where(in_context, logits.sum(2), np.float32(-np.inf))[no_pair], kept)
        scores[no_pair] = np.where(np.eye(kept, dtype=np.bool_), best[:, :, None], np.float32(-np.inf))
        begins[no_pair] = np.take_along_axis(all_begins[no_pair], single, 1)
        finishes[no_pair] = np.take_along_axis(all_finishes[no_pair], single, 1)
    return Candidates(
        scores.reshape(len(scores), -1),
        begins,
        finishes,
        logits[:, 0].sum(1),
        np.searchsorted(arrays.rows, np.arange(arrays.num_items + 1)),
    )


def reply(candidates: Candidates, item: int, context: str, *, n_best: int, threshold: float | None) -> Reply:
    """Choose the answer of an item.

    Args:
        candidates: of the item's batch.
        item: index of the item in the batch.
        context: the text that the candidates index.
        n_best: number of answers kept, each text once.
        threshold: `Reply.null_score` above which the answer is "no answer". None: only if no span is possible.
    """
    kept: dict[str, tuple[float, int, int]] = {}
    for score, begin, finish in candidates.of_item(item):
        text = context[begin:finish]
        if text and text not in kept:
            kept[text] = (score, begin, finish)
            if len(kept) == n_best:
                break
    null = candidates.null_of_item(item)
    best = next(iter(kept.values()), None)
    null_score = np.inf if best is None else null - best[0]
    if threshold is not None:
        kept[""] = (null, -1, -1)
    if not kept:
        return Reply("", 0.0, -1, -1, null_score, [])
    ranked = sorted(kept.values(), key=lambda entry: -entry[0])
    logits = np.array([score for score, _, _ in ranked])
    weights = np.exp(logits - logits.max())
    edges = np.array([entry[1:] for entry in ranked], np.int32)
    spans = Spans(context, edges, (weights / weights.sum()).astype(np.float32))
    chosen = choose(spans, null_score, threshold)
    assert chosen is not None, "the best span or the empty one was kept"
    return Reply(chosen.text, chosen.score, chosen.start, chosen.end, float(null_score), spans)
