"""Distillation: a student learns from a teacher's predictions, hidden vectors and attention, in addition to targets.

It wraps any task and its network. The task's own loss stays, and up to three terms are added to it. The teacher is a
finished model with the same vocabulary. It reads the same batch, without dropout, and its weights don't change. A
checkpoint holds a digest of the teacher and not its weights. The model folder holds the student alone.

* logits: temperature^2 x KL(teacher || student) (Hinton et al. 2015). In pre-training the distributions are those over
  the vocabulary at the masked tokens. For regression the term is the squared difference of the predicted numbers.
* hidden: the squared distance of hidden vectors, averaged over H and layers. Student layer m of M learns from teacher
  layer m N / M of N (TinyBERT's uniform map; Jiao et al. 2020). If the widths differ, the student's vectors pass one
  learned projection. DistilBERT's cosine loss needs equal widths. It also ignores the lengths of vectors, but those of
  post-norm models are much the same anyway.
* attention: the relations of queries, keys and values in the last layer (MiniLMv2; Wang et al. 2021). The two models
  may differ in width, attention heads and number of layers. Attention weights are not needed, and the packed kernels
  never return them.

Shapes: T tokens, B sequences, I items, H hidden, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.nn.divergence import relation_divergence
from bertie.nn.initialize import initialize
from bertie.ops.dropout.op import Noise
from bertie.tasks.task import Keys, Loss, Task, TaskModel, Term
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.training.settings import DistillSettings


class Lesson(NamedTuple):
    """The outputs of student and teacher for a batch."""

    student: Any
    """Outputs of the student's head."""
    teacher: Any
    """Outputs of the teacher's head; None if distill.logits is 0."""
    layers: list[tuple[Tensor, Tensor]]
    """(T, H') hidden vectors of a student layer, projected, and of the teacher layer that it learns from."""
    products: tuple[Tensor, Tensor] | None
    """(T, 3H) and (T, 3H') queries, keys and values of the last layer of student and teacher."""


class DistilledModel(TaskModel):
    """A student with its teacher. The encoder and head are the student's own modules, so parameters keep their names.

    Args:
        student: the network that learns.
        teacher: its gradients and dropout are switched off here.
        settings: which terms are learned.
        seed: the run's. The projection's first weights are drawn from it.

    Raises:
        SettingsError: distill.hidden or distill.attention is set, and an encoder has no blocks of the usual kind.
    """

    def __init__(self, student: TaskModel, teacher: TaskModel, settings: DistillSettings, *, seed: int) -> None:
        super().__init__(student.encoder, student.head)
        self._student = (student,)  # in a tuple, so that its parts aren't registered twice
        self.teacher = teacher.requires_grad_(False)
        self.settings = settings
        if settings.hidden > 0.0 or settings.attention > 0.0:
            for encoder, whose in ((student.encoder, "the student"), (teacher.encoder, "the teacher")):
                _check_blocks(encoder, whose)
        width, target = (each.encoder.config.hidden_size for each in (student, teacher))  # type: ignore[union-attr]
        self.project = None
        if settings.hidden > 0.0 and width != target:
            self.project = nn.Linear(width, target, bias=False)  # type: ignore[arg-type]
            # seed to seed + 3 draw the weights of the encoder, the head, LoRA and a generator
            initialize(self.project, deviation=0.02, generator=torch.Generator().manual_seed(seed + 4))

    def train(self, mode: bool = True) -> Self:
        """Switch the student's dropout on or off; the teacher's stays off."""
        super().train(mode)
        self._student[0].train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch, noise: Noise | None = None) -> Lesson:
        """Run student and teacher on a batch."""
        if self.training and noise is None:
            noise = Noise.draw()
        student, teacher = self._student[0], self.teacher
        with _recording(student.encoder, self.settings) as mine:
            outputs = student(batch, noise)
        from_zero = batch.begun_at_zero()  # the teacher's positions count from 0, wherever the student's begin
        with torch.no_grad(), _recording(teacher.encoder, self.settings) as theirs:
            teacher_outputs = teacher(from_zero) if self.settings.logits > 0.0 else teacher.encoder(from_zero)
        products = None
        if self.settings.attention > 0.0:
            products = (mine.products[-1][: batch.num_tokens], theirs.products[-1][: batch.num_tokens])
        return Lesson(
            outputs,
            teacher_outputs if self.settings.logits > 0.0 else None,
            self._pairs(mine.layers, theirs.layers, batch.num_tokens) if self.settings.hidden > 0.0 else [],
            products,
        )

    def _pairs(self, mine: list[Tensor], theirs: list[Tensor], num_tokens: int) -> list[tuple[Tensor, Tensor]]:
        """Pair the hidden vectors of each student layer that learns with those of its teacher layer.

        If the outputs of frozen layers came with the batch, `mine` has only the layers above them.
        """
        total: int = self.encoder.config.num_layers  # type: ignore[union-attr, assignment]
        pairs = []
        for number, hidden in enumerate(mine, total - len(mine) + 1):
            if hidden.requires_grad or not torch.is_grad_enabled():
                learner = hidden[:num_tokens]
                target = theirs[like(number, total, len(theirs)) - 1]
                pairs.append((learner if self.project is None else self.project(learner), target[:num_tokens]))
        if not pairs:
            raise SettingsError("distill.hidden needs layers of the encoder that learn; freeze fewer")
        return pairs


