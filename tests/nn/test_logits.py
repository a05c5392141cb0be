"""Logits as a value: cross-entropy in chunks against torch's own, with gradients.

Shapes: M rows, H hidden, V vocabulary.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bertie.nn.logits import Logits
from bertie.ops.cross_entropy import op

HIDDEN, VOCABULARY = 16, 53


def parts(rows: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(rows)
    shapes = ((rows, HIDDEN), (VOCABULARY, HIDDEN), (VOCABULARY,))
    hidden, weight, bias = (torch.randn(shape, generator=random).to(dtype).requires_grad_() for shape in shapes)
    return hidden, weight, bias, torch.randint(0, VOCABULARY, (rows,), generator=random)


def compare(rows: int, dtype: torch.dtype, tolerance: float) -> None:
    ours, theirs = parts(rows, dtype), parts(rows, torch.float32 if dtype != torch.float64 else dtype)
    total, correct = Logits(*ours[:3]).cross_entropy(ours[3])
    logits = F.linear(*theirs[:3])
    expected = F.cross_entropy(logits, theirs[3], reduction="sum")
    (total * 0.3).backward()
    (expected * 0.3).backward()
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, expected.float(), rtol=tolerance, atol=tolerance)
    if dtype == torch.float32:
        assert float(correct) == float((logits.argmax(1) == theirs[3]).sum())
    for one, other in zip(ours[:3], theirs[:3], strict=True):
        assert one.grad is not None and other.grad is not None and one.grad.dtype == dtype
        error = float((one.grad.float() - other.grad).norm() / other.grad.norm().clamp(min=1e-12))
        assert error < tolerance


@pytest.mark.parametrize("rows", [1, 7, 200])
def test_full_precision(rows: int) -> None:
    compare(rows, torch.float32, 1e-5)


@pytest.mark.parametrize("rows", [7, 200])
def test_half_precision(rows: int) -> None:
    compare(rows, torch.bfloat16, 0.03)


@pytest.mark.parametrize("rows", [64, 65, 200])
def test_more_rows_than_a_chunk(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(op, "_MAX_ROWS", 64)
    compare(rows, torch.float32, 1e-5)


def test_no_rows() -> None:
    hidden, weight, bias, targets = parts(0)
    total, correct = Logits(hidden, weight, bias).cross_entropy(targets)
    assert float(total.detach()) == 0.0 and float(correct) == 0.0
    total.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None and not weight.grad.any()


def test_large_logits_stay_finite() -> None:
    hidden, weight, bias, targets = parts(9)
    total, _ = Logits(hidden * 1e4, weight, bias).cross_entropy(targets)
    total.backward()  # type: ignore[no-untyped-call]
    assert bool(torch.isfinite(total)) and weight.grad is not None and bool(torch.isfinite(weight.grad).all())


def test_the_bias_alone_learns_when_the_rest_is_frozen() -> None:
    hidden, weight, bias, targets = parts(9)
    total, _ = Logits(hidden.detach(), weight.detach(), bias).cross_entropy(targets)
    total.backward()  # type: ignore[no-untyped-call]
    expected = (F.linear(hidden, weight, bias).softmax(1) - F.one_hot(targets, VOCABULARY)).sum(0)
    torch.testing.assert_close(bias.grad, expected.detach(), rtol=1e-5, atol=1e-5)


def test_two_losses_before_one_backward() -> None:
    """The scratch that logits are written to is lent again before the first loss is used."""
    first, second = parts(5), parts(8)
    totals = [Logits(*given[:3]).cross_entropy(given[3])[0] for given in (first, second)]
    (totals[0] + totals[1]).backward()
    for given in (first, second):
        again = [part.detach().clone().requires_grad_() for part in given[:3]]
        F.cross_entropy(F.linear(*again), given[3], reduction="sum").backward()
        for one, other in zip(given[:3], again, strict=True):
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_evaluating_first_does_not_spoil_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(op._local, "scratch", raising=False)
    hidden, weight, bias, targets = parts(9)
    with torch.inference_mode():
        before, _ = Logits(hidden, weight, bias).cross_entropy(targets)
    after, _ = Logits(hidden, weight, bias).cross_entropy(targets)
    after.backward()  # type: ignore[no-untyped-call]
    assert float(before) == float(after.detach())


def test_materialise_is_the_plain_product() -> None:
    hidden, weight, bias, _ = parts(4)
    torch.testing.assert_close(Logits(hidden, weight, bias).materialise(), hidden @ weight.T + bias)


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 8, 9, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_table_itself(rows: int, dtype: torch.dtype) -> None:
    hidden, weight, bias, _ = parts(rows, dtype)
    found = Logits(hidden, weight, bias).materialise()
    assert found.shape == (rows, VOCABULARY) and found.is_contiguous()
    torch.testing.assert_close(found, F.linear(hidden, weight, bias))
