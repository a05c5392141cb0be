"""Feeds: the batches of a run, drawn from instances of a prepared corpus or from items of a table.

Every draw carries the feed's state after it, so a resumed run continues with the very next batch. The seed and the
state decide the data of a batch. In pre-training, how much of the run is done also decides the stage, the size of a
growing batch, and the objective where it changes during the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from bertie import progress
from bertie.batch import Batch
from bertie.corpus.shards import Corpus
from bertie.errors import SettingsError
from bertie.ops.dropout.op import Place
from bertie.sampling.instances import draw_share
from bertie.sampling.positions import first_positions
from bertie.sampling.random import permutation
from bertie.sampling.sampler import Sampler
from bertie.tasks.task import Task
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.training.activations import Activations
from bertie.training.loop import StepBatches, longest_of
from bertie.training.parallel import group
from bertie.training.schedule import BATCH_PARTS, Stage, batch_parts, stage_at
from bertie.training.settings import ScheduleSettings

STEADY = ScheduleSettings()
"""The schedule with batches of full size from the start."""
Progress = Callable[[int, int], float]
"""(steps, tokens) -> fraction of the run that is done, 0 to 1."""


def corpus_feed(
    corpus: Corpus,
    task: Task,
    tokenizer: Tokenizer,
    *,
    stages: tuple[Stage, ...],
    batch_tokens: int,
    micro_tokens: int,
    seed: int,
    progress: Progress,
    state: dict[str, Any],
    schedule: ScheduleSettings = STEADY,
) -> Iterator[StepBatches]:
    """Yield the draws of pre-training without end, continuing from `state`, or from the start if it is empty.

    Args:
        corpus: prepared text.
        task: decides how the corpus is cut, and encodes the instances. Its objective may change during the run.
        tokenizer: the corpus's.
        stages: sequence lengths and their shares of the run.
        batch_tokens: the most tokens of an update.
        micro_tokens: the most tokens of a forward pass. A larger update is split and its gradients are added, unless
            the task's loss needs the whole batch.
        seed: decides order, pairs and masks.
        progress: returns how much of the run is done, which decides the stage.
        state: `state` of an earlier draw.
        schedule: whether the batch grows at first, and whether sequences of short stages begin at random positions. A
            growing batch is joined from consecutive smaller batches.

    Raises:
        SettingsError: a batch is too small for one instance.
    """
    grows = schedule.batch_warmup > 0.0
    size = batch_tokens // BATCH_PARTS if grows else batch_tokens
    lengths = [stage.length for stage in stages]
    longest, varies = max(lengths), len(set(lengths)) > 1
    if grows and size < longest:
        raise SettingsError(
            f"schedule.batch_warmup begins with 1/{BATCH_PARTS} of --batch-tokens {batch_tokens}, which is less than "
            f"one sequence of {longest} tokens; raise --batch-tokens, or set schedule.batch_warmup to 0"
        )
    samplers: dict[int, Sampler] = {}
    step, tokens = state.get("step", 0), state.get("tokens", 0)
    number, stage_step = state.get("stage", 0), state.get("stage_step", 0)
    while True:
        done = progress(step, tokens)
        current = max(number, stage_at(done, stages))
        if current != number:
            number, stage_step = current, 0
        if number not in samplers:
            length = stages[number].length
            samplers = {number: Sampler(corpus, seed=seed, length=length, batch_tokens=size, plan=task.corpus_plan())}
        parts = range(stage_step, stage_step + (batch_parts(done, schedule) if grows else 1))
        share = draw_share(samplers[number], parts, tokenizer, rank=group().rank, num_ranks=group().size)
        micro: list[Batch] = []
        if (instances := share.instances) is not None:
            batch = task.at(done).of_step(share.first_key).encode(instances, tokenizer, instances.keys)
            if schedule.random_positions and stages[number].length < longest:
                first = first_positions(instances.keys[batch.rows.numpy()], batch.lengths.numpy(), longest=longest)
                batch = batch.begun_at(torch.from_numpy(first))
            micro = [batch] if task.compares_items else batch.split(micro_tokens)
        drawn = share.num_tokens if group().size > 1 else sum(part.num_tokens for part in micro)
        step, stage_step, tokens = step + 1, parts.stop, tokens + drawn
        after = {"step": step, "tokens": tokens, "stage": number, "stage_step": stage_step}
        if varies:
            after["length"] = stages[number].length
        epoch, index = samplers[number].locate(stage_step - 1)
        place = Place(share.tokens_before, share.sequences_before, share.longest)
        origin = f"epoch {epoch}, batch {index}, stage {number}"
        yield StepBatches(micro, after, origin, place, drawn)


def table_feed(
    items: Sequence[Any],
    task: Task,
    tokenizer: Tokenizer,
    *,
    batch_size: int,
    micro_tokens: int,
    seed: int,
    state: dict[str, Any],
    activations: Activations | None = None,
) -> Iterator[StepBatches]:
    """Yield the draws of fine-tuning without end, in a new order each epoch. The last batch of an epoch may be smaller.

    Args:
        items: the training table.
        task: encodes the items.
        tokenizer: the model's.
        batch_size: items of an update.
        micro_tokens: the most tokens of a forward pass. A larger update is split and its gradients are added, unless
            the task's loss needs the whole batch.
        seed: decides the order.
        state: `state` of an earlier draw; empty to begin.
        activations: cached outputs of frozen layers, to add to each batch.
    """
    step = state.get("step", 0)
    per_epoch = -(-len(items) // batch_size)
    order, ordered_epoch = permutation(seed, 0, len(items)), 0
    truncation = _Truncation(task, len(items))
    while True:
        epoch, index = divmod(step, per_epoch)
        if epoch != ordered_epoch:
            order, ordered_epoch = permutation(seed, epoch, len(items)), epoch
        chosen = order[index * batch_size : (index + 1) * batch_size]
        batch = task.encode([items[number] for number in chosen], tokenizer)
        if epoch == 0:
            truncation.count([items[number] for number in chosen], batch, last=index == per_epoch - 1)
        if activations is not None:
            batch = activations.attach(batch, chosen)
        step += 1
        micro, place = _own_part(batch, task, micro_tokens)
        yield StepBatches(micro, {"step": step}, f"epoch {epoch}, batch {index}", place, batch.num_tokens)


def _own_part(batch: Batch, task: Task, micro_tokens: int) -> tuple[list[Batch], Place]:
    """Divide a batch among the processes of the run by tokens, in order, and take the part of this process.

    Returns:
        Its micro-batches, none if it has no part, and their place in the batch.
    """
    if task.compares_items:
        return [batch], Place(longest=longest_of([batch]))
    workers, longest = group().size, longest_of([batch])
    if workers == 1:
        return batch.split(micro_tokens), Place(longest=longest)
    arrays = batch.arrays
    middles = (arrays.offsets[1:] + arrays.offsets[:-1]) / 2
    owners = (middles * workers / arrays.offsets[-1]).astype(np.int64)
    if any(name.startswith("item.") for name in arrays.targets):
        _, first = np.unique(arrays.rows, return_index=True)
        owners = owners[first][arrays.rows]  # sequences of an item stay together
    own, before = np.flatnonzero(owners == group().rank), np.flatnonzero(owners < group().rank)
    others = batch.select(before) if len(before) else None
    target = None if others is None else others.target
    place = Place(
        0 if others is None else others.num_tokens, len(before), longest, 0 if target is None else target.num_tokens
    )
    return batch.select(own).split(micro_tokens) if len(own) else [], place


class _Truncation:
    """Warns about truncated training items: at the first one, and after the first epoch with their number."""

    def __init__(self, task: Task, num_items: int) -> None:
        self._limit, self._num_items = getattr(task, "max_length", 0), num_items
        self._num_cut = self._num_seen = 0

    def count(self, items: Sequence[Any], batch: Batch, *, last: bool) -> None:
        """Count the truncated items of a batch; `last` marks the last batch of the epoch."""
        lost = batch.targets.get("sequence.cut")
        rows = [] if lost is None else sorted(set(batch.rows[lost > 0].tolist()))
        if rows and not self._num_cut:
            line = getattr(items[rows[0]], "line", 0)
            progress.warn(
                f"a training item{f' (line {line})' if line else ''} is longer than {self._limit} tokens and is cut; "
                "raise --length, or read such items as windows with --truncation window"
            )
        self._num_cut += len(rows)
        self._num_seen += len(items)
        if last and self._num_cut and self._num_seen == self._num_items:
            progress.warn(f"{self._num_cut:,} of {self._num_items:,} training items are cut to {self._limit} tokens")