def like(number: int, num_layers: int, num_teacher_layers: int) -> int:
    """Return the teacher layer that student layer `number` learns from, both counted from 1.

    >>> [like(number, 4, 12) for number in (1, 2, 3, 4)]
    [3, 6, 9, 12]
    """
    return max(1, round(number * num_teacher_layers / num_layers))


def _check_blocks(encoder: Any, whose: str) -> None:
    blocks = getattr(encoder, "blocks", [])
    if not len(blocks) or not hasattr(getattr(blocks[-1], "attention", None), "qkv"):
        raise SettingsError(
            f"distill.hidden and distill.attention compare Transformer blocks, and the encoder of {whose} "
            f"({type(encoder).__name__}) has none of the usual kind; use distill.logits alone"
        )


@dataclass(frozen=True)
class _Recorded:
    """Outputs of an encoder's parts in one forward pass, in order."""

    layers: list[Tensor] = field(default_factory=list)
    products: list[Tensor] = field(default_factory=list)


@contextmanager
def _recording(encoder: Any, settings: DistillSettings) -> Iterator[_Recorded]:
    """Record the outputs of blocks, and the last block's queries, keys and values, as far as the settings need them."""
    recorded, handles = _Recorded(), []

    def note(outputs: list[Tensor]) -> Callable[..., None]:
        return lambda module, inputs, output: outputs.append(output)

    if settings.hidden > 0.0:
        handles += [block.register_forward_hook(note(recorded.layers)) for block in encoder.blocks]
    if settings.attention > 0.0:
        handles.append(encoder.blocks[-1].attention.qkv.register_forward_hook(note(recorded.products)))
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Distilled(Task[Any, Lesson, Any]):
    """A task with the teacher's terms added to its loss. Everything else is delegated to the task."""

    task: Task
    settings: DistillSettings

    name: ClassVar[str] = "distilled"
    architecture: ClassVar[str] = "{}Model"

    def __post_init__(self) -> None:
        for name in ("name", "architecture", "needs_labels", "compares_items", "criterion", "takes_choices"):
            object.__setattr__(self, name, getattr(self.task, name))

    def encode(self, items: Any, tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Encode as the task does."""
        return self.task.encode(items, tokenizer, keys)

    def head(self, encoder: Any) -> nn.Module:
        """Return the task's head."""
        return self.task.head(encoder)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count what each term of the loss is divided by: the task's counts, rows of logits, and tokens."""
        counts = self.task.counts(batch)
        if self.settings.logits > 0.0:
            counts["distill_logits"] = self.task.num_logit_rows(batch)
        for name in ("hidden", "attention"):
            if getattr(self.settings, name) > 0.0:
                counts[f"distill_{name}"] = float(batch.num_tokens)
        return counts

    def loss(self, outputs: Lesson, batch: Batch) -> Loss:
        """Multiply the task's terms by distill.task, and add the teacher's terms."""
        settings, counts = self.settings, self.counts(batch)
        task_loss = self.task.loss(outputs.student, batch)
        terms = {name: replace(term, weight=settings.task * term.weight) for name, term in task_loss.terms.items()}

        def add(name: str, weight: float, total: Tensor) -> None:
            terms[f"distill_{name}"] = Term(weight, total, counts[f"distill_{name}"])

        if settings.logits > 0.0:
            total = self.task.logits_loss(outputs.student, outputs.teacher, batch, settings.temperature)
            add("logits", settings.logits, total)
        if settings.hidden > 0.0:
            distances = [(mine.float() - theirs.float()).square().mean(1).sum() for mine, theirs in outputs.layers]
            add("hidden", settings.hidden, torch.stack(distances).mean())
        if settings.attention > 0.0:
            assert outputs.products is not None
            add("attention", settings.attention, relation_divergence(*outputs.products, batch))
        return Loss(terms, task_loss.figures)

    def decode(self, outputs: Lesson, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Any]:
        """Decode the student's outputs."""
        return self.task.decode(outputs.student, batch, items, tokenizer)

    def score(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, float]:
        """Score as the task does."""
        return self.task.score(predictions, items)
