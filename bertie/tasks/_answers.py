"""From the logits of a question's windows to its answers; part of `question_answering`, and no choice among the tasks.

Shapes: W windows of a batch, S longest sequence, K starts (and as many ends) tried a window, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertie.batch import Batch
from bertie.tasks._prediction import Prediction


@dataclass(frozen=True, slots=True)
class Span:
    """A possible answer; one without text means that there is none."""

    text: str
    score: float
    """Its probability among all that were kept."""
    start: int
    """First character in the context; -1 where there is no answer."""
    end: int
    """The character after its last one."""


class Spans(Sequence[Span]):
    """Possible answers of one question, made when they are looked at: predictions of a large table must stay small.

    Args:
        context: what the characters count in.
        edges: (n, 2) first character of each and the one after its last; -1 for "there is no answer".
        scores: (n,) their probabilities.
    """

    __slots__ = ("_context", "_edges", "_scores")

    def __init__(self, context: str, edges: NDArray[np.int32], scores: NDArray[np.float32]) -> None:
        self._context, self._edges, self._scores = context, edges, scores

    def __len__(self) -> int:
        return len(self._scores)

    @overload
    def __getitem__(self, place: int) -> Span: ...
    @overload
    def __getitem__(self, place: slice) -> list[Span]: ...
    def __getitem__(self, place: int | slice) -> Span | list[Span]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        start, end = self._edges[place].tolist()
        return Span(self._context[start:end] if start >= 0 else "", float(self._scores[place]), start, end)

    def __repr__(self) -> str:
        return repr(list(self))


@dataclass(frozen=True)
class Reply(Prediction):
    """What was said of one question."""

    text: str
    """The answer, as it stands in the context; empty for "there is none"."""
    score: float
    """Its probability among those of `n_best`."""
    start: int
    """First character in the context; -1 where there is no answer."""
    end: int
    """The character after its last one."""
    null_score: float
    """Logits for "there is no answer" less those for the best answer; infinite where no answer was possible."""
    n_best: Sequence[Span]
    """The likeliest answers, the best first; "no answer" among them where the model may say so."""

    def under(self, threshold: float | None) -> Reply | None:
        """Choose again with a threshold on `null_score`; None where `n_best` lacks what would be chosen."""
        chosen = choose(self.n_best, self.null_score, threshold)
        if chosen is None:
            return None
        return replace(self, text=chosen.text, score=chosen.score, start=chosen.start, end=chosen.end)


def choose(spans: Sequence[Span], null_score: float, threshold: float | None) -> Span | None:
    """Take the best answer, or "there is none" where that is the only one or `null_score` is above the threshold."""
    says_none = null_score == np.inf or (threshold is not None and null_score > threshold)
    return next((span for span in spans if (span.text == "") == says_none), None)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Spans of every window, in no order of merit, with the logits for "no answer"."""

    scores: NDArray[np.float32]
    """(W, K x K) start logit + end logit; -inf for what is no span."""
    begins: NDArray[np.int32]
    """(W, K) first character of the piece at each start."""
    finishes: NDArray[np.int32]
    """(W, K) the character after the piece at each end."""
    nulls: NDArray[np.float32]
    """(W,) start logit + end logit of [CLS]."""
    edges: NDArray[np.int64]
    """(items + 1,) where the windows of each item begin."""

    def of_item(self, item: int) -> Iterator[tuple[float, int, int]]:
        """Yield (score, begin, finish) of an item's spans, the best first; the earlier window's on ties."""
        first, end = self.edges[item], self.edges[item + 1]
        scores = self.scores[first:end].ravel()
        size = self.begins.shape[1]
        for place in np.argsort(-scores, kind="stable"):
            if scores[place] == -np.inf:
                return
            window, pair = divmod(int(place), size * size)
            start, stop = divmod(pair, size)
            yield (
                float(scores[place]),
                int(self.begins[first + window, start]),
                int(self.finishes[first + window, stop]),
            )

    def null_of_item(self, item: int) -> float:
        """Return the least logits for "no answer": a window that shows the answer knows better than the others."""
        return float(self.nulls[self.edges[item] : self.edges[item + 1]].min())


