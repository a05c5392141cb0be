"""Distances from a teacher against plain sums over rows and sequences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bertie.batch import Batch
from bertie.nn.divergence import divergence, relation_divergence
from bertie.nn.logits import Logits


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 x the sum of KL(teacher || student), row by row, choice by choice."""
    said, meant = (student / temperature).softmax(-1), (teacher / temperature).softmax(-1)
    there = meant > 0
    return temperature**2 * (meant[there] * (meant[there].log() - said[there].log())).sum()


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("count", [0, 3, 1100])
def test_rows_over_a_vocabulary(temperature: float, count: int) -> None:
    parts = [draw(count, 6, seed=1), draw(17, 6, seed=2), draw(17, seed=3)]
    teacher = Logits(draw(count, 4, seed=4), draw(17, 4, seed=5), draw(17, seed=6))
    found, expected = ([part.clone().requires_grad_() for part in parts] for _ in range(2))
    ours = divergence(Logits(*found), teacher, temperature)
    theirs = plain(Logits(*expected).materialise(), teacher.materialise(), temperature)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    (3.0 * ours).backward()
    (3.0 * theirs).backward()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-3)


def test_rows_with_choices_that_are_none() -> None:
    scores, teacher = draw(5, 4, seed=1), draw(5, 4, seed=2)
    scores[1, 3] = teacher[1, 3] = scores[4, 1] = teacher[4, 1] = -torch.inf
    scores.requires_grad_()
    ours = divergence(scores, teacher, 2.0)
    torch.testing.assert_close(ours, plain(scores, teacher, 2.0))
    ours.backward()
    assert scores.grad is not None and bool(scores.grad.isfinite().all()) and float(scores.grad[1, 3]) == 0.0
    assert float(divergence(teacher, teacher, 2.0)) == 0.0


def test_the_gradient_keeps_its_size_when_the_temperature_grows() -> None:
    sizes = []
    for temperature in (10.0, 1000.0):
        scores = draw(50, 8, seed=1).requires_grad_()
        divergence(scores, draw(50, 8, seed=2), temperature).backward()
        assert scores.grad is not None
        sizes.append(float(scores.grad.norm()))
    assert sizes[0] == pytest.approx(sizes[1], rel=0.1)


@pytest.mark.parametrize(("width", "other", "heads"), [(8, 12, 4), (6, 9, 3), (5, 7, 1)])
def test_relations(width: int, other: int, heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.nn.divergence._CELLS", 500)  # so that sequences go in several parts
    batch = Batch.pack([0] * 21, [0] * 21, [0, 3, 4, 13, 21])
    student, teacher = draw(21, 3 * width, seed=1).requires_grad_(), draw(21, 3 * other, seed=2)
    expected = torch.zeros(())
    for start, end in zip(batch.offsets[:-1].tolist(), batch.offsets[1:].tolist(), strict=True):
        for part in range(3):
            for head in range(heads):
                said, meant = (
                    relation(values[start:end, part * size : (part + 1) * size], head, heads)
                    for values, size in ((student, width), (teacher, other))
                )
                expected = expected + (meant * (meant / said).log()).sum() / (3 * heads)
    ours = relation_divergence(student, teacher, batch)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    (slope,) = torch.autograd.grad(ours, student)
    torch.testing.assert_close(slope, torch.autograd.grad(expected, student)[0], rtol=1e-4, atol=1e-5)
    assert float(relation_divergence(teacher, teacher, batch)) == pytest.approx(0.0, abs=1e-5)


def relation(values: Tensor, head: int, heads: int) -> Tensor:
    size = values.shape[1] // heads
    part = values[:, head * size : (head + 1) * size]
    return (part @ part.T / math.sqrt(size)).softmax(-1)
