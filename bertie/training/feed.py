"""What a run draws from: instances of a prepared corpus, or items of a table.

Every draw says where the feed stands after it, so a resumed run goes on with the very next batch. What is drawn is a
function of the seed and that position alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from bertie import progress
from bertie.batch import Batch
from bertie.corpus.shards import Corpus
from bertie.data.instances import draw_instances, joined
from bertie.data.positions import first_positions
from bertie.data.random import permutation
from bertie.data.sampler import Sampler
from bertie.errors import SettingsError
from bertie.tasks.task import Task
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.training.activations import Activations
from bertie.training.loop import Draw
from bertie.training.schedule import BATCH_PARTS, Stage, batch_parts, stage_at
from bertie.training.settings import ScheduleSettings

STEADY = ScheduleSettings()
"""Every batch whole."""
Progress = Callable[[int, int], float]
"""(steps, tokens) -> fraction of the run that is done."""


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
) -> Iterator[Draw]:
    """Yield pre-training steps without end, from where `state` says on (an empty one: from the start).

    Args:
        corpus: prepared text.
        task: says how the corpus is cut, and encodes the instances as it is at that point of the run.
        tokenizer: of the corpus.
        stages: lengths and their shares of the run.
        batch_tokens: tokens of one update at most.
        micro_tokens: tokens of one forward pass at most; an update of more is split and its gradients are added,
            unless the task's loss needs the whole batch.
        seed: of order, pairs and masks.
        progress: tells how much of the run is done, which picks the stage.
        state: `state` of an earlier draw.
        schedule: says whether the batch grows at first; it is then put together from the next few smaller ones. And
            whether sequences of short stages begin at random positions.

    Raises:
        SettingsError: a batch too small for one instance.
    """
    grows = schedule.batch_warmup > 0.0
    size = batch_tokens // BATCH_PARTS if grows else batch_tokens
    lengths = [stage.length for stage in stages]
    longest, varies = max(lengths), len(set(lengths)) > 1
    if grows and size < longest:
        raise SettingsError(
            f"schedule.batch_warmup begins with 1/{BATCH_PARTS} of --batch-tokens {batch_tokens}, which is less than "
            f"one sequence of {longest} tokens"
        )
    samplers: dict[int, Sampler] = {}
    step, tokens = state.get("step", 0), state.get("tokens", 0)
    number, within = state.get("stage", 0), state.get("stage_step", 0)
    while True:
        done = progress(step, tokens)
        current = max(number, stage_at(done, stages))
        if current != number:
            number, within = current, 0
        if number not in samplers:
            length = stages[number].length
            samplers = {number: Sampler(corpus, seed=seed, length=length, batch_tokens=size, plan=task.corpus_plan())}
        parts = range(within, within + (batch_parts(done, schedule) if grows else 1))
        instances = joined([draw_instances(samplers[number], part, tokenizer) for part in parts])
        batch = task.at(done).encode(instances, tokenizer, instances.keys)
        if schedule.random_positions and stages[number].length < longest:
            first = first_positions(instances.keys[batch.rows.numpy()], batch.lengths.numpy(), longest=longest)
            batch = batch.begun_at(torch.from_numpy(first))
        step, within, tokens = step + 1, parts.stop, tokens + batch.num_tokens
        after = {"step": step, "tokens": tokens, "stage": number, "stage_step": within}
        if varies:
            after["length"] = stages[number].length
        epoch, place = samplers[number].locate(within - 1)
        micro = [batch] if task.whole_batch else batch.split(micro_tokens)
        yield Draw(micro, after, f"epoch {epoch}, batch {place}, stage {number}")


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
) -> Iterator[Draw]:
    """Yield fine-tuning steps without end: a new order each epoch, `batch_size` items a step (the last one smaller).

    Args:
        items: the training table.
        task: encodes them.
        tokenizer: of the model.
        batch_size: items of one update.
        micro_tokens: tokens of one forward pass at most, unless the task's loss needs the whole batch.
        seed: of the order.
        state: `state` of an earlier draw.
        activations: what frozen layers made of the items, to go with each batch.
    """
    step = state.get("step", 0)
    per_epoch = -(-len(items) // batch_size)
    order, ordered_epoch = permutation(seed, 0, len(items)), 0
    cut = _Cut(task, len(items))
    while True:
        epoch, place = divmod(step, per_epoch)
        if epoch != ordered_epoch:
            order, ordered_epoch = permutation(seed, epoch, len(items)), epoch
        chosen = order[place * batch_size : (place + 1) * batch_size]
        batch = task.encode([items[index] for index in chosen], tokenizer)
        if epoch == 0:
            cut.count([items[index] for index in chosen], batch, last=place == per_epoch - 1)
        if activations is not None:
            batch = activations.attach(batch, chosen)
        step += 1
        parts = [batch] if task.whole_batch else batch.split(micro_tokens)
        yield Draw(parts, {"step": step}, f"epoch {epoch}, batch {place}")


class _Cut:
    """Says that training items are cut: at once where one is, and after the first epoch how many there are."""

    def __init__(self, task: Task, num_items: int) -> None:
        self._limit, self._num_items = getattr(task, "max_length", 0), num_items
        self._num_cut = self._num_seen = 0

    def count(self, items: Sequence[Any], batch: Batch, *, last: bool) -> None:
        """Look at the items of a batch; `last` is the epoch's."""
        lost = batch.targets.get("sequence.cut")
        rows = [] if lost is None else sorted(set(batch.rows[lost > 0].tolist()))
        if rows and not self._num_cut:
            line = getattr(items[rows[0]], "line", 0)
            progress.warn(
                f"a training item{f' (line {line})' if line else ''} is longer than {self._limit} tokens and is cut; "
                "--length takes more, --truncation window reads such items whole"
            )
        self._num_cut += len(rows)
        self._num_seen += len(items)
        if last and self._num_cut and self._num_seen == self._num_items:
            progress.warn(f"{self._num_cut:,} of {self._num_items:,} training items are cut to {self._limit} tokens")
