"""What a teacher's opinion of a batch is, task by task: rows of scores, each over the answers to one question.

The softmax of a row is what the task's own loss compares with its target. A task of none of these kinds has no opinions
that could be learned; a third party's derives from one of them.

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
from bertie.nn.projection import Logits
from bertie.tasks.classification import Classification
from bertie.tasks.generation import Generation
from bertie.tasks.multiple_choice import MultipleChoice, choice_table
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import Task


@dataclass(frozen=True)
class Kind:
    """How outputs of a kind of task are read."""

    rows: Callable[[Any, Any, Batch], Logits | Tensor]
    """(task, outputs, batch) -> rows, with -inf for what is no answer; of numbers (I, 1)."""
    count: Callable[[Any, Batch], float]
    """(task, batch) -> how many rows there are."""


def _of_masks(task: Task, outputs: Any, batch: Batch) -> Logits:
    """M rows over the vocabulary."""
    logits: Logits = outputs if isinstance(outputs, Logits) else outputs.tokens
    return logits


def _of_labels(task: Classification, outputs: Tensor, batch: Batch) -> Tensor:
    """(I, C); of labels that are given or not each on its own (I C, 2)."""
    scores = batch.item_means(outputs.float())
    return torch.stack([scores, torch.zeros_like(scores)], -1).flatten(0, 1) if task.multi_label else scores


def _of_answers(task: QuestionAnswering, outputs: Tensor, batch: Batch) -> Tensor:
    """(2B, S): where the answer begins and where it ends, over the tokens of a window."""
    return batch.unpack(outputs.float(), padding=-torch.inf).transpose(1, 2).flatten(0, 1)


_MASKS = Kind(_of_masks, lambda task, batch: float(len(batch.targets["slot.token"])))
_KINDS: dict[type[Task], Kind] = {
    Classification: Kind(
        _of_labels, lambda task, batch: float(batch.num_items * (len(task.labels) if task.multi_label else 1))
    ),
    Generation: Kind(lambda task, outputs, batch: outputs.logits, lambda task, batch: task.counts(batch)["generation"]),
    MultipleChoice: Kind(
        lambda task, outputs, batch: choice_table(outputs, batch), lambda task, batch: float(batch.num_items)
    ),
    NextSentence: Kind(lambda task, outputs, batch: outputs, lambda task, batch: float(len(batch))),
    QuestionAnswering: Kind(_of_answers, lambda task, batch: 2.0 * len(batch)),
    Regression: Kind(
        lambda task, outputs, batch: batch.item_means(outputs.float())[:, None] / task.spread,
        lambda task, batch: float(batch.num_items),
    ),
    Tagging: Kind(
        lambda task, outputs, batch: outputs[batch.targets["token.tag"] >= 0],
        lambda task, batch: task.counts(batch)["tagging"],
    ),
}


def kind_of(task: Task) -> Kind:
    """Find how a task's outputs are read.

    Raises:
        SettingsError: they are no guesses at answers.
    """
    if task.fills_masks:
        return _MASKS
    for base in type(task).__mro__:
        if base in _KINDS:
            return _KINDS[base]
    raise SettingsError(
        f"distill.logits compares guesses at answers, and {task.name} makes none; set it to 0, and distill.hidden or "
        "distill.attention above 0"
    )


def num_opinions(task: Task, batch: Batch) -> float:
    """Count the rows of a batch."""
    return kind_of(task).count(task, batch)


def disagreement(task: Task, student: Any, teacher: Any, batch: Batch, temperature: float) -> Tensor:
    """Sum temperature^2 x KL(teacher || student) over the rows of a batch; of numbers the squared distance in spreads.

    Args:
        task: of both.
        student: outputs of its head.
        teacher: outputs of the teacher's head; no gradient goes to them.
        batch: that both saw.
        temperature: above 0.

    Returns:
        A scalar in fp32.
    """
    said, meant = (kind_of(task).rows(task, outputs, batch) for outputs in (student, teacher))
    if isinstance(task, Regression):
        assert isinstance(said, Tensor) and isinstance(meant, Tensor)
        return (said - meant).square().sum()
    return divergence(said, meant, temperature)
