"""A teacher's logits for a batch, task by task: rows of logits, each row over the classes of one prediction.

The task's own loss compares the softmax of a row with its target. A student can learn the logits of these tasks and of
tasks that derive from them; other tasks have none that it could learn.

Shapes: T tokens, B sequences, I items, M masked tokens, C classes, S longest sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.nn.divergence import divergence
from bertie.nn.logits import Logits
from bertie.tasks.classification import Classification
from bertie.tasks.generation import Generation
from bertie.tasks.multiple_choice import MultipleChoice, choice_table
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import Task


@dataclass(frozen=True)
class LogitsReader:
    """How to read the outputs of a kind of task."""

    rows: Callable[[Any, Any, Batch], Logits | Tensor]
    """(task, outputs, batch) -> rows of logits, with -inf for excluded classes; for regression (I, 1) numbers."""
    count: Callable[[Any, Batch], float]
    """(task, batch) -> number of rows."""


def _of_masks(task: Task, outputs: Any, batch: Batch) -> Logits:
    """Return M rows over the vocabulary."""
    logits: Logits = outputs if isinstance(outputs, Logits) else outputs.tokens
    return logits


def _of_labels(task: Classification, outputs: Tensor, batch: Batch) -> Tensor:
    """Return (I, C) logits; for multi-label tasks (I C, 2), one row for each decision about a label."""
    scores = batch.item_means(outputs.float())
    return torch.stack([scores, torch.zeros_like(scores)], -1).flatten(0, 1) if task.multi_label else scores


def _of_answers(task: QuestionAnswering, outputs: Tensor, batch: Batch) -> Tensor:
    """Return (2B, S) logits of an answer's first and last token, over the tokens of a window."""
    return batch.unpack(outputs.float(), padding=-torch.inf).transpose(1, 2).flatten(0, 1)


_MASKS = LogitsReader(_of_masks, lambda task, batch: float(len(batch.targets["slot.token"])))
_KINDS: dict[type[Task], LogitsReader] = {
    Classification: LogitsReader(
        _of_labels, lambda task, batch: float(batch.num_items * (len(task.labels) if task.multi_label else 1))
    ),
    Generation: LogitsReader(
        lambda task, outputs, batch: outputs.logits, lambda task, batch: task.counts(batch)["generation"]
    ),
    MultipleChoice: LogitsReader(
        lambda task, outputs, batch: choice_table(outputs, batch), lambda task, batch: float(batch.num_items)
    ),
    NextSentence: LogitsReader(lambda task, outputs, batch: outputs, lambda task, batch: float(len(batch))),
    QuestionAnswering: LogitsReader(_of_answers, lambda task, batch: 2.0 * len(batch)),
    Regression: LogitsReader(
        lambda task, outputs, batch: batch.item_means(outputs.float())[:, None] / task.spread,
        lambda task, batch: float(batch.num_items),
    ),
    Tagging: LogitsReader(
        lambda task, outputs, batch: outputs[batch.targets["token.tag"] >= 0],
        lambda task, batch: task.counts(batch)["tagging"],
    ),
}


def kind_of(task: Task) -> LogitsReader:
    """Return how to read the outputs of a task.

    Raises:
        SettingsError: the task has no logits to learn.
    """
    if task.fills_masks:
        return _MASKS
    for base in type(task).__mro__:
        if base in _KINDS:
            return _KINDS[base]
    raise SettingsError(
        f"distill.logits needs the logits of a prediction, and {task.name} has none; set it to 0, and distill.hidden "
        "or distill.attention above 0"
    )


def num_rows(task: Task, batch: Batch) -> float:
    """Count the rows of logits of a batch."""
    return kind_of(task).count(task, batch)


def logits_loss(task: Task, student: Any, teacher: Any, batch: Batch, temperature: float) -> Tensor:
    """Sum temperature^2 x KL(teacher || student) over the rows of a batch.

    For regression, sum the squared differences of the predicted numbers, divided by the spread of the labels.

    Args:
        task: the task of both models.
        student: outputs of the student's head.
        teacher: outputs of the teacher's head. They get no gradients.
        batch: the batch of both.
        temperature: above 0.

    Returns:
        A scalar in fp32.
    """
    rows, targets = (kind_of(task).rows(task, outputs, batch) for outputs in (student, teacher))
    if isinstance(task, Regression):
        assert isinstance(rows, Tensor) and isinstance(targets, Tensor)
        return (rows - targets).square().sum()
    return divergence(rows, targets, temperature)
