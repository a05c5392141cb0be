"""The teacher of a run: read, held against the student, and put beside it."""

from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.training.settings import DistillSettings

if TYPE_CHECKING:
    from bertie.formats.format import Bundle
    from bertie.tasks.task import Task, TaskModel


def taught(
    network: "TaskModel", bundle: "Bundle", settings: DistillSettings, *, seed: int
) -> tuple["TaskModel", "Task"]:
    """Put a teacher beside the network that learns, if there is to be one.

    Args:
        network: what learns.
        bundle: the student as it will be written, with its task and tokenizer.
        settings: the teacher and what is learned from it.
        seed: of what is learned only for the comparison.

    Returns:
        The network and the task to train with; those of the student alone without a teacher.

    Raises:
        DataError: another vocabulary, or other labels.
        SettingsError: a teacher that doesn't fit the task, or a task that can't learn from one.
    """
    if settings.teacher is None:
        return network, bundle.task
    from bertie.training.distillation import Distilled, DistilledModel
    from bertie.training.opinions import kind_of

    if network.companions():
        raise SettingsError(
            f"{bundle.task.name} can't learn from a teacher: its encoder reads what its helper made of the batch"
        )
    if settings.logits > 0.0:
        kind_of(bundle.task)
    teacher = _read(settings, bundle.task)
    _check(teacher, bundle, settings)
    count = sum(value.numel() for value in teacher.model.parameters())
    progress.note(f"learning from {settings.teacher}, {count:,} weights, beside the task's own targets")
    return DistilledModel(network, teacher.model, settings, seed=seed), Distilled(bundle.task, settings)


def _read(settings: DistillSettings, task: "Task") -> "Bundle":
    """Read the teacher with the head whose guesses are learned, or without any."""
    from bertie.formats.huggingface import read, resolve
    from bertie.tasks.task import task_name

    assert settings.teacher is not None
    name = "features" if settings.logits == 0.0 else task_name(task)
    if settings.logits > 0.0 and task.fills_masks and not task.left_to_right:
        name = "masked_lm"  # whatever else pre-training taught the teacher or shall teach the student
    try:
        return read(resolve(settings.teacher), task=name)
    except SettingsError as error:
        raise SettingsError(f"distill.teacher: {error}") from error


def _check(teacher: "Bundle", student: "Bundle", settings: DistillSettings) -> None:
    """Refuse a teacher that would read or answer differently from the student."""
    where, longest = settings.teacher, getattr(student.task, "max_length", 0)
    if teacher.tokenizer.fingerprint != student.tokenizer.fingerprint:
        raise DataError(
            f"distill.teacher {where} has a vocabulary of {teacher.tokenizer.vocab_size} pieces and the student one of "
            f"{student.tokenizer.vocab_size}, and they differ; both must see the same pieces"
        )
    if teacher.config.max_positions < longest:
        raise SettingsError(
            f"--length {longest} is more than the {teacher.config.max_positions} positions of distill.teacher {where}"
        )
    if settings.logits == 0.0:
        return
    if student.task.fills_masks and teacher.config.vocab_size != student.config.vocab_size:
        raise DataError(
            f"distill.teacher {where} guesses among {teacher.config.vocab_size} entries and the student among "
            f"{student.config.vocab_size}; distill.hidden and distill.attention may do, with distill.logits 0"
        )
    for name in ("labels", "multi_label"):
        ours, theirs = (_shown(getattr(each.task, name, None)) for each in (student, teacher))
        if ours != theirs:
            raise DataError(f"distill.teacher {where} has {name} {theirs}, the training table {ours}")


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
