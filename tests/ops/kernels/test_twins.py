"""Every C++ kernel against its twin in torch: values, gradients, masks of dropout, any number of threads.

Shapes: T tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bertie.nn.logits import Logits
from bertie.ops.attention import grouped as grouped_attention
from bertie.ops.attention import kernel as attention_kernel
from bertie.ops.cross_entropy import kernel as cross_entropy_kernel
from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.gelu import kernel as gelu_kernel
from bertie.ops.gelu.op import gelu
from bertie.ops.kernels.library import load
from bertie.ops.normalise import kernel as normalise_kernel
from bertie.ops.normalise.op import add_and_normalise

pytestmark = [
    pytest.mark.skipif(load("attention") is None, reason="no C++ compiler on this machine"),
    pytest.mark.usefixtures("level"),
]
TOLERANCES = {torch.float32: 2e-6, torch.bfloat16: 1e-2}
"""Largest difference as a share of the largest value; bfloat16 has 8 bits."""


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def assert_close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    found, expected = found.detach().float(), expected.detach().float()
    assert float((found - expected).abs().max()) <= TOLERANCES[dtype] * float(expected.abs().max())


def twin(monkeypatch: pytest.MonkeyPatch, kernel: object, work: Callable[[], list[Tensor]]) -> list[Tensor]:
    """Do the work without one kernel."""
    with monkeypatch.context() as patch:
        patch.setattr(kernel, "takes", lambda *_: False)
        return work()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_residual_norm(monkeypatch: pytest.MonkeyPatch, rate: float, dtype: torch.dtype) -> None:
    norm, dropout = nn.LayerNorm(96, eps=1e-12), Dropout(rate, site=3)
    nn.init.normal_(norm.weight, 1.0, 0.1)
    nn.init.normal_(norm.bias, 0.0, 0.1)
    residual, branch = draw(150, 96).requires_grad_(), draw(150, 96, seed=1).to(dtype).requires_grad_()

    def work() -> list[Tensor]:
        output = add_and_normalise(residual, branch, norm, dropout, Noise(5, 6))
        learning = [residual, branch, norm.weight, norm.bias]
        return [output, *torch.autograd.grad((output * draw(150, 96, seed=2)).sum(), learning)]

    assert normalise_kernel.takes(residual, branch, norm.weight)
    found, expected = work(), twin(monkeypatch, normalise_kernel, work)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert_close(one, other, dtype)
    assert torch.equal(found[2] == 0, expected[2] == 0)  # the same values were dropped
    dropout.eval()
    assert_close(work()[0], nn.functional.layer_norm(residual + branch, (96,), norm.weight, norm.bias, 1e-12), dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gelu(monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype) -> None:
    values = torch.cat([torch.linspace(-12, 12, 9001), torch.tensor([0.0, -0.0, 60.0, -60.0])]).to(dtype)
    values.requires_grad_()

    def work() -> list[Tensor]:
        output = gelu(values)
        return [output, *torch.autograd.grad(output.float().sum(), values)]

    for one, other in zip(work(), twin(monkeypatch, gelu_kernel, work), strict=True):
        exact = {"rtol": 1e-6, "atol": 2e-6}
        torch.testing.assert_close(one, other, **(exact if dtype == torch.float32 else {"rtol": 8e-3, "atol": 3e-4}))


@pytest.mark.parametrize("size", [1, 7, 64, 1003])
def test_cross_entropy(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    hidden, weight, bias = (draw(*shape, seed=size).requires_grad_() for shape in ((70, 24), (size, 24), (size,)))
    targets = torch.arange(70) % size

    def work() -> list[Tensor]:
        total, correct = Logits(hidden, weight, bias).cross_entropy(targets)
        return [total, correct, *torch.autograd.grad(total, [hidden, weight, bias])]

    found, expected = work(), twin(monkeypatch, cross_entropy_kernel, work)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-6, atol=2e-5)


def test_cross_entropy_in_half_precision_overwrites_logits_with_their_gradient() -> None:
    logits, bias, targets = draw(40, 501, scale=3.0).bfloat16(), draw(501, seed=1), torch.arange(40) * 12
    exact = logits.float() + bias
    d_bias, rows = torch.ones(501), logits.clone()
    losses, right = cross_entropy_kernel.consume(rows, bias, targets, d_bias)
    torch.testing.assert_close(losses, nn.functional.cross_entropy(exact, targets, reduction="none"))
    assert torch.equal(right, (exact.argmax(1) == targets).float())
    gradient = exact.softmax(1) - nn.functional.one_hot(targets, 501)
    torch.testing.assert_close(rows.float(), gradient, rtol=8e-3, atol=1e-6)
    torch.testing.assert_close(d_bias, 1.0 + rows.float().sum(0), rtol=1e-5, atol=1e-5)
    assert torch.equal(cross_entropy_kernel.consume(logits, bias, targets, None)[0], losses)


def test_of_equal_logits_the_first_is_the_guess() -> None:
    logits, bias = torch.zeros(3, 40), torch.zeros(40)
    assert cross_entropy_kernel.consume(logits, bias, torch.tensor([0, 1, 39]), None)[1].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [4, 20, 64])
@pytest.mark.parametrize("masks", [(False, -1), (True, -1), (False, 9), (True, 9)])
def test_attention(masks: tuple[bool, int], size: int, dtype: torch.dtype) -> None:
    lengths = torch.tensor([0, 5, 1, 130, 0, 49, 32])
    offsets = lengths.cumsum(0).int()
    settings = attention_kernel.Settings(*masks, 0.2, 11, -12, 65)
    total = int(offsets[-1]) + 3  # the batch ends in filler, which belongs to no sequence
    torch.full((4 * total, 3, 2, size), torch.nan)  # fresh memory is likely to hold what stood there before
    qkv = draw(total, 3, 2, size).to(dtype)
    gradient = draw(total, 2, size, seed=1).to(dtype)
    arguments = (*qkv.unbind(1), offsets, offsets, settings)
    exact = (*(part.double() for part in qkv.unbind(1)), offsets, offsets, settings)
    found = [attention_kernel.forward(*arguments), *attention_kernel.backward(gradient, *arguments)]
    expected = [grouped_attention.forward(*exact), *grouped_attention.backward(gradient.double(), *exact)]
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype and not one[-3:].any()
        assert_close(one, other, dtype)


def test_any_number_of_threads_gives_the_same_bits() -> None:
    offsets = torch.tensor([0, 70, 75, 200], dtype=torch.int32)
    settings = attention_kernel.Settings(False, -1, 0.1, 1, 2, 63)
    qkv, gradient = draw(200, 3, 2, 16), draw(200, 2, 16, seed=1)
    residual, branch, weight = draw(200, 32), draw(200, 32, seed=1), draw(32, seed=2)

    def work(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        chosen = normalise_kernel.settings(residual, rate=0.1, first=3, second=4, epsilon=1e-12)
        logits, d_bias = draw(50, 600), torch.zeros(600)
        sums = cross_entropy_kernel.consume(logits, draw(600, seed=1), torch.arange(50), d_bias)
        return [
            attention_kernel.forward(*qkv.unbind(1), offsets, offsets, settings),
            *attention_kernel.backward(gradient, *qkv.unbind(1), offsets, offsets, settings),
            *normalise_kernel.backward(chosen, residual, residual, branch, weight),
            *(sums[0], logits, d_bias),
        ]

    before = torch.get_num_threads()
    try:
        runs = [work(threads) for threads in (1, 2, 3)]
    finally:
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(torch.equal(one, other) for one, other in zip(run, runs[0], strict=True))


def test_a_nan_goes_through() -> None:
    logits, bias = torch.zeros(2, 40), torch.zeros(40)
    logits[0, 7] = torch.nan
    assert bool(torch.isnan(cross_entropy_kernel.consume(logits, bias, torch.zeros(2), None)[0][0]))
    values = torch.full((32,), torch.nan)
    assert bool(torch.isnan(gelu(values)).all()) and bool(torch.isnan(gelu(values.bfloat16())).all())
    qkv = draw(8, 3, 2, 4)
    qkv[3, 1, 0, 0] = torch.nan
    offsets = torch.tensor([0, 8], dtype=torch.int32)
    settings = attention_kernel.Settings(False, -1, 0.0, 0, 0, 4)
    found = attention_kernel.forward(*qkv.unbind(1), offsets, offsets, settings)
    assert bool(torch.isnan(found[:, 0]).all()) and not bool(torch.isnan(found[:, 1]).any())
