"""Choose the instances of each step: a pure function of (corpus, seed, step).

The plan of an epoch is cut, in its order, into batches of at most `batch_tokens` tokens. The last two batches of an
epoch share their tokens evenly, so that no update rests on a handful of sequences. Batches are the same for any number
of processes; `shares` divides them.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bertie import registry
from bertie.corpus.shards import Corpus
from bertie.errors import DataError, SettingsError
from bertie.sampling.plan import Plan, order_plan, pair_plan
from bertie.sampling.single_plan import full_plan, passage_plan, text_plan

PLANS: dict[str, Callable[..., Plan]] = {
    "pairs": pair_plan,
    "order": order_plan,
    "texts": text_plan,
    "full": full_plan,
    "passages": passage_plan,
}
"""Names of plans, as tasks give them, to plan functions. Each function takes (corpus, seed=, epoch=, length=)."""


class Sampler:
    """Map each step of a run to the instances of its batch.

    Args:
        corpus: prepared text.
        seed: seed of the plans and their orders.
        length: tokens of the longest instance.
        batch_tokens: largest number of tokens in a batch.
        plan: name of the plan, one of `PLANS`.

    Raises:
        SettingsError: the batch is too small for one instance, or the plan is unknown.
    """

    def __init__(self, corpus: Corpus, *, seed: int, length: int, batch_tokens: int, plan: str) -> None:
        if batch_tokens < length:
            raise SettingsError(
                f"--batch-tokens {batch_tokens} is smaller than one sequence of --length {length}; raise --batch-tokens"
            )
        if plan not in PLANS:
            raise SettingsError(f"unknown plan {plan!r}; {registry.did_you_mean(plan, PLANS)}")
        self.corpus, self.seed, self.length, self.batch_tokens = corpus, seed, length, batch_tokens
        self._make_plan = PLANS[plan]
        self._epochs: dict[int, tuple[Plan, NDArray[np.int64]]] = {}
        self._first_steps = [0]  # of each epoch planned so far

    def plan(self, epoch: int) -> Plan:
        """Return the plan of an epoch."""
        return self._epoch(epoch)[0]

    def num_batches(self, epoch: int) -> int:
        """Count the batches of an epoch."""
        return len(self._epoch(epoch)[1]) - 1

    def locate(self, step: int) -> tuple[int, int]:
        """Return (epoch, batch within the epoch) of a step."""
        while self._first_steps[-1] <= step:
            epoch = len(self._first_steps) - 1
            self._first_steps.append(self._first_steps[-1] + self.num_batches(epoch))
        epoch = int(np.searchsorted(self._first_steps, step, side="right")) - 1
        return epoch, step - self._first_steps[epoch]

    def instances(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """Return the epoch of a step and the numbers of its instances in that epoch's plan."""
        epoch, batch = self.locate(step)
        edges = self._epoch(epoch)[1]
        return epoch, np.arange(edges[batch], edges[batch + 1])

    def _epoch(self, epoch: int) -> tuple[Plan, NDArray[np.int64]]:
        if epoch not in self._epochs:
            plan = self._make_plan(self.corpus, seed=self.seed, epoch=epoch, length=self.length)
            if len(plan) == 0:
                raise DataError("the corpus has no text to draw from")
            if len(self._epochs) > 1:
                del self._epochs[min(self._epochs)]
            self._epochs[epoch] = plan, _edges(plan.lengths, self.batch_tokens)
        return self._epochs[epoch]


def _edges(lengths: NDArray[np.int64], budget: int) -> NDArray[np.int64]:
    """Cut instances into batches of at most `budget` tokens: [0, first of batch 1, ..., number of instances]."""
    ends = np.cumsum(lengths)
    edges = [0]
    while edges[-1] < len(lengths):
        before = ends[edges[-1] - 1] if edges[-1] else 0
        edges.append(int(np.searchsorted(ends, before + budget, side="right")))
    if len(edges) > 2:  # give the last two batches half of their tokens each
        before = ends[edges[-3] - 1] if edges[-3] else 0
        edges[-2] = min(edges[-2], int(np.searchsorted(ends, (before + ends[-1]) / 2)) + 1)
    return np.asarray(edges, np.int64)


def shares(lengths: NDArray[np.int64], num_parts: int) -> NDArray[np.int64]:
    """Cut a batch into consecutive parts of about equally many tokens: edges of the parts.

    No part is empty, unless there are fewer instances than parts; then the last parts are.
    """
    inner = np.arange(1, num_parts)
    if len(lengths) < num_parts:
        return np.minimum(np.arange(num_parts + 1), len(lengths))
    middles = np.cumsum(lengths) - lengths / 2
    edges = np.searchsorted(middles, lengths.sum() * inner / num_parts)
    edges = np.maximum.accumulate(np.maximum(edges, inner) - inner) + inner  # each edge above the one before ...
    edges = np.minimum(edges, len(lengths) - num_parts + inner)  # ... and an instance left for each later part
    return np.concatenate([[0], edges, [len(lengths)]])