def find_candidates(outputs: Tensor, batch: Batch, *, n_best: int, max_answer: int, always: bool = False) -> Candidates:
    """Pair each window's best starts with its best ends.

    As in the original code the best are sought among all tokens, and pairs are left out that touch anything but the
    context, that start at a piece which another window shows with more context, that end before they start, or that
    are too long.

    Args:
        outputs: (T, 2) logits of starts and ends.
        batch: with `token.begin`, `token.finish` and `token.owned`.
        n_best: starts and ends tried in each window, K at most.
        max_answer: pieces of the longest answer.
        always: whether an item of which no pair is left gets single pieces of its context, so that it has an answer.
    """
    targets = batch.targets
    logits = batch.unpack(outputs.float(), padding=-torch.inf)  # (W, S, 2)
    values, places = logits.topk(min(n_best, batch.max_length), dim=1)  # (W, K, 2)
    all_begins = batch.unpack(targets["token.begin"], padding=-1)  # (W, S)
    all_finishes = batch.unpack(targets["token.finish"], padding=-1)
    all_owned = batch.unpack(targets["token.owned"], padding=0)
    begins = all_begins.gather(1, places[..., 0])  # (W, K)
    finishes = all_finishes.gather(1, places[..., 1])
    owned = all_owned.gather(1, places[..., 0])
    reach = places[:, None, :, 1] - places[:, :, None, 0]  # (W, K, K) start x end
    allowed = (reach >= 0) & (reach < max_answer)
    allowed &= (owned & (begins >= 0))[:, :, None] & (finishes > 0)[:, None, :]
    scores = values[:, :, None, 0] + values[:, None, :, 1]
    scores = scores.masked_fill(~allowed, -torch.inf)
    if always:
        rows = batch.rows.to(allowed.device)
        found = torch.zeros(batch.num_items, dtype=torch.bool, device=allowed.device)
        found[rows[allowed.flatten(1).any(1)]] = True
        bare = ~found[rows]  # (W,) windows of items without a pair
        free = all_owned.bool() & (all_begins >= 0) & (all_finishes > 0)
        best, single = logits.sum(2).masked_fill(~free, -torch.inf)[bare].topk(places.shape[1], dim=1)
        scores[bare] = torch.diag_embed(best).masked_fill(
            ~torch.eye(best.shape[1], dtype=torch.bool, device=best.device), -torch.inf
        )
        begins[bare], finishes[bare] = all_begins[bare].gather(1, single), all_finishes[bare].gather(1, single)
    scores = scores.flatten(1)
    return Candidates(
        scores.cpu().numpy(),
        begins.cpu().numpy(),
        finishes.cpu().numpy(),
        logits[:, 0].sum(1).cpu().numpy(),
        np.searchsorted(batch.rows.cpu().numpy(), np.arange(batch.num_items + 1)),
    )


def reply(candidates: Candidates, item: int, context: str, *, n_best: int, threshold: float | None) -> Reply:
    """Choose the answer of an item.

    Args:
        candidates: of the item's batch.
        item: its number there.
        context: what the characters count in.
        n_best: answers kept, each text once.
        threshold: `Reply.null_score` above which the answer is "there is none"; None: never, where a span is possible.
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
    shares = np.exp(logits - logits.max())
    edges = np.array([entry[1:] for entry in ranked], np.int32)
    spans = Spans(context, edges, (shares / shares.sum()).astype(np.float32))
    chosen = choose(spans, null_score, threshold)
    assert chosen is not None, "whatever may be chosen was kept"
    return Reply(chosen.text, chosen.score, chosen.start, chosen.end, float(null_score), spans)
