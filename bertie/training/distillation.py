"""Learn from a teacher beside the targets: its guesses, its hidden states, the relations in its attention.

A wrapper around any task and its network: the task's own loss stays, and up to three terms come to it. The teacher is a
finished model with the same vocabulary; it sees the very same batch, without dropout, and doesn't learn. It is in no
checkpoint, only its digest is; what is written is the student alone.

* logits: temperature^2 x KL(teacher || student) (Hinton et al. 2015). Over the vocabulary at the masked tokens in
  pre-training; of a regression, the squared distance of the numbers.
* hidden: the squared distance of hidden vectors, mean over H and layers, of student layer m of M from teacher layer
  m N / M of N (TinyBERT's uniform map; Jiao et al. 2020), through one learned projection where the widths differ.
  DistilBERT's cosine needs equal widths and says nothing of lengths, which post-norm vectors have in common anyway.
* attention: the relations of queries, keys and values in the last layer (MiniLMv2; Wang et al. 2021). They need neither
  equal widths nor equal heads nor a map of layers, and no attention weights, which the packed kernels never hand out.

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
from bertie.nn.dropout import Noise
from bertie.nn.initialize import initialize
from bertie.tasks.task import Keys, Loss, Task, TaskModel, Term
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.training.opinions import disagreement, num_opinions
from bertie.training.settings import DistillSettings


class Lesson(NamedTuple):
    """What a student and its teacher make of a batch."""

    student: Any
    """Outputs of the student's head."""
    teacher: Any
    """Outputs of the teacher's; None where its guesses aren't learned."""
    layers: list[tuple[Tensor, Tensor]]
    """(T, H') hidden vectors of a student's layer, projected, and of the teacher's that it is like."""
    products: tuple[Tensor, Tensor] | None
    """(T, 3H) and (T, 3H') queries, keys and values of both last layers."""


class DistilledModel(TaskModel):
    """A student beside its teacher; it shares the parts of the network it is made from, under their own names.

    Args:
        student: the network that learns.
        teacher: put to rest: it has no gradients and no dropout.
        settings: what is learned from it.
        seed: of the projection's first weights.

    Raises:
        SettingsError: hidden states or attention of encoders without blocks of the usual kind.
    """

    def __init__(self, student: TaskModel, teacher: TaskModel, settings: DistillSettings, *, seed: int) -> None:
        super().__init__(student.encoder, student.head)
        self._student = (student,)  # in a tuple, so that its parts aren't registered twice
        self.teacher = teacher.requires_grad_(False)
        self.settings = settings
        if settings.hidden > 0.0 or settings.attention > 0.0:
            for encoder, whose in ((student.encoder, "the student"), (teacher.encoder, "the teacher")):
                _check_blocks(encoder, whose)
        width, other = (each.encoder.config.hidden_size for each in (student, teacher))  # type: ignore[union-attr]
        self.project = None
        if settings.hidden > 0.0 and width != other:
            self.project = nn.Linear(width, other, bias=False)  # type: ignore[arg-type]
            # seed to seed + 3 are the encoder's, the head's, LoRA's and a generator's
            initialize(self.project, deviation=0.02, generator=torch.Generator().manual_seed(seed + 4))

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on or off, in the student."""
        super().train(mode)
        self._student[0].train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch, noise: Noise | None = None) -> Lesson:
        """Run both on a batch."""
        if self.training and noise is None:
            noise = Noise.draw()
        student, teacher = self._student[0], self.teacher
        with _watching(student.encoder, self.settings) as mine:
            outputs = student(batch, noise)
        usual = batch.begun_at_zero()  # the teacher reads from position 0, wherever the student's sequences begin
        with torch.no_grad(), _watching(teacher.encoder, self.settings) as theirs:
            opinion = teacher(usual) if self.settings.logits > 0.0 else teacher.encoder(usual)
        products = None
        if self.settings.attention > 0.0:
            products = (mine.products[-1][: batch.num_tokens], theirs.products[-1][: batch.num_tokens])
        return Lesson(
            outputs,
            opinion if self.settings.logits > 0.0 else None,
            self._pairs(mine.layers, theirs.layers, batch.num_tokens) if self.settings.hidden > 0.0 else [],
            products,
        )

    def _pairs(self, mine: list[Tensor], theirs: list[Tensor], num_tokens: int) -> list[tuple[Tensor, Tensor]]:
        """Put each layer that learns beside the teacher's; of frozen layers only the uppermost may have been run."""
        total: int = self.encoder.config.num_layers  # type: ignore[union-attr, assignment]
        pairs = []
        for number, hidden in enumerate(mine, total - len(mine) + 1):
            if hidden.requires_grad or not torch.is_grad_enabled():
                own = hidden[:num_tokens]
                other = theirs[like(number, total, len(theirs)) - 1]
                pairs.append((own if self.project is None else self.project(own), other[:num_tokens]))
        if not pairs:
            raise SettingsError("distill.hidden is for layers of the encoder that learn, and none does; freeze fewer")
        return pairs


