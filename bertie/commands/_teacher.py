"""The teacher of a run: read it, check it against the student, and train with it."""

from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.training.settings import DistillSettings

if TYPE_CHECKING:
    from bertie.formats.format import Bundle
    from bertie.tasks.task import Task, TaskModel


def with_teacher(
    network: "TaskModel", bundle: "Bundle", settings: DistillSettings, *, seed: int
) -> tuple["TaskModel", "Task"]:
    """Combine the student with a teacher, if the settings name one.

    Args:
        network: the network to train.
        bundle: the student as it will be written, with its task and tokenizer.
        settings: the teacher and the weights of its losses.
        seed: seed of layers that exist only to compare hidden vectors.

    Returns:
        The network and the task to train with; without a teacher those of the student.

    Raises:
        DataError: the teacher has another vocabulary or other labels.
        SettingsError: the teacher doesn't fit the task, or the task can't learn from a teacher.
    """
    if settings.teacher is None:
        return network, bundle.task
    from bertie.training.distillation import Distilled, DistilledModel

    if network.companions():
        raise SettingsError(
            f"{bundle.task.name} can't learn from a teacher: its encoder reads the output of its helper model"
        )
    if settings.logits > 0.0:
        bundle.task.check_logits()
    teacher = _read(settings, bundle.task)
    _check(teacher, bundle, settings)
    count = sum(value.numel() for value in teacher.model.parameters())
    progress.note(f"teacher: {settings.teacher}, {count:,} weights")
    return DistilledModel(network, teacher.model, settings, seed=seed), Distilled(bundle.task, settings)


def _read(settings: DistillSettings, task: "Task") -> "Bundle":
    """Read the teacher, with the head whose logits the student learns, or without a head."""
    from bertie.formats.huggingface import read, resolve
    from bertie.tasks._lookup import task_name

    assert settings.teacher is not None
    name = "features" if settings.logits == 0.0 else task_name(task)
    if settings.logits > 0.0 and task.fills_masks and not task.left_to_right:
        name = "masked_lm"  # the student learns only these logits, whatever other objectives both have
    try:
        return read(resolve(settings.teacher), task=name)
    except SettingsError as error:
        raise SettingsError(f"distill.teacher: {error}") from error


def _check(teacher: "Bundle", student: "Bundle", settings: DistillSettings) -> None:
    """Refuse a teacher whose vocabulary, positions or labels don't fit the student."""
    path, longest = settings.teacher, getattr(student.task, "max_length", 0)
    if teacher.tokenizer.fingerprint != student.tokenizer.fingerprint:
        raise DataError(
            f"the vocabularies of distill.teacher {path} ({teacher.tokenizer.vocab_size} pieces) and of the student "
            f"({student.tokenizer.vocab_size} pieces) differ; use a teacher with the student's vocabulary"
        )
    if teacher.config.max_positions < longest:
        raise SettingsError(
            f"--length {longest} is more than the {teacher.config.max_positions} positions of distill.teacher {path}"
        )
    if settings.logits == 0.0:
        return
    if student.task.fills_masks and teacher.config.vocab_size != student.config.vocab_size:
        raise DataError(
            f"distill.teacher {path} has logits for {teacher.config.vocab_size} tokens and the student for "
            f"{student.config.vocab_size}; set distill.logits 0 and use distill.hidden or distill.attention"
        )
    for setting in ("labels", "multi_label"):
        student_value, teacher_value = (_as_text(getattr(each.task, setting, None)) for each in (student, teacher))
        if student_value != teacher_value:
            raise DataError(
                f"distill.teacher {path} has {setting} {teacher_value}, but the training table has {student_value}"
            )


def _as_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
