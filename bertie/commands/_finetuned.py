"""Notes for the report of a finished fine-tuning run, and warnings for its user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertie import progress

if TYPE_CHECKING:
    from bertie.commands._dev import DevTable
    from bertie.training.spec import RunSpec, RunState


def remarks(job: RunSpec, position: RunState, records: Sequence[Mapping[str, Any]], dev: DevTable) -> dict[str, Any]:
    """Write warnings about a finished run to stderr, and return them for the run's figures.

    Args:
        job: the run's job.
        position: the state at its end.
        records: lines of metrics.jsonl.
        dev: the dev table, evaluated.
    """
    from bertie.training.remarks import Extent, of_finetuning

    predictions, labels = dev.answers()
    lines = of_finetuning(
        Extent(steps=position.step, done=position.step / max(1, job.epoch_steps or 1), data="the training table"),
        records,
        job.task.criterion,
        answers=predictions,
        right=labels,
        settings=job.training,
        optimizer=job.optimizer,
    )
    for line in lines:
        progress.note(f"warning: {line}")  # a note: quiet runs have it in run.json and the report
    return {"remarks": lines} if lines else {}


def notes(values: Mapping[str, Any], reading: str) -> list[str]:
    """Return notes for readers of the scores.

    Args:
        values: the run's figures.
        reading: how the training file was read; empty if unknown.
    """
    num_cut, num_items = values.get("dev_items_cut", 0), values.get("dev_items", 0)
    lines = (
        [f"{num_cut:,} of {num_items:,} dev items were longer than the model's limit and were truncated."]
        if num_cut
        else []
    )
    if selected := values.get("weights_chosen_on_dev"):
        lines.append(
            f"The weights of step {selected['step']} were selected by these dev scores; other data may score lower."
        )
    if "ended_early_on_dev" in values:
        lines.append("The run ended early because these dev scores stopped rising.")
    for name, value in values.get("tuned_on_dev", {}).items():
        value_text = f"{value:.4g}" if isinstance(value, float) else str(value)
        lines.append(f"{name} = {value_text} was chosen on these dev items; other data may score lower.")
    lines += [f"Training data: {reading}"] if reading else []
    return [*lines, *(f"{line[0].upper()}{line[1:]}." for line in values.get("remarks", ()))]