def like(number: int, num_layers: int, num_teacher_layers: int) -> int:
    """Return the teacher's layer that the student's layer `number`, from 1, learns from; the last from the last."""
    return max(1, round(number * num_teacher_layers / num_layers))


def _check_blocks(encoder: Any, whose: str) -> None:
    blocks = getattr(encoder, "blocks", [])
    if not len(blocks) or not hasattr(getattr(blocks[-1], "attention", None), "qkv"):
        raise SettingsError(
            f"distill.hidden and distill.attention compare the layers of encoders, and {whose} is none of that kind "
            f"({type(encoder).__name__}); distill.logits alone may do"
        )


@dataclass(frozen=True)
class _Seen:
    """What came out of an encoder's parts in one pass, in order."""

    layers: list[Tensor] = field(default_factory=list)
    products: list[Tensor] = field(default_factory=list)


@contextmanager
def _watching(encoder: Any, settings: DistillSettings) -> Iterator[_Seen]:
    """Note what an encoder's blocks give, and the last one's queries, keys and values, where they are learned."""
    seen, handles = _Seen(), []

    def note(found: list[Tensor]) -> Callable[..., None]:
        return lambda module, inputs, output: found.append(output)

    if settings.hidden > 0.0:
        handles += [block.register_forward_hook(note(seen.layers)) for block in encoder.blocks]
    if settings.attention > 0.0:
        handles.append(encoder.blocks[-1].attention.qkv.register_forward_hook(note(seen.products)))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Distilled(Task):
    """A task whose loss has a teacher's terms beside its own; everything else is the task's."""

    task: Task
    settings: DistillSettings

    name: ClassVar[str] = "distilled"
    architecture: ClassVar[str] = "{}Model"

    def __post_init__(self) -> None:
        for name in ("name", "architecture", "needs_labels", "whole_batch", "criterion", "takes_choices"):
            object.__setattr__(self, name, getattr(self.task, name))

    def encode(self, items: Any, tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Encode as the task does."""
        return self.task.encode(items, tokenizer, keys)

    def head(self, encoder: Any) -> nn.Module:
        """Make the task's head."""
        return self.task.head(encoder)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the task's terms, the rows of guesses, and the tokens."""
        counts = self.task.counts(batch)
        if self.settings.logits > 0.0:
            counts["distill_logits"] = num_opinions(self.task, batch)
        for name in ("hidden", "attention"):
            if getattr(self.settings, name) > 0.0:
                counts[f"distill_{name}"] = float(batch.num_tokens)
        return counts

    def loss(self, outputs: Lesson, batch: Batch) -> Loss:
        """Weigh the task's own terms, and add the teacher's."""
        settings, counts = self.settings, self.counts(batch)
        own = self.task.loss(outputs.student, batch)
        terms = {name: replace(term, weight=settings.task * term.weight) for name, term in own.terms.items()}

        def add(name: str, weight: float, total: Tensor) -> None:
            terms[f"distill_{name}"] = Term(weight, total, counts[f"distill_{name}"])

        if settings.logits > 0.0:
            total = disagreement(self.task, outputs.student, outputs.teacher, batch, settings.temperature)
            add("logits", settings.logits, total)
        if settings.hidden > 0.0:
            distances = [(mine.float() - theirs.float()).square().mean(1).sum() for mine, theirs in outputs.layers]
            add("hidden", settings.hidden, torch.stack(distances).mean())
        if settings.attention > 0.0:
            assert outputs.products is not None
            add("attention", settings.attention, relation_divergence(*outputs.products, batch))
        return Loss(terms, own.figures)

    def decode(self, outputs: Lesson, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Any]:
        """Decode the student's outputs."""
        return self.task.decode(outputs.student, batch, items, tokenizer)

    def score(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, float]:
        """Score as the task does."""
        return self.task.score(predictions, items)
