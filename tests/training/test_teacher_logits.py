"""A teacher's opinions, task by task, against plain softmaxes of what each task compares with its target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.items.choice import Choice
from bertie.items.question import Answer, Question
from bertie.items.text import Text
from bertie.items.words import Words
from bertie.nn.divergence import divergence
from bertie.nn.logits import Logits
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream
from bertie.tasks.classification import Classification
from bertie.tasks.embedding import Embedding
from bertie.tasks.generation import Generation
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import TaskModel

TEXTS = ("the film was very good", "a poor story", "the old dog ran in the city , and the cat saw it", "not bad !")
PAIRS = [(text, TEXTS[place - 1]) for place, text in enumerate(TEXTS)]
LABELS = ("bad", "good", "new")


@dataclass(frozen=True)
class Own(Classification):
    """A third party's task."""

    name: ClassVar[str] = "own"


GIVEN = [Text(text, label="bad") for text in TEXTS]
SPLIT = [tuple(text.split()) for text in TEXTS]
TAGGED = [Words(words, tuple("B-LOC" if len(word) > 3 else "O" for word in words)) for words in SPLIT]
ASKED = [Question(*pair, (Answer(pair[1].split()[0], 0),)) for pair in PAIRS]
CHOSEN = [Choice(text, TEXTS[: 2 + place % 2], "1") for place, text in enumerate(TEXTS)]
MANY = [Text(text, label=("bad", "new")) for text in TEXTS]
CASES: dict[str, tuple[Any, list[Any], int]] = {
    "classification": (Classification(labels=LABELS, max_length=10, truncation="window"), GIVEN, 4),
    "multi_label": (Classification(labels=LABELS, multi_label=True), MANY, 12),
    "third_party": (Own(labels=LABELS), GIVEN, 4),
    "next_sentence": (NextSentence(max_length=64), [Text(*pair, label="0") for pair in PAIRS], 4),
    "regression": (Regression(center=1.0, spread=2.0), [Text(text, label="3") for text in TEXTS], 4),
    "tagging": (Tagging(labels=("O", "B-LOC", "I-LOC")), TAGGED, sum(map(len, SPLIT))),
    "question_answering": (QuestionAnswering(max_length=40, stride=8, max_query=20), ASKED, 8),
    "multiple_choice": (MultipleChoice(max_length=40), CHOSEN, 4),
}
Build = Callable[..., TaskModel]


@pytest.mark.parametrize("name", CASES)
def test_opinions(build_model: Build, tiny_tokenizer: Any, name: str) -> None:
    task, items, count = CASES[name]
    batch, (first, second) = task.encode(items, tiny_tokenizer), (build_model(task, seed=seed) for seed in (1, 2))
    student, teacher = first(batch), second(batch).detach()
    assert task.num_logit_rows(batch) == count
    found = task.logits_loss(student, teacher, batch, 2.0)
    learning = [value for value in first.parameters() if value.requires_grad]
    slopes = [slope for slope in torch.autograd.grad(found, learning, allow_unused=True) if slope is not None]
    assert float(found.detach()) > 0.0 and slopes and all(bool(slope.isfinite().all()) for slope in slopes)
    assert float(task.logits_loss(teacher, teacher, batch, 2.0)) == pytest.approx(0.0, abs=1e-5)
    rows = task.logit_rows(teacher, batch)
    assert isinstance(rows, torch.Tensor) and len(rows) == count


