"""A run that goes on from a trained encoder: its new head, its learning rate, and what the run bought; no command."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bertie import progress

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.starts.start import Begun
    from bertie.tasks.task import TaskModel
    from bertie.training.run import Job
    from bertie.training.runfolder import RunFolder

_BEGUN = "begun"  # what a run's record calls it
_SHARE = 0.1  # of a budget: the head alone learns no longer than that


def warmed(
    bundle: Bundle, network: TaskModel, corpus: Corpus, job: Job, length: int, folder: RunFolder
) -> Begun | None:
    """Let a new head learn alone, unless the run goes on from a checkpoint; return what was done then or earlier.

    A run that breaks off before its first checkpoint does the same steps again, also those of a budget.

    Args:
        bundle: the model that was given, under the head for the run's task.
        network: what learns.
        corpus: what it learns from.
        job: of the run.
        length: tokens of its first sequences at most.
        folder: of the run.
    """
    from bertie.starts.start import Begun
    from bertie.training import checkpoint
    from bertie.training.new_head import STEPS, warm

    kept = folder.kept(_BEGUN)
    if checkpoint.exists(folder.checkpoints):
        return None if kept is None else Begun(**kept)
    if not bundle.drawn or network is not bundle.model:  # of a pair that learns together neither could wait
        return None
    again, budget = kept is not None and kept["steps"], job.horizon.seconds
    found = warm(
        bundle,
        corpus,
        length=length,
        precision=job.precision,
        device=job.device,
        seed=job.seed,
        steps=again or STEPS,
        most_seconds=None if again or budget is None else _SHARE * budget,
    )
    said = (
        f"The head was new: its bias began at the logarithm of the corpus' frequencies, and it learned alone for "
        f"{found.steps} steps of {found.tokens:,} tokens before the run's first step."
    )
    progress.note(f"new head: {found.steps} steps alone in {found.seconds:.0f} s, loss {found.loss:.2f}")
    begun = Begun("", said, steps=found.steps, seconds=round(found.seconds, 1))
    folder.keep(_BEGUN, vars(begun))
    return begun


def shortened(job: Job, begun: Begun | None) -> Job:
    """Return a job that ends as much earlier as the head learned alone: both share one budget."""
    budget = job.horizon.seconds
    if begun is None or budget is None or not begun.seconds:
        return job
    return replace(job, horizon=replace(job.horizon, seconds=max(0.5 * budget, budget - begun.seconds)))
