"""What a reader of a finished fine-tuning run should know: notes for its report, and remarks for its user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertie import progress

if TYPE_CHECKING:
    from bertie.commands._dev import DevTable
    from bertie.training.run import Job, Position


def remarks(job: Job, position: Position, records: Sequence[Mapping[str, Any]], dev: DevTable) -> dict[str, Any]:
    """Say as warnings what a user would want to be told, and return it for the run's figures.

    Args:
        job: what was done.
        position: where it ended.
        records: lines of metrics.jsonl.
        dev: the dev table, measured.
    """
    from bertie.training.remarks import Extent, of_finetuning

    said, right = dev.answers()
    found = of_finetuning(
        Extent(steps=position.step, done=position.step / max(1, job.epoch_steps or 1), data="the training table"),
        records,
        job.task.criterion,
        answers=said,
        right=right,
        settings=job.training,
        optimizer=job.optimizer,
    )
    for line in found:
        progress.note(f"warning: {line}")  # quiet runs have them in run.json and in the report
    return {"remarks": found} if found else {}


def notes(values: Mapping[str, Any], reading: str) -> list[str]:
    """Say what a reader of the scores should know.

    Args:
        values: the run's figures.
        reading: how the training file was read; empty where that is unknown.
    """
    cut, all_items = values.get("dev_items_cut", 0), values.get("dev_items", 0)
    told = [f"{cut:,} of {all_items:,} dev items were longer than the model takes and were cut."] if cut else []
    if kept := values.get("weights_chosen_on_dev"):
        told.append(f"The weights of step {kept['step']} were chosen by these dev scores: others may be lower.")
    if "ended_early_on_dev" in values:
        told.append("The run ended early because these dev scores grew no more.")
    for name, value in values.get("tuned_on_dev", {}).items():
        shown = f"{value:.4g}" if isinstance(value, float) else str(value)
        told.append(f"{name} = {shown} was chosen on these dev items themselves: scores on others may be lower.")
    told += [f"Training data: {reading}"] if reading else []
    return [*told, *(f"{line[0].upper()}{line[1:]}." for line in values.get("remarks", ()))]