def test_rows_are_what_a_task_decides_by(build_model: Build, tiny_tokenizer: Any) -> None:
    task, items, _ = CASES["question_answering"]
    batch = task.encode(items, tiny_tokenizer)
    outputs = build_model(task)(batch).detach()
    rows = task.logit_rows(outputs, batch)
    assert isinstance(rows, torch.Tensor)
    for number, (start, end) in enumerate(zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True)):
        for side in (0, 1):
            row = rows[2 * number + side]
            assert torch.equal(row[: end - start], outputs[start:end, side])
            assert bool((row[end - start :] == -torch.inf).all())
    task, items, _ = CASES["multi_label"]
    scores, batch = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), task.encode(items, tiny_tokenizer)
    rows = task.logit_rows(scores, batch)
    assert isinstance(rows, torch.Tensor)
    torch.testing.assert_close(rows.softmax(1)[:, 0].view(4, 3), scores.sigmoid())
    task, items, _ = CASES["regression"]
    far = task.logits_loss(torch.tensor([3.0, 1, 1, 1]), torch.ones(4), task.encode(items, tiny_tokenizer), 5.0)
    assert float(far) == pytest.approx((2 / task.spread) ** 2)


@pytest.mark.parametrize("task", [MaskedLM(max_length=64), Pretraining(max_length=64)], ids=lambda task: task.name)
def test_masked_tokens_against_a_masked_lm(build_model: Build, tiny_tokenizer: Any, task: Any) -> None:
    pieces = tiny_tokenizer.pack(TEXTS, TEXTS[::-1], max_length=48, truncation="truncate")
    keys = stream(0, np.arange(len(TEXTS)))
    batch = task.encode(
        Instances(pieces.tokens, pieces.segments, pieces.offsets, np.arange(len(TEXTS)) % 2, keys), tiny_tokenizer, keys
    )
    student, teacher = build_model(task, seed=1)(batch), build_model(MaskedLM(max_length=64), seed=2)(batch)
    said = student if isinstance(student, Logits) else student.tokens
    assert task.num_logit_rows(batch) == len(batch.targets["slot.token"])
    torch.testing.assert_close(
        task.logits_loss(student, teacher, batch, 2.0),
        divergence(said.materialise(), teacher.materialise(), 2.0),
        rtol=1e-4,
        atol=1e-4,
    )


def test_target_tokens_of_a_generation(build_model: Build, tiny_tokenizer: Any) -> None:
    task = Generation(max_length=16, max_target=12)
    batch = task.encode([Text(*pair[:1], label=pair[1]) for pair in PAIRS], tiny_tokenizer)
    student, teacher = (build_model(task, seed=seed)(batch) for seed in (1, 2))
    assert batch.target is not None and task.num_logit_rows(batch) == batch.target.num_tokens
    assert float(task.logits_loss(student, teacher, batch, 1.0).detach()) > 0.0


@dataclass(frozen=True)
class Half(Embedding):
    """A third party's task that can't count its rows."""

    name: ClassVar[str] = "half"

    def logit_rows(self, outputs: Any, batch: Batch) -> torch.Tensor:
        return outputs


def test_a_task_without_opinions(tiny_tokenizer: Any) -> None:
    for task in (Embedding(), Half()):
        message = f"{task.name} has none; set it to 0"
        batch = task.encode(list(TEXTS), tiny_tokenizer)
        with pytest.raises(SettingsError, match=message):
            task.check_logits()
        with pytest.raises(SettingsError, match=message):
            task.num_logit_rows(batch)
    with pytest.raises(SettingsError, match="embedding has none"):
        Embedding().logits_loss(torch.zeros(4, 2), torch.zeros(4, 2), batch, 1.0)


@dataclass(frozen=True)
class Pairs(Embedding):
    """A third party's task that says what its logits are."""

    name: ClassVar[str] = "pairs"

    def logit_rows(self, outputs: Any, batch: Batch) -> torch.Tensor:
        return outputs @ outputs.T

    def num_logit_rows(self, batch: Batch) -> float:
        return float(len(batch))


def test_a_task_of_somebody_else_has_opinions(tiny_tokenizer: Any) -> None:
    task = Pairs()
    task.check_logits()
    batch = task.encode(list(TEXTS), tiny_tokenizer)
    student, teacher = torch.randn(2, len(TEXTS), 3, generator=torch.Generator().manual_seed(0))
    expected = divergence(student @ student.T, teacher @ teacher.T, 2.0)
    assert torch.equal(task.logits_loss(student, teacher, batch, 2.0), expected) and float(expected) > 0.0
